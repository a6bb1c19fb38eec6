/* The operators' socket: who may ask, the table of what can be asked, and the thread that answers. */
#include "engine/dashboard.h"
#include "engine/engine_impl.h"
#include "engine/requests.h"

#include "base/json.h"
#include "base/log.h"
#include "engine/monitor.h"
#include "engine/objectives.h"
#include "http/dialect.h"

#include <stdlib.h>
#include <strings.h>

#define REQUEST_ID "X-Request-Id"
#define BODY_MAX_BYTES 4096
#define ANSWER_MAX_BYTES (64u << 20)
#define LOOKS 4 /* more, for a request that is not there yet */
#define LOOK_NS (2 * NP_NS_PER_MS)
#define TEXT "text/plain; charset=utf-8"

/* What the dashboard may do in a browser: its own files and this socket, nothing that is written into the
 * page. The rest of the socket's answers, refusals too, are no pages at all; the same holds for them. */
#define CSP                                                                                 \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " \
    "'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "                 \
    "require-trusted-types-for 'script'; trusted-types 'none'"

static const struct np_http_field security[] = {{"Cache-Control", "no-store"},
                                                {"X-Content-Type-Options", "nosniff"},
                                                {"Referrer-Policy", "no-referrer"},
                                                {"Cross-Origin-Resource-Policy", "same-origin"},
                                                {"Cross-Origin-Opener-Policy", "same-origin"},
                                                {"Content-Security-Policy", CSP}};

struct np_admin {
    struct neap_engine *engine;
    pthread_t thread;
    bool running;
    struct np_loop *loop;
    struct np_front *front;
    struct np_rng rng;
    struct waiting *waiting; /* those whose verdict did not reach its operator yet */
    _Atomic bool closing;
};

/* One answer: a status and a body that out holds; or why it is refused. */
struct answer {
    struct np_span path, query; /* what is asked */
    unsigned status;
    const char *content_type;
    struct np_buf out;
    struct np_span file; /* instead of out: bytes that stay; p NULL: none */
    bool refused;
    enum np_refusal_type type;
    char why[NP_REQUESTS_WHY];
};

/* The id of an answer: the operator's where that may be taken, else a new one. */
static void make_id(void *ctx, char out[NP_HTTP_ID_BYTES], struct np_span given)
{
    struct np_admin *a = ctx;
    if (given.p && np_id_valid(given)) {
        memcpy(out, given.p, given.n);
        out[given.n] = '\0';
    } else {
        np_id_make(&a->rng, np_clock_wall_ms(&np_clock_live), out);
    }
}

static void give(struct np_admin *admin, struct np_http_call *c, struct answer *a)
{
    char id[NP_HTTP_ID_BYTES];
    make_id(admin, id, np_http_header(c, REQUEST_ID));
    const struct np_http_field fields[] = {{REQUEST_ID, id}};
    struct np_http_reply reply = {.status = np_buf_failed(&a->out) ? 503 : a->status,
                                  .content_type = a->content_type,
                                  .fields = fields,
                                  .n_fields = sizeof fields / sizeof *fields,
                                  .body = a->file.p ? a->file : np_buf_view(&a->out),
                                  .borrowed = a->file.p != NULL};
    np_http_reply(c, &reply);
    np_buf_free(&a->out);
}

static void health(struct neap_engine *e, struct answer *a)
{
    (void)e;
    (void)np_buf_puts(&a->out, "{\"status\":\"ok\"}\n");
}

static void ready(struct neap_engine *e, struct answer *a)
{
    bool draining = atomic_load(&e->draining);
    struct np_policyset *set = np_keeper_current(e->keeper);
    a->status = draining ? 503 : 200;
    (void)np_buf_printf(&a->out, "{\"status\":\"%s\",\"policy\":\"%s\"}\n",
                        draining ? "draining" : "ready", np_policyset_version(set));
    np_policyset_drop(set);
}

static void metrics(struct neap_engine *e, struct answer *a)
{
    a->content_type = "text/plain; version=0.0.4; charset=utf-8";
    np_status_metrics(e, &a->out);
}

static void status(struct neap_engine *e, struct answer *a)
{
    np_status_json(e, &a->out);
}

