/* Anthropic's messages, as its SDK knows them. */
#include "sim/imitation_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void input_usage(struct np_json_w *w, const struct np_sim_facts *f)
{
    const struct np_imitation_answer *a = f->a;
    np_sim_count(w, "input_tokens", a, a->usage_prompt, f->prompt);
    np_json_w_i64(w, "cache_creation_input_tokens", 0);
    np_sim_count(w, "cache_read_input_tokens", a, a->usage_cached, 0);
}

static const char *stop_reason(const struct np_sim_facts *f)
{
    const char *given = f->a->finish;
    if (strcmp(given, "length") == 0 || (!given[0] && f->cut))
        return "max_tokens";
    if (strcmp(given, "content_filter") == 0)
        return "refusal";
    if (strcmp(given, "tool_calls") == 0)
        return "tool_use";
    return given[0] && strcmp(given, "stop") != 0 ? given : "end_turn";
}

/* The members of a message: as it stands in the end, or as a stream begins it. */
static void message(struct np_json_w *w, const struct np_sim_facts *f, bool whole)
{
    char id[48];
    (void)snprintf(id, sizeof id, "msg_%016" PRIx64, f->number);
    np_json_w_cstr(w, "id", id);
    np_json_w_cstr(w, "type", "message");
    np_json_w_cstr(w, "role", "assistant");
    np_json_w_cstr(w, "model", f->c->model);
    np_json_w_begin_key(w, "content", '[');
    if (whole && !f->a->empty) {
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "type", "text");
        np_json_w_str(w, "text", f->text);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
    np_json_w_cstr(w, "stop_reason", whole ? stop_reason(f) : NULL);
    np_json_w_null(w, "stop_sequence");
    if (!f->a->no_usage) {
        np_json_w_begin_key(w, "usage", '{');
        input_usage(w, f);
        if (whole)
            np_sim_count(w, "output_tokens", f->a, f->a->usage_completion, f->completion);
        else
            np_json_w_i64(w, "output_tokens", 1);
        np_json_w_end(w, '}');
    }
}

void np_anthropic_whole(struct np_buf *b, const struct np_sim_facts *f)
{
    struct np_json_w w;
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    message(&w, f, true);
    np_json_w_end(&w, '}');
}

void np_anthropic_error(struct np_buf *b, const struct np_imitation_answer *a, uint64_t number)
{
    struct np_json_w w;
    char id[48];
    (void)snprintf(id, sizeof id, "req_%016" PRIx64, number);
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "type", "error");
    np_json_w_begin_key(&w, "error", '{');
    np_json_w_cstr(&w, "type", a->error_type);
    np_json_w_cstr(&w, "message", a->error_message);
    np_json_w_end(&w, '}');
    np_json_w_cstr(&w, "request_id", id);
    np_json_w_end(&w, '}');
}

/* One named event whose data is `b`'s JSON. */
static void event(const char *name, const struct np_buf *data, np_sim_put_fn *put, void *ctx)
{
    struct np_buf b;
    np_buf_init(&b, NP_SIM_REPLY_MAX);
    (void)np_buf_printf(&b, "event: %s\ndata: ", name);
    (void)np_buf_span(&b, np_buf_view(data));
    (void)np_buf_puts(&b, "\n\n");
    b.failed = b.failed || np_buf_failed(data);
    np_sim_put(&b, put, ctx);
}

static void plain_event(const char *name, const char *json, np_sim_put_fn *put, void *ctx)
{
    struct np_buf b;
    np_buf_init(&b, 1024);
    (void)np_buf_puts(&b, json);
    event(name, &b, put, ctx);
    np_buf_free(&b);
}

static void start_event(const struct np_sim_facts *f, np_sim_put_fn *put, void *ctx)
{
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, 4096);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "type", "message_start");
    np_json_w_begin_key(&w, "message", '{');
    message(&w, f, false);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, '}');
    event("message_start", &b, put, ctx);
    np_buf_free(&b);
}

static void text_event(struct np_span text, np_sim_put_fn *put, void *ctx)
{
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, NP_SIM_REPLY_MAX);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "type", "content_block_delta");
    np_json_w_i64(&w, "index", 0);
    np_json_w_begin_key(&w, "delta", '{');
    np_json_w_cstr(&w, "type", "text_delta");
    np_json_w_str(&w, "text", text);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, '}');
    event("content_block_delta", &b, put, ctx);
    np_buf_free(&b);
}

static void end_event(const struct np_sim_facts *f, np_sim_put_fn *put, void *ctx)
{
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, 4096);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "type", "message_delta");
    np_json_w_begin_key(&w, "delta", '{');
    np_json_w_cstr(&w, "stop_reason", stop_reason(f));
    np_json_w_null(&w, "stop_sequence");
    np_json_w_end(&w, '}');
    if (!f->a->no_usage) {
        np_json_w_begin_key(&w, "usage", '{');
        np_sim_count(&w, "output_tokens", f->a, f->a->usage_completion, f->completion);
        np_json_w_end(&w, '}');
    }
    np_json_w_end(&w, '}');
    event("message_delta", &b, put, ctx);
    np_buf_free(&b);
}

void np_anthropic_stream(const struct np_sim_facts *f, np_sim_put_fn *put, void *ctx)
{
    start_event(f, put, ctx);
    if (!f->a->empty) {
        plain_event("content_block_start",
                    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
                    "{\"type\":\"text\",\"text\":\"\"}}",
                    put, ctx);
        plain_event("ping", "{\"type\":\"ping\"}", put, ctx);
        size_t n = np_sim_parts(f->text);
        for (size_t i = 0; i < n; i++) {
            struct np_span part = np_sim_part(f->text, i, n);
            ++*f->said;
            if (part.n > 0)
                text_event(part, put, ctx);
        }
        plain_event("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}", put,
                    ctx);
    }
    end_event(f, put, ctx);
    plain_event("message_stop", "{\"type\":\"message_stop\"}", put, ctx);
}
