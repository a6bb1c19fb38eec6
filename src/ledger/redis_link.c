/* hiredis on a loop of ours. A step of the way up (AUTH, SELECT, INFO, SCRIPT LOAD) follows the answer
 * of the one before; then the link is ready. hiredis owns its context: it frees it after a failure, and
 * calls the callbacks of what was under way with no reply. */
#include "ledger/redis_link.h"

#include "base/log.h"
#include "ledger/redis_tls.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define CALL_ARGS_MAX 4096

#define TEXT_OF(n) #n
#define VERSION_OF(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char np_redis_version[] = VERSION_OF(HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);

struct np_redis_link {
    struct np_loop *loop;
    const struct np_redis_url *url;
    const char *script;
    size_t script_bytes;
    struct np_redis_ops ops;
    void *ctx;
    redisAsyncContext *ac; /* NULL: not connected */
    struct np_redis_tls *tls;
    struct np_watch watch;
    uint32_t events;
    bool ready, dropping;
    char sha[48], run[48], why[256];
    int64_t uptime_ms;
};

struct call {
    struct np_redis_link *link;
    void (*answer)(void *ctx, const struct np_redis_answer *a);
    void *ctx;
};

/* --- hiredis asks for events ---------------------------------------------------------------------- */

static void on_events(void *ctx, uint32_t events)
{
    struct np_redis_link *k = ctx;
    if (k->ac && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        redisAsyncHandleRead(k->ac);
    }
    if (k->ac && (events & EPOLLOUT)) {
        redisAsyncHandleWrite(k->ac);
    }
}

static void want(struct np_redis_link *k, uint32_t events)
{
    enum np_err err = NP_OK;
    if (!k->ac || k->events == events) {
        return;
    }
    if (events == 0) {
        np_loop_remove(k->loop, &k->watch);
    } else if (k->watch.fd < 0) {
        err = np_loop_add(k->loop, &k->watch, k->ac->c.fd, events);
    } else {
        err = np_loop_change(k->loop, &k->watch, events);
    }
    k->events = err ? 0 : events;
}

static void add_read(void *ctx)
{
    struct np_redis_link *k = ctx;
    want(k, k->events | EPOLLIN);
}

static void del_read(void *ctx)
{
    struct np_redis_link *k = ctx;
    want(k, k->events & ~(uint32_t)EPOLLIN);
}

static void add_write(void *ctx)
{
    struct np_redis_link *k = ctx;
    want(k, k->events | EPOLLOUT);
}

static void del_write(void *ctx)
{
    struct np_redis_link *k = ctx;
    want(k, k->events & ~(uint32_t)EPOLLOUT);
}

static void cleanup(void *ctx)
{
    struct np_redis_link *k = ctx;
    np_loop_remove(k->loop, &k->watch);
    k->events = 0;
}

/* --- ends ----------------------------------------------------------------------------------------- */

static void note_why(struct np_redis_link *k, const char *what, const char *text)
{
    (void)snprintf(k->why, sizeof k->why, "%s%s%.180s", what, text[0] ? ": " : "", text);
}

/* The context is gone, or will be when this returns. */
static void gone(struct np_redis_link *k)
{
    bool tell = k->ac && !k->dropping;
    k->ac = NULL;
    k->ready = false;
    if (tell) {
        k->ops.lost(k->ctx, k->why);
    }
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
    struct np_redis_link *k = ac->data;
    if (ac != k->ac) {
        return; /* given up before */
    }
    if (status != REDIS_OK && !k->why[0] && !np_redis_tls_refused(k->tls, k->why, sizeof k->why)) {
        note_why(k, "the connection ended", ac->errstr ? ac->errstr : "");
    }
    gone(k);
}

void np_redis_link_drop(struct np_redis_link *k)
{
    redisAsyncContext *ac = k->ac;
    if (!ac) {
        return;
    }
    k->dropping = true;
    redisAsyncFree(ac);
    k->dropping = false;
    k->ac = NULL;
    k->ready = false;
}

/* Ends a link whose server is not as it must be. */
static void give_up(struct np_redis_link *k, const char *what, const char *text)
{
    note_why(k, what, text);
    np_redis_link_drop(k);
    k->ops.lost(k->ctx, k->why);
}