static void breakers(struct neap_engine *e, struct answer *a)
{
    np_status_breakers(e, &a->out);
}

static void budgets(struct neap_engine *e, struct answer *a)
{
    np_status_budgets(e, &a->out);
}

static void policies(struct neap_engine *e, struct answer *a)
{
    np_status_policies(e, &a->out);
}

static void alerts(struct neap_engine *e, struct answer *a)
{
    np_monitor_json(e->monitor, &a->out);
}

static void slo(struct neap_engine *e, struct answer *a)
{
    np_status_slo(e, &a->out);
}

static void days(struct neap_engine *e, struct answer *a)
{
    np_monitor_days(e->monitor, &a->out);
}

static void series(struct neap_engine *e, struct answer *a)
{
    enum np_series_span span;
    a->type = NP_REFUSAL_invalid_request;
    a->refused = !np_series_read(a->query, &span, a->why);
    if (!a->refused)
        np_status_series(e, span, &a->out);
}

static void requests(struct neap_engine *e, struct answer *a)
{
    if (np_requests_tells(a->path))
        a->content_type = TEXT;
    /* A client that has its reply finds its record, though the record is written after the reply. */
    for (int look = 0;; look++) {
        np_writer_gather(e->writer);
        a->refused = !np_requests_answer(np_writer_recent(e->writer), a->path, a->query, &a->out,
                                         &a->type, a->why);
        if (!a->refused || a->type != NP_REFUSAL_not_found || look == LOOKS)
            break;
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

/* What the page must know before it may ask for anything else. */
static void settings(struct neap_engine *e, struct answer *a)
{
    bool token = e->options.admin_token && e->options.admin_token[0];
    (void)np_buf_printf(&a->out, "{\"token\":%s}\n", token ? "true" : "false");
}

static void dashboard(struct neap_engine *e, struct answer *a)
{
    (void)e;
    np_require(np_dashboard_find(a->path, &a->file, &a->content_type));
}

/* --- refusals ------------------------------------------------------------------------------------ */

static void refuse(struct np_admin *a, struct np_http_call *c, enum np_refusal_type type,
                   const char *message, const char *allow)
{
    char id[NP_HTTP_ID_BYTES];
    make_id(a, id, np_http_header(c, REQUEST_ID));
    struct np_refusal r = {.type = type,
                           .status = np_refusal_status(type),
                           .message = np_span_of(message),
                           .retry_after_s = -1};
    np_http_refuse(c, &r, id, allow);
}

/* --- reload and rollback: the answer waits for the keeper's verdict ------------------------------ */

struct waiting {
    struct np_admin *admin;
    struct np_http_call *call; /* NULL: the operator left */
    struct answer answer;
    struct waiting *prev, *next; /* in admin->waiting */
};

static void forget(struct waiting *wait)
{
    if (wait->prev)
        wait->prev->next = wait->next;
    else
        wait->admin->waiting = wait->next;
    if (wait->next)
        wait->next->prev = wait->prev;
    np_buf_free(&wait->answer.out);
    free(wait);
}

static void verdict_on_loop(void *ctx)
{
    struct waiting *wait = ctx;
    if (wait->call) {
        np_http_set_user(wait->call, NULL);
        give(wait->admin, wait->call, &wait->answer);
    }
    forget(wait);
}

static void write_problems(struct np_json_w *w, const struct np_problems *problems)
{
    np_json_w_begin_key(w, "problems", '[');
    for (size_t i = 0; i < problems->n; i++) {
        const struct np_problem *p = &problems->list[i];
        np_json_w_begin(w, '{');
        np_json_w_cstr(w, "file", p->file);
        np_json_w_i64(w, "line", p->line);
        np_json_w_i64(w, "column", p->column);
        np_json_w_cstr(w, "code", p->code);
        np_json_w_cstr(w, "severity", p->warning ? "warning" : "error");
        np_json_w_cstr(w, "text", p->text);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, ']');
}

/* On the keeper's thread. */
static void on_verdict(void *ctx, const struct np_reload_verdict *v)
{
    struct waiting *wait = ctx;
    struct np_json_w w;
    np_json_w_init(&w, &wait->answer.out);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "version", v->version);
    np_json_w_cstr(&w, "result", v->result);
    write_problems(&w, &v->problems);
    np_json_w_end(&w, '}');
    (void)np_buf_char(&wait->answer.out, '\n');
    wait->answer.status = strcmp(v->result, "rejected") == 0 ? 422 : 200;
    while (!atomic_load(&wait->admin->closing) &&
           np_loop_post(wait->admin->loop, verdict_on_loop, wait) != NP_OK)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void start_reload(struct np_admin *a, struct np_http_call *c, enum np_reload_kind kind)
{
    struct waiting *wait = calloc(1, sizeof *wait);
    if (!wait) {
        refuse(a, c, NP_REFUSAL_overloaded, "no memory for this request now", NULL);
        return;
    }
    wait->admin = a;
    wait->call = c;
    wait->answer.content_type = "application/json";
    np_buf_init(&wait->answer.out, ANSWER_MAX_BYTES);
    wait->next = a->waiting;
    if (wait->next)
        wait->next->prev = wait;
    a->waiting = wait;
    np_http_set_user(c, wait);
    np_keeper_reload(a->engine->keeper, kind, NP_TRIGGER_OPERATOR, on_verdict, wait);
}

/* --- the table ----------------------------------------------------------------------------------- */

static const struct route {
    const char *path;
    const char *method;
    void (*answer)(struct neap_engine *e, struct answer *a); /* NULL: reload */
    enum np_reload_kind kind;
    bool open; /* no token is asked for */
} routes[] = {
    {"/healthz", "GET", health, 0, true},
    {"/readyz", "GET", ready, 0, true},
    {"/dashboard/settings", "GET", settings, 0, true},
    {"/metrics", "GET", metrics, 0, false},
    {"/api/status", "GET", status, 0, false},
    {"/api/breakers", "GET", breakers, 0, false},
    {"/api/budgets", "GET", budgets, 0, false},
    {"/api/policies", "GET", policies, 0, false},
    {NP_REQUESTS_PATH, "GET", requests, 0, false}, /* and what is below it */
    {"/api/alerts", "GET", alerts, 0, false},
    {"/api/slo", "GET", slo, 0, false},
    {"/api/days", "GET", days, 0, false},
    {NP_SERIES_PATH, "GET", series, 0, false},
    {"/api/policies/reload", "POST", NULL, NP_RELOAD_ANEW, false},
    {"/api/policies/rollback", "POST", NULL, NP_RELOAD_ROLLBACK, false},
};

/* Files without data: the page asks for the token itself. */
static const struct route page = {"/", "GET", dashboard, 0, true};

static const struct route *find_route(struct np_span path)
{
    struct np_span bytes;
    const char *type;
    if (np_dashboard_find(path, &bytes, &type))
        return &page;
    if (np_requests_is(path))
        path = np_span_of(NP_REQUESTS_PATH);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (np_span_is(path, routes[i].path))
            return &routes[i];
    }
    return NULL;
}

/* Whether the call carries the token. Digests are compared, so that its length tells nothing. */
static bool token_ok(const struct neap_engine *e, const struct np_http_call *c)
{
    const char *token = e->options.admin_token;
    if (!token || !token[0])
        return true;
    struct np_span auth = np_http_header(c, "authorization");
    if (!auth.p || auth.n <= 7 || strncasecmp(auth.p, "bearer ", 7) != 0)
        return false;
    uint8_t given[NP_SHA256_BYTES], wanted[NP_SHA256_BYTES];
    np_sha256(auth.p + 7, auth.n - 7, given);
    np_sha256(token, strlen(token), wanted);
    return np_equal_ct(given, wanted, sizeof given);
}

static bool method_ok(const struct route *r, struct np_span method)
{
    return np_span_is(method, r->method) ||
           (np_span_is(method, "HEAD") && strcmp(r->method, "GET") == 0);
}

static void on_head(void *ctx, struct np_http_call *c)
{
    struct np_admin *a = ctx;
    const struct route *r = find_route(np_http_path(c));
    if (!(r && r->open) && !token_ok(a->engine, c)) {
        refuse(a, c, NP_REFUSAL_unauthorized,
               "the admin token is required: Authorization: Bearer TOKEN", NULL);
        return;
    }
    if (!r && !np_span_is(np_http_method(c), "OPTIONS")) {
        refuse(a, c, NP_REFUSAL_not_found, "there is no such endpoint", NULL);
        return;
    }
    if (!r || !method_ok(r, np_http_method(c))) {
        refuse(a, c, NP_REFUSAL_method_not_allowed, "this endpoint has another method",
               r ? r->method : "GET, POST");
        return;
    }
    if (strcmp(r->method, "POST") == 0 && !np_span_is(np_http_header(c, "x-neap-admin"), "1")) {
        refuse(a, c, NP_REFUSAL_forbidden, "a POST needs the header X-Neap-Admin: 1", NULL);
        return;
    }
    np_http_accept(c, BODY_MAX_BYTES);
}

static void on_whole(void *ctx, struct np_http_call *c)
{
    struct np_admin *a = ctx;
    const struct route *r = find_route(np_http_path(c));
    np_require(r);
    if (!r->answer) {
        start_reload(a, c, r->kind);
        return;
    }
    struct answer answer = {.path = np_http_path(c),
                            .query = np_http_query(c),
                            .status = 200,
                            .content_type = "application/json"};
    np_buf_init(&answer.out, ANSWER_MAX_BYTES);
    r->answer(a->engine, &answer);
    if (!answer.refused) {
        give(a, c, &answer);
        return;
    }
    np_buf_free(&answer.out);
    refuse(a, c, answer.type, answer.why, NULL);
}

static void on_left(void *ctx, struct np_http_call *c)
{
    (void)ctx;
    struct waiting *wait = np_http_user(c);
    if (wait)
        wait->call = NULL;
    np_http_set_user(c, NULL);
}

static void on_gone(void *ctx, struct np_http_call *c, enum np_http_end end)
{
    (void)end;
    on_left(ctx, c);
}

static void on_refused(void *ctx, enum np_http_refusal cause)
{
    struct np_admin *a = ctx;
    np_meter_add(a->engine->meters[a->engine->n_workers], NP_FAMILY_http_refused, (uint32_t)cause,
                 0, 0, 1);
}

/* --- life ---------------------------------------------------------------------------------------- */

struct np_admin *np_admin_new(struct neap_engine *e, int listen_fd)
{
    struct np_admin *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->engine = e;
    uint64_t seed;
    np_random_bytes(&seed, sizeof seed);
    np_rng_seed(&a->rng, seed);
    struct np_front_config config = {.listen_fd = listen_fd,
                                     .gate = {.check_host = true,
                                              .check_origin = true,
                                              .bodiless_post = true,
                                              .hosts = e->hosts,
                                              .n_hosts = e->n_hosts},
                                     .max_body_bytes = BODY_MAX_BYTES,
                                     .max_connections = 256,
                                     .max_lingering = e->lingering,
                                     .idle_timeout_s = 75,
                                     .request_id_header = REQUEST_ID,
                                     .make_id = make_id,
                                     .fields = security,
                                     .n_fields = sizeof security / sizeof *security};
    struct np_front_ops ops = {.head = on_head,
                               .whole = on_whole,
                               .gone = on_gone,
                               .left = on_left,
                               .refused = on_refused,
                               .ctx = a};
    a->loop = np_loop_new(&np_clock_live);
    a->front = a->loop ? np_front_new(a->loop, &config, &ops) : NULL;
    if (!a->front) {
        np_admin_free(a);
        return NULL;
    }
    return a;
}

static void *thread_main(void *arg)
{
    struct np_admin *a = arg;
    np_loop_run(a->loop);
    return NULL;
}

enum np_err np_admin_start(struct np_admin *a)
{
    a->running = pthread_create(&a->thread, NULL, thread_main, a) == 0;
    return a->running ? NP_OK : NP_E_NOMEM;
}

void np_admin_join(struct np_admin *a)
{
    if (!a || !a->running)
        return;
    atomic_store(&a->closing, true);
    np_loop_stop(a->loop);
    (void)pthread_join(a->thread, NULL);
    a->running = false;
}

void np_admin_free(struct np_admin *a)
{
    if (!a)
        return;
    if (a->front)
        np_front_free(a->front);
    while (a->waiting)
        forget(a->waiting);
    if (a->loop)
        np_loop_free(a->loop);
    free(a);
}
