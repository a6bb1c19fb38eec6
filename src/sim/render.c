/* From an answer to bytes with a timetable. */
#include "sim/imitation_impl.h"

#include "model/tokens.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Of a text in a stream; with a head, a tail and an event or two about it they are fewer than
 * NP_SIM_PIECES, so that each has its own time. */
#define MAX_PARTS 400

void np_sim_count(struct np_json_w *w, const char *key, const struct np_imitation_answer *a,
                  double lie, int64_t truth)
{
    if (!a->usage_given)
        np_json_w_i64(w, key, truth);
    else if (lie == floor(lie) && fabs(lie) < 1e15)
        np_json_w_i64(w, key, (int64_t)lie);
    else
        np_json_w_f64(w, key, lie);
}

/* The byte at which the i-th of n parts begins. */
static size_t part_start(struct np_span text, size_t i, size_t n)
{
    size_t at = text.n * i / n;
    while (at > 0 && at < text.n && ((unsigned char)text.p[at] & 0xC0) == 0x80)
        at--;
    return at;
}

struct np_span np_sim_part(struct np_span text, size_t i, size_t n)
{
    size_t from = part_start(text, i, n);
    return np_span_make(text.p + from, part_start(text, i + 1, n) - from);
}

size_t np_sim_parts(struct np_span text)
{
    size_t n = (text.n + 3) / 4;
    return n > MAX_PARTS ? MAX_PARTS : n;
}

void np_sim_put(struct np_buf *b, np_sim_put_fn *put, void *ctx)
{
    put(ctx, np_buf_failed(b) ? NP_SPAN_NONE : np_buf_view(b));
    np_buf_free(b);
}

/* The text as max_tokens leaves it. */
static void cut_text(struct np_sim_facts *f)
{
    f->text = np_span_of(f->a->empty ? "" : f->a->text);
    f->completion = np_tokens_estimate(f->text, false);
    int64_t max = f->c->call.max_tokens;
    if (max < 0 || f->completion <= max || f->completion == 0)
        return;
    f->cut = true;
    f->text.n = part_start(f->text, (size_t)max, (size_t)f->completion);
    f->completion = max;
}

static const char *reason_phrase(unsigned status)
{
    return status == 200 ? "OK" : status < 300 ? "Fine" : status < 400 ? "Elsewhere" : "Error";
}

static void write_head(struct np_sim_reply *r, const struct np_sim_call *c,
                       const struct np_imitation_answer *a, uint64_t number, const char *type,
                       int64_t length)
{
    struct np_buf *b = &r->bytes;
    (void)np_buf_printf(b, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\n%s: req_%016" PRIx64 "\r\n",
                        a->status, reason_phrase(a->status),
                        a->content_type[0] ? a->content_type : type,
                        c->dialect == NP_DIALECT_OPENAI ? "x-request-id" : "request-id", number);
    if (a->retry_after_s >= 0)
        (void)np_buf_printf(b, "Retry-After: %" PRId64 "\r\n", a->retry_after_s);
    if (a->content_encoding[0])
        (void)np_buf_printf(b, "Content-Encoding: %s\r\n", a->content_encoding);
    if (a->status >= 300 && a->status < 400)
        (void)np_buf_puts(b, "Location: http://127.0.0.1:9/elsewhere\r\n");
    if (length >= 0)
        (void)np_buf_printf(b, "Content-Length: %" PRId64 "\r\n\r\n", length);
    else
        (void)np_buf_puts(b, "Transfer-Encoding: chunked\r\n\r\n");
}

static void add_piece(struct np_sim_reply *r, int64_t at_ms)
{
    if (r->n_pieces == NP_SIM_PIECES)
        r->piece[r->n_pieces - 1] = (struct np_sim_piece){r->bytes.n, at_ms, r->said};
    else
        r->piece[r->n_pieces++] = (struct np_sim_piece){r->bytes.n, at_ms, r->said};
}

