/* The streamed answers of a play's providers, in the dialect of whoever is asked: the text in a few
 * parts, why it ends, usage, the end. */
#include "engine/play_impl.h"

#include "base/json.h"

/* Of a text; at least one. */
#define PARTS 4

/* Where the i-th part begins: not in the midst of a character. */
static size_t part_start(struct np_span text, size_t i)
{
    size_t at = text.n * i / PARTS;
    while (at > 0 && at < text.n && ((unsigned char)text.p[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static void begin_event(struct np_json_w *w, struct np_buf *b, const char *name)
{
    if (name)
        (void)np_buf_printf(b, "event: %s\n", name);
    (void)np_buf_puts(b, "data: ");
    np_json_w_init(w, b);
    np_json_w_begin(w, '{');
    if (name)
        np_json_w_cstr(w, "type", name);
}

static void end_event(struct np_json_w *w, struct np_buf *b)
{
    np_json_w_end(w, '}');
    (void)np_buf_puts(b, "\n\n");
}

/* One chunk; text.p or finish NULL: without. */
static void openai_chunk(struct np_buf *b, struct np_span text, struct np_span finish)
{
    struct np_json_w w;
    begin_event(&w, b, NULL);
    np_json_w_begin_key(&w, "choices", '[');
    np_json_w_begin(&w, '{');
    np_json_w_i64(&w, "index", 0);
    np_json_w_begin_key(&w, "delta", '{');
    if (text.p)
        np_json_w_str(&w, "content", text);
    np_json_w_end(&w, '}');
    if (finish.p)
        np_json_w_str(&w, "finish_reason", finish);
    else
        np_json_w_null(&w, "finish_reason");
    np_json_w_end(&w, '}');
    np_json_w_end(&w, ']');
    end_event(&w, b);
}

static void openai_end(struct np_buf *b, const struct np_play_said *s)
{
    struct np_json_w w;
    openai_chunk(b, NP_SPAN_NONE, s->finish);
    begin_event(&w, b, NULL);
    np_json_w_begin_key(&w, "choices", '[');
    np_json_w_end(&w, ']');
    np_json_w_begin_key(&w, "usage", '{');
    np_json_w_i64(&w, "prompt_tokens", s->prompt);
    np_json_w_i64(&w, "completion_tokens", s->completion);
    np_json_w_begin_key(&w, "prompt_tokens_details", '{');
    np_json_w_i64(&w, "cached_tokens", s->cached);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, '}');
    end_event(&w, b);
    (void)np_buf_puts(b, "data: [DONE]\n\n");
}

static void anthropic_begin(struct np_buf *b, const struct np_play_said *s)
{
    struct np_json_w w;
    begin_event(&w, b, "message_start");
    np_json_w_begin_key(&w, "message", '{');
    np_json_w_begin_key(&w, "usage", '{');
    /* Theirs leaves out what came from the cache. */
    np_json_w_i64(&w, "input_tokens", s->prompt > s->cached ? s->prompt - s->cached : 0);
    np_json_w_i64(&w, "cache_read_input_tokens", s->cached);
    np_json_w_i64(&w, "output_tokens", 1);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, '}');
    end_event(&w, b);
}

static void anthropic_text(struct np_buf *b, struct np_span text)
{
    struct np_json_w w;
    begin_event(&w, b, "content_block_delta");
    np_json_w_begin_key(&w, "delta", '{');
    np_json_w_cstr(&w, "type", "text_delta");
    np_json_w_str(&w, "text", text);
    np_json_w_end(&w, '}');
    end_event(&w, b);
}

static void anthropic_end(struct np_buf *b, const struct np_play_said *s)
{
    struct np_json_w w;
    begin_event(&w, b, "message_delta");
    np_json_w_begin_key(&w, "delta", '{');
    np_json_w_str(&w, "stop_reason", s->finish);
    np_json_w_end(&w, '}');
    np_json_w_begin_key(&w, "usage", '{');
    np_json_w_i64(&w, "output_tokens", s->completion);
    np_json_w_end(&w, '}');
    end_event(&w, b);
    begin_event(&w, b, "message_stop");
    end_event(&w, b);
}

void np_play_write_stream(struct np_buf *b, enum np_adapter dialect, const struct np_play_said *s,
                          bool broken)
{
    bool openai = dialect == NP_ADAPTER_OPENAI;
    if (!openai)
        anthropic_begin(b, s);
    for (size_t i = 0; i < (broken ? PARTS / 2 : PARTS); i++) {
        size_t from = part_start(s->text, i), to = part_start(s->text, i + 1);
        struct np_span part = np_span_make(s->text.p + from, to - from);
        if (part.n > 0 && openai)
            openai_chunk(b, part, NP_SPAN_NONE);
        else if (part.n > 0)
            anthropic_text(b, part);
    }
    if (broken)
        return;
    if (openai)
        openai_end(b, s);
    else
        anthropic_end(b, s);
}
