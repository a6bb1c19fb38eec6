/* OpenAI's chat completions, as its SDK knows them. */
#include "sim/imitation_impl.h"

#include <inttypes.h>
#include <stdio.h>

#define CREATED 1793448000 /* a fixed time, so that answers are the same */

static void usage(struct np_json_w *w, const struct np_sim_facts *f)
{
    const struct np_imitation_answer *a = f->a;
    np_json_w_begin_key(w, "usage", '{');
    np_sim_count(w, "prompt_tokens", a, a->usage_prompt, f->prompt);
    np_sim_count(w, "completion_tokens", a, a->usage_completion, f->completion);
    np_sim_count(w, "total_tokens", a, a->usage_prompt + a->usage_completion,
                 f->prompt + f->completion);
    np_json_w_begin_key(w, "prompt_tokens_details", '{');
    np_sim_count(w, "cached_tokens", a, a->usage_cached, 0);
    np_json_w_end(w, '}');
    np_json_w_begin_key(w, "completion_tokens_details", '{');
    np_json_w_i64(w, "reasoning_tokens", 0);
    np_json_w_end(w, '}');
    np_json_w_end(w, '}');
}

static void head(struct np_json_w *w, const struct np_sim_facts *f, const char *object)
{
    char id[48];
    (void)snprintf(id, sizeof id, "chatcmpl-%016" PRIx64, f->number);
    np_json_w_begin(w, '{');
    np_json_w_cstr(w, "id", id);
    np_json_w_cstr(w, "object", object);
    np_json_w_i64(w, "created", CREATED);
    np_json_w_cstr(w, "model", f->c->model);
}

static const char *finish(const struct np_sim_facts *f)
{
    return f->a->finish[0] ? f->a->finish : f->cut ? "length" : "stop";
}

void np_openai_whole(struct np_buf *b, const struct np_sim_facts *f)
{
    struct np_json_w w;
    np_json_w_init(&w, b);
    head(&w, f, "chat.completion");
    np_json_w_begin_key(&w, "choices", '[');
    if (!f->a->empty) {
        np_json_w_begin(&w, '{');
        np_json_w_i64(&w, "index", 0);
        np_json_w_begin_key(&w, "message", '{');
        np_json_w_cstr(&w, "role", "assistant");
        np_json_w_str(&w, "content", f->text);
        np_json_w_null(&w, "refusal");
        np_json_w_end(&w, '}');
        np_json_w_null(&w, "logprobs");
        np_json_w_cstr(&w, "finish_reason", finish(f));
        np_json_w_end(&w, '}');
    }
    np_json_w_end(&w, ']');
    if (!f->a->no_usage)
        usage(&w, f);
    np_json_w_end(&w, '}');
}

void np_openai_error(struct np_buf *b, const struct np_imitation_answer *a)
{
    struct np_json_w w;
    np_json_w_init(&w, b);
    np_json_w_begin(&w, '{');
    np_json_w_begin_key(&w, "error", '{');
    np_json_w_cstr(&w, "message", a->error_message);
    np_json_w_cstr(&w, "type", a->error_type);
    np_json_w_null(&w, "param");
    np_json_w_cstr(&w, "code", a->error_code[0] ? a->error_code : NULL);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, '}');
}

/* One chunk: delta is written by the caller's role, text or neither. */
static void chunk(const struct np_sim_facts *f, bool first, struct np_span text, bool last,
                  np_sim_put_fn *put, void *ctx)
{
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, NP_SIM_REPLY_MAX);
    (void)np_buf_puts(&b, "data: ");
    np_json_w_init(&w, &b);
    head(&w, f, "chat.completion.chunk");
    np_json_w_begin_key(&w, "choices", '[');
    np_json_w_begin(&w, '{');
    np_json_w_i64(&w, "index", 0);
    np_json_w_begin_key(&w, "delta", '{');
    if (first)
        np_json_w_cstr(&w, "role", "assistant");
    if (text.p)
        np_json_w_str(&w, "content", text);
    np_json_w_end(&w, '}');
    np_json_w_cstr(&w, "finish_reason", last ? finish(f) : NULL);
    np_json_w_end(&w, '}');
    np_json_w_end(&w, ']');
    if (f->c->include_usage)
        np_json_w_null(&w, "usage");
    np_json_w_end(&w, '}');
    (void)np_buf_puts(&b, "\n\n");
    np_sim_put(&b, put, ctx);
}

static void usage_chunk(const struct np_sim_facts *f, np_sim_put_fn *put, void *ctx)
{
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, 4096);
    (void)np_buf_puts(&b, "data: ");
    np_json_w_init(&w, &b);
    head(&w, f, "chat.completion.chunk");
    np_json_w_begin_key(&w, "choices", '[');
    np_json_w_end(&w, ']');
    usage(&w, f);
    np_json_w_end(&w, '}');
    (void)np_buf_puts(&b, "\n\n");
    np_sim_put(&b, put, ctx);
}

void np_openai_stream(const struct np_sim_facts *f, np_sim_put_fn *put, void *ctx)
{
    chunk(f, true, NP_SPAN(""), false, put, ctx);
    size_t n = np_sim_parts(f->text);
    for (size_t i = 0; i < n; i++) {
        struct np_span part = np_sim_part(f->text, i, n);
        ++*f->said;
        if (part.n > 0)
            chunk(f, false, part, false, put, ctx);
    }
    chunk(f, false, NP_SPAN_NONE, true, put, ctx);
    if (f->c->include_usage && !f->a->no_usage)
        usage_chunk(f, put, ctx);
    put(ctx, NP_SPAN("data: [DONE]\n\n"));
}