static void put_chunk(void *ctx, struct np_span event)
{
    struct np_sim_reply *r = ctx;
    if (!event.p) {
        r->bytes.failed = true;
        return;
    }
    (void)np_buf_printf(&r->bytes, "%zx\r\n", event.n);
    (void)np_buf_span(&r->bytes, event);
    (void)np_buf_puts(&r->bytes, "\r\n");
    add_piece(r, 0);
}

static void render_stream(struct np_sim_reply *r, const struct np_sim_facts *f)
{
    write_head(r, f->c, f->a, f->number, "text/event-stream; charset=utf-8", -1);
    bool openai = f->c->dialect == NP_DIALECT_OPENAI;
    if (f->a->malformed && openai)
        put_chunk(r, NP_SPAN("data: {\"id\": \"chatcmpl-1\", \"choices\": [ {{{\n\n"));
    else if (f->a->malformed)
        put_chunk(r, NP_SPAN("event: message_start\ndata: {\"type\": \"message_start\", {{{\n\n"));
    else if (openai)
        np_openai_stream(f, put_chunk, r);
    else
        np_anthropic_stream(f, put_chunk, r);
    (void)np_buf_puts(&r->bytes, "0\r\n\r\n");
    add_piece(r, 0);
    int64_t first = f->a->first_ms, span = f->a->total_ms - first;
    for (size_t i = 0; i < r->n_pieces; i++)
        r->piece[i].at_ms =
            first +
            (r->n_pieces > 1 && span > 0 ? span * (int64_t)i / (int64_t)(r->n_pieces - 1) : 0);
}

static void whole_body(struct np_buf *b, const struct np_sim_facts *f)
{
    bool openai = f->c->dialect == NP_DIALECT_OPENAI;
    if (f->a->malformed)
        (void)np_buf_puts(b, openai ? "{\"id\": \"chatcmpl-1\", \"choices\": [ {{{"
                                    : "{\"id\": \"msg_1\", \"content\": [ {{{");
    else if (f->a->status >= 300 && openai)
        np_openai_error(b, f->a);
    else if (f->a->status >= 300)
        np_anthropic_error(b, f->a, f->number);
    else if (openai)
        np_openai_whole(b, f);
    else
        np_anthropic_whole(b, f);
}

static void render_whole(struct np_sim_reply *r, const struct np_sim_facts *f)
{
    struct np_buf body;
    np_buf_init(&body, NP_SIM_REPLY_MAX);
    whole_body(&body, f);
    write_head(r, f->c, f->a, f->number, "application/json", (int64_t)body.n);
    (void)np_buf_span(&r->bytes, np_buf_view(&body));
    r->bytes.failed = r->bytes.failed || np_buf_failed(&body);
    np_buf_free(&body);
    int64_t at = f->a->total_ms > f->a->first_ms ? f->a->total_ms : f->a->first_ms;
    add_piece(r, at);
}

void np_sim_render(struct np_sim_reply *r, const struct np_sim_call *c,
                   const struct np_imitation_answer *a, uint64_t number)
{
    struct np_sim_facts f = {
        .c = c, .a = a, .number = number, .prompt = c->call.prompt_tokens, .said = &r->said};
    if (a->raw_given) {
        (void)np_buf_put(&r->bytes, a->raw, a->raw_bytes);
        add_piece(r, a->first_ms);
        r->close = true;
        return;
    }
    cut_text(&f);
    if (c->call.stream && a->status < 300)
        render_stream(r, &f);
    else
        render_whole(r, &f);
    if (a->status < 300) {
        r->billed_prompt = f.prompt;
        r->billed_completion = f.completion;
        r->nusd_prompt = a->nusd_prompt;
        r->nusd_completion = a->nusd_completion;
        r->nusd_call = a->nusd_call;
    }
}

void np_sim_render_json(struct np_sim_reply *r, unsigned status, struct np_span json)
{
    (void)np_buf_printf(
        &r->bytes,
        "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", status,
        reason_phrase(status), json.n);
    (void)np_buf_span(&r->bytes, json);
    add_piece(r, 0);
}