/* --- the way up ----------------------------------------------------------------------------------- */

/* The reply is one of success, else the link ends. */
static bool good(struct np_redis_link *k, const redisReply *r, const char *step)
{
    if (!r) {
        return false; /* the end of the connection is told elsewhere */
    }
    if (r->type == REDIS_REPLY_ERROR) {
        give_up(k, step, r->str);
        return false;
    }
    return true;
}

/* The value of "name:value" in what INFO says. */
static bool info_value(const char *info, const char *name, char *out, size_t size)
{
    const char *at = strstr(info, name);
    if (!at) {
        return false;
    }
    at += strlen(name);
    size_t n = strcspn(at, "\r\n");
    (void)snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), at);
    return true;
}

static void on_loaded(redisAsyncContext *ac, void *reply, void *ctx)
{
    struct np_redis_link *k = ctx;
    const redisReply *r = reply;
    (void)ac;
    if (k->dropping || !good(k, r, "the lease script was refused")) {
        return;
    }
    (void)snprintf(k->sha, sizeof k->sha, "%s", r->str ? r->str : "");
    k->ready = true;
    k->ops.ready(k->ctx);
}

static void load_script(struct np_redis_link *k)
{
    (void)redisAsyncCommand(k->ac, on_loaded, k, "SCRIPT LOAD %b", k->script, k->script_bytes);
}

static void read_info(struct np_redis_link *k, const char *info)
{
    char text[64] = "";
    if (info_value(info, "uptime_in_seconds:", text, sizeof text)) {
        k->uptime_ms = (int64_t)strtoll(text, NULL, 10) * 1000;
    }
    if (info_value(info, "maxmemory_policy:", text, sizeof text) &&
        strcmp(text, "noeviction") != 0) {
        np_log(NP_LOG_WARN,
               "Redis may throw away what budgets have spent: set maxmemory-policy to noeviction",
               NP_KVS("maxmemory_policy", text));
    }
    /* A replica that takes over goes on with the run id of its own. */
    (void)info_value(info, "run_id:", k->run, sizeof k->run);
}

static void on_info(redisAsyncContext *ac, void *reply, void *ctx)
{
    struct np_redis_link *k = ctx;
    const redisReply *r = reply;
    (void)ac;
    if (k->dropping || !good(k, r, "INFO was refused, the user needs +info")) {
        return;
    }
    k->run[0] = '\0';
    read_info(k, r->str ? r->str : "");
    if (!k->run[0]) {
        give_up(k, "INFO does not say run_id", "");
        return;
    }
    load_script(k);
}

static void on_selected(redisAsyncContext *ac, void *reply, void *ctx)
{
    struct np_redis_link *k = ctx;
    if (!k->dropping && good(k, reply, "SELECT was refused")) {
        (void)redisAsyncCommand(ac, on_info, k, "INFO");
    }
}

static void select_db(struct np_redis_link *k)
{
    (void)redisAsyncCommand(k->ac, on_selected, k, "SELECT %u", k->url->db);
}

static void on_authenticated(redisAsyncContext *ac, void *reply, void *ctx)
{
    struct np_redis_link *k = ctx;
    (void)ac;
    if (!k->dropping && good(k, reply, "user and password were refused")) {
        select_db(k);
    }
}

static void on_connect(const redisAsyncContext *ac, int status)
{
    struct np_redis_link *k = ac->data;
    const struct np_redis_url *u = k->url;
    if (status != REDIS_OK) {
        note_why(k, "can't connect", ac->errstr ? ac->errstr : "");
        gone(k);
        return;
    }
    if (u->password[0] && u->user[0]) {
        (void)redisAsyncCommand(k->ac, on_authenticated, k, "AUTH %s %s", u->user, u->password);
    } else if (u->password[0]) {
        (void)redisAsyncCommand(k->ac, on_authenticated, k, "AUTH %s", u->password);
    } else {
        select_db(k);
    }
}

/* Where the URL asks for it. */
static bool begin_tls(struct np_redis_link *k)
{
    if (!k->url->tls) {
        return true;
    }
    if (!k->tls) {
        k->tls = np_redis_tls_new(k->why, sizeof k->why);
    }
    return k->tls && np_redis_tls_begin(k->tls, &k->ac->c, k->url->host, k->why, sizeof k->why);
}

