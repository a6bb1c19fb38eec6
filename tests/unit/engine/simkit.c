/* See simkit.h. */
#include "engine/simkit.h"

#include "base/log.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void kit_file(struct kit *k, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", k->dir, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    (void)mkdir(path, 0700);
    *slash = '/';
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

void kit_new(struct kit *k)
{
    *k = (struct kit){0};
    np_log_level(NP_LOG_ERROR);
    (void)snprintf(k->dir, sizeof k->dir, "/tmp/neap-kit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(k->dir));
    kit_file(k, "providers.lua",
             "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1' },\n"
             "         anthropic = { adapter = 'anthropic', base_url = 'http://127.0.0.1:1' } }\n");
    kit_file(
        k, "models.lua",
        "return {\n"
        "  big = { provider = 'openai', id = 'big-1', tier = 'premium', context = 8000,\n"
        "          max_output = 4096, usd_per_million = { input = 2, output = 8 } },\n"
        "  small = { provider = 'anthropic', tier = 'economy', context = 16000,\n"
        "            max_output = 4096, usd_per_million = { input = 0.4, output = 1.6 } } }\n");
    kit_file(k, "endpoints.lua",
             "return { ['/api/test/reply'] = { models = { 'big', 'small' }, deadline_ms = 10000,\n"
             "  max_attempts = 4, max_tokens = 500, slo = { p95_ms = 2500, error_rate = 0.01,\n"
             "  degraded_rate = 0.05, cost_usd = 0.01 } } }\n");
}

struct kit_script *kit_script(struct kit *k, const char *model)
{
    for (size_t i = 0; i < k->n_scripts; i++) {
        if (strcmp(k->script[i].model, model) == 0)
            return &k->script[i];
    }
    ck_assert_uint_lt(k->n_scripts, sizeof k->script / sizeof *k->script);
    k->script[k->n_scripts].model = model;
    return &k->script[k->n_scripts++];
}

void kit_step(struct kit *k, const char *model, struct kit_step step)
{
    struct kit_script *s = kit_script(k, model);
    ck_assert_uint_lt(s->n, KIT_MAX_STEPS);
    s->step[s->n++] = step;
}

const char *kit_good(enum np_adapter dialect, const char *text, int prompt, int completion)
{
    static char buf[4][1024];
    static unsigned turn;
    char *b = buf[turn++ % 4];
    if (dialect == NP_ADAPTER_OPENAI)
        (void)snprintf(b, 1024,
                       "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{"
                       "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
                       "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%d,"
                       "\"completion_tokens\":%d,\"total_tokens\":%d}}",
                       text, prompt, completion, prompt + completion);
    else
        (void)snprintf(b, 1024,
                       "{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
                       "\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],\"stop_reason\":"
                       "\"end_turn\",\"usage\":{\"input_tokens\":%d,\"output_tokens\":%d}}",
                       text, prompt, completion);
    return b;
}

static const char *error_body(enum np_adapter dialect)
{
    return dialect == NP_ADAPTER_OPENAI
               ? "{\"error\":{\"message\":\"no\",\"type\":\"some_error\",\"code\":null}}"
               : "{\"type\":\"error\",\"error\":{\"type\":\"some_error\",\"message\":\"no\"}}";
}

static void on_call(void *ctx, const struct np_exchange *x, const struct np_call_order *order,
                    struct np_rng *rng, struct np_sim_reply *out)
{
    struct kit *k = ctx;
    (void)x;
    (void)rng;
    enum np_adapter dialect = order->model->provider->adapter;
    struct kit_script *s = kit_script(k, order->model->name);
    struct kit_step step = {.status = 200};
    if (s->n > 0)
        step = s->step[s->at < s->n ? s->at : s->n - 1];
    s->at++;
    out->takes_ns = (step.takes_ms ? step.takes_ms : 100) * NP_NS_PER_MS;
    out->status = step.status;
    out->how = step.status && !step.stream ? NP_CALL_COMPLETE : step.how;
    out->stream = step.stream;
    out->first_ns = step.first_ms * NP_NS_PER_MS;
    out->not_sent = !step.status && step.how <= NP_CALL_NO_TLS;
    if (step.retry_after)
        out->retry_after = np_span_of(step.retry_after);
    const char *body = step.body            ? step.body
                       : step.status == 200 ? kit_good(dialect, "Sure.", 100, 50)
                       : step.status        ? error_body(dialect)
                                            : "";
    out->body = np_span_of(body);
}

static void copy_span(char *to, size_t size, struct np_span from)
{
    size_t n = from.n < size - 1 ? from.n : size - 1;
    if (n)
        memcpy(to, from.p, n);
    to[n] = '\0';
}

static void copy_attempts(struct kit_outcome *o, const struct np_exchange *x)
{
    o->n_attempts = x->n_attempts;
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct np_attempt *a = &x->attempts[i];
        ck_assert(a->ended);
        copy_span(o->attempt[i].model, 64, np_span_of(a->model->name));
        copy_span(o->attempt[i].key, 64, np_span_of(a->key ? a->key->label : ""));
        o->attempt[i].class = a->class;
        o->attempt[i].settled = a->settled;
        o->attempt[i].retry_in_ms = a->retry_in_ms;
        o->attempt[i].cost_nusd = a->cost_nusd;
        o->attempt[i].took_ms = (a->end_ns - a->start_ns) / NP_NS_PER_MS;
        if (a->first_byte_ns)
            o->attempt[i].first_ms = (a->first_byte_ns - a->start_ns) / NP_NS_PER_MS;
        o->attempt[i].usage = a->usage;
        o->attempt[i].emitted = a->emitted;
        o->attempt[i].hedge = a->hedge;
        o->attempt[i].lost = a->lost;
        o->attempt[i].reserved_nusd = a->reservation.amount_nusd;
    }
    o->n_skipped = x->n_skipped;
    for (size_t i = 0; i < x->n_skipped; i++)
        o->skipped[i] = x->skipped[i].why;
}