void np_redis_link_open(struct np_redis_link *k)
{
    if (k->ac) {
        return;
    }
    k->why[0] = '\0';
    k->ac = redisAsyncConnect(k->url->host, (int)k->url->port);
    if (!k->ac || k->ac->err) {
        note_why(k, "can't connect", k->ac ? k->ac->errstr : "no memory");
        np_redis_link_drop(k);
        k->ops.lost(k->ctx, k->why);
        return;
    }
    k->ac->data = k;
    k->ac->ev.data = k;
    k->ac->ev.addRead = add_read;
    k->ac->ev.delRead = del_read;
    k->ac->ev.addWrite = add_write;
    k->ac->ev.delWrite = del_write;
    k->ac->ev.cleanup = cleanup;
    if (!begin_tls(k)) {
        np_redis_link_drop(k);
        k->ops.lost(k->ctx, k->why);
        return;
    }
    (void)redisAsyncSetDisconnectCallback(k->ac, on_disconnect);
    (void)redisAsyncSetConnectCallback(k->ac, on_connect);
}

/* --- calls ---------------------------------------------------------------------------------------- */

static void give_error(struct call *c, const char *error)
{
    c->answer(c->ctx, &(struct np_redis_answer){.error = error});
}

static void on_answer(redisAsyncContext *ac, void *reply, void *ctx)
{
    struct call *c = ctx;
    const redisReply *r = reply;
    const char *texts[CALL_ARGS_MAX];
    (void)ac;
    if (!r) {
        give_error(c, "the connection ended");
    } else if (r->type == REDIS_REPLY_ERROR) {
        if (strncmp(r->str, "NOSCRIPT", 8) == 0 && c->link->ac && !c->link->dropping) {
            c->link->ready = false;
            load_script(c->link);
        }
        give_error(c, r->str);
    } else if (r->type != REDIS_REPLY_ARRAY || r->elements > CALL_ARGS_MAX) {
        give_error(c, "an answer that is none of the lease script");
    } else {
        for (size_t i = 0; i < r->elements; i++) {
            texts[i] = r->element[i]->str ? r->element[i]->str : "";
        }
        c->answer(c->ctx, &(struct np_redis_answer){.texts = texts, .n = r->elements});
    }
    free(c);
}

bool np_redis_link_call(struct np_redis_link *k, const char *key, const char *const *args, size_t n,
                        void (*answer)(void *ctx, const struct np_redis_answer *a), void *ctx)
{
    const char *argv[CALL_ARGS_MAX + 4] = {"EVALSHA", k->sha, "1", key};
    np_require(n <= CALL_ARGS_MAX);
    struct call *c = k->ready ? malloc(sizeof *c) : NULL;
    if (!c) {
        return false;
    }
    *c = (struct call){.link = k, .answer = answer, .ctx = ctx};
    for (size_t i = 0; i < n; i++) {
        argv[i + 4] = args[i];
    }
    if (redisAsyncCommandArgv(k->ac, on_answer, c, (int)n + 4, argv, NULL) != REDIS_OK) {
        free(c);
        return false;
    }
    return true;
}

/* --- life ----------------------------------------------------------------------------------------- */

struct np_redis_link *np_redis_link_new(struct np_loop *loop, const struct np_redis_url *url,
                                        const char *script, size_t script_bytes,
                                        const struct np_redis_ops *ops, void *ctx)
{
    struct np_redis_link *k = calloc(1, sizeof *k);
    if (!k) {
        return NULL;
    }
    k->loop = loop;
    k->url = url;
    k->script = script;
    k->script_bytes = script_bytes;
    k->ops = *ops;
    k->ctx = ctx;
    k->watch = (struct np_watch){.ready = on_events, .ctx = k, .fd = -1};
    return k;
}

void np_redis_link_free(struct np_redis_link *k)
{
    if (!k) {
        return;
    }
    np_redis_link_drop(k);
    np_redis_tls_free(k->tls);
    free(k);
}

bool np_redis_link_ready(const struct np_redis_link *k)
{
    return k->ready;
}

const char *np_redis_link_run(const struct np_redis_link *k)
{
    return k->run;
}

int64_t np_redis_link_uptime_ms(const struct np_redis_link *k)
{
    return k->uptime_ms;
}