static void on_closed(void *ctx, const struct np_exchange *x)
{
    struct kit *k = ctx;
    if (k->n_outcomes == KIT_MAX_OUTCOMES)
        return;
    struct kit_outcome *o = &k->outcome[k->n_outcomes++];
    *o = (struct kit_outcome){.status = x->outcome.status,
                              .degraded = x->outcome.degraded,
                              .client_gone = x->client_gone,
                              .broken = x->outcome.broken,
                              .emitted = x->emitted,
                              .first_text_ns =
                                  x->first_text_ns ? x->first_text_ns - x->accept_ns : 0,
                              .reason = x->outcome.reason,
                              .refusal = x->outcome.refusal.type,
                              .finish = x->outcome.finish,
                              .hedge = x->hedge,
                              .cost_nusd = x->cost_nusd,
                              .reserved_max_nusd = x->reserved_max_nusd,
                              .retry_after_s = x->outcome.retry_after_s,
                              .took_ns = x->end_ns - x->accept_ns,
                              .upstream_ns = x->upstream_ns};
    copy_span(o->text, sizeof o->text,
              x->outcome.refused ? x->outcome.refusal.message : x->outcome.text);
    copy_span(o->param, sizeof o->param, x->outcome.refusal.param);
    copy_span(o->model, sizeof o->model, np_span_of(x->answered_by ? x->answered_by->name : ""));
    o->arena_bytes = np_arena_used(x->arena);
    for (size_t i = 0; i < x->request.n_context; i++)
        o->n_context_kept += x->request.context[i].kept;
    copy_attempts(o, x);
}

void kit_start(struct kit *k)
{
    struct np_problems problems;
    struct np_buf text;
    np_problems_init(&problems);
    np_buf_init(&text, 65536);
    ck_assert_int_eq(np_slots_init(&k->slots), NP_OK);
    struct np_load_options options = {.slots = &k->slots, .simulated = true, .trust_folder = true};
    enum np_err err = np_policyset_read(k->dir, &k->set, &problems);
    if (!err)
        err = np_policyset_load(k->set, &options, &problems);
    np_problems_print(&problems, &text);
    ck_assert_msg(!err, "%.*s", (int)text.n, text.n ? text.p : "");
    np_buf_free(&text);
    np_problems_free(&problems);
    struct np_sim_source source = {.call = on_call, .closed = on_closed, .ctx = k};
    k->sim = np_sim_new(k->set, 1, &source);
    ck_assert_ptr_nonnull(k->sim);
}

const struct kit_outcome *kit_ask(struct kit *k, const char *body)
{
    size_t before = k->n_outcomes;
    struct np_sim_client client = {.body = np_span_of(body), .endpoint = "/api/test/reply"};
    ck_assert_int_eq(np_sim_add(k->sim, &client), NP_OK);
    np_sim_run(k->sim);
    ck_assert_uint_eq(k->n_outcomes, before + 1);
    return &k->outcome[before];
}

void kit_free(struct kit *k)
{
    char command[128];
    np_sim_free(k->sim);
    np_policyset_drop(k->set);
    np_slots_free(&k->slots);
    (void)snprintf(command, sizeof command, "rm -rf %s", k->dir);
    ck_assert_int_eq(system(command), 0);
}
