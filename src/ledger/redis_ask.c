#include "ledger/redis_ask.h"

#include "base/span.h"
#include "ledger/redis_link.h"
#include "ledger/redis_tls.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define PATIENCE_S 5
#define KEY "neap:{"
#define KEY_BYTES (NP_ACCOUNT_TEXT + 48)
#define VECTORS_MAX 4096
/* As many turns as 10 million keys take. */
#define SCANS_MAX 100000
#define KEYS_A_SCAN "100"
#define LEASE_MS "32000" /* as store_redis.c has it, its margin included */

struct np_redis_ask {
    struct np_redis_url url;
    redisContext *c;
    struct np_redis_tls *tls;
    int64_t now_ms;
    struct np_redis_vector *vectors; /* VECTORS_MAX */
    char name[320], why[640];
};

extern const unsigned char np_release_script[];
extern const size_t np_release_script_bytes;

/* --- questions ------------------------------------------------------------------------------------ */

/* The reply to argv where it is of this type, the caller's to free; NULL, and why, where it is not. */
static redisReply *ask(struct np_redis_ask *a, int type, int n, const char **argv)
{
    redisReply *r = redisCommandArgv(a->c, n, argv, NULL);
    if (r && r->type == type) {
        return r;
    }
    (void)snprintf(a->why, sizeof a->why, "%s: %.200s", a->name,
                   !r                             ? a->c->errstr
                   : r->type == REDIS_REPLY_ERROR ? r->str
                                                  : "an answer of another kind");
    freeReplyObject(r);
    return NULL;
}

static const char *text_at(const redisReply *r, size_t i)
{
    return i < r->elements && r->element[i]->str ? r->element[i]->str : "";
}

static int64_t number_at(const redisReply *r, size_t i)
{
    unsigned long long n = 0;
    return np_span_to_u64(np_span_of(text_at(r, i)), &n) && n <= INT64_MAX ? (int64_t)n : 0;
}

/* --- opening -------------------------------------------------------------------------------------- */

static bool connect_to(struct np_redis_ask *a)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    a->c = redisConnectWithTimeout(a->url.host, (int)a->url.port, patience);
    if (!a->c || a->c->err || redisSetTimeout(a->c, patience) != REDIS_OK) {
        (void)snprintf(a->why, sizeof a->why, "%s: %s", a->name, a->c ? a->c->errstr : "no memory");
        return false;
    }
    if (!a->url.tls) {
        return true;
    }
    a->tls = np_redis_tls_new(a->why, sizeof a->why);
    return a->tls && np_redis_tls_begin(a->tls, a->c, a->url.host, a->why, sizeof a->why);
}

static bool greet(struct np_redis_ask *a)
{
    char db[16];
    const char *auth[] = {"AUTH", a->url.user, a->url.password};
    const char *password[] = {"AUTH", a->url.password};
    const char *choose[] = {"SELECT", db};
    const char *clock[] = {"TIME"};
    redisReply *r = NULL;
    (void)snprintf(db, sizeof db, "%u", a->url.db);
    if (a->url.password[0]) {
        bool named = a->url.user[0];
        r = ask(a, REDIS_REPLY_STATUS, named ? 3 : 2, named ? auth : password);
        if (!r) {
            return false;
        }
        freeReplyObject(r);
    }
    r = ask(a, REDIS_REPLY_STATUS, 2, choose);
    freeReplyObject(r);
    r = r ? ask(a, REDIS_REPLY_ARRAY, 1, clock) : NULL;
    if (!r) {
        return false;
    }
    a->now_ms = number_at(r, 0) * 1000 + number_at(r, 1) / 1000;
    freeReplyObject(r);
    return true;
}

enum np_err np_redis_ask_open(const char *store, struct np_redis_ask **out, char *why, size_t size)
{
    struct np_redis_ask *a = calloc(1, sizeof *a);
    (void)snprintf(why, size, "no memory");
    if (!a) {
        return NP_E_NOMEM;
    }
    enum np_err err = np_redis_url_read(store, &a->url, why, size);
    if (err) {
        np_redis_ask_free(a);
        return err;
    }
    (void)snprintf(a->name, sizeof a->name, "redis%s://%s:%u/%u", a->url.tls ? "s" : "",
                   a->url.host, a->url.port, a->url.db);
    a->vectors = calloc(VECTORS_MAX, sizeof *a->vectors);
    if (!a->vectors || !connect_to(a) || !greet(a)) {
        (void)snprintf(why, size, "%s", a->why);
        np_redis_ask_free(a);
        return NP_E_IO;
    }
    *out = a;
    return NP_OK;
}

void np_redis_ask_free(struct np_redis_ask *a)
{
    if (!a) {
        return;
    }
    if (a->c) {
        redisFree(a->c);
    }
    np_redis_tls_free(a->tls);
    free(a->vectors);
    free(a);
}

const char *np_redis_ask_name(const struct np_redis_ask *a)
{
    return a->name;
}

int64_t np_redis_ask_now_ms(const struct np_redis_ask *a)
{
    return a->now_ms;
}

const char *np_redis_ask_why(const struct np_redis_ask *a)
{
    return a->why;
}

/* --- accounts ------------------------------------------------------------------------------------- */

/* The vector of an instance, made where there is none yet; NULL when there are too many. */
static struct np_redis_vector *vector_of(struct np_redis_ask *a, size_t *n, const char *instance)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(a->vectors[i].instance, instance) == 0) {
            return &a->vectors[i];
        }
    }
    if (*n == VECTORS_MAX || strlen(instance) >= sizeof a->vectors[0].instance) {
        return NULL;
    }
    struct np_redis_vector *v = &a->vectors[(*n)++];
    *v = (struct np_redis_vector){0};
    (void)snprintf(v->instance, sizeof v->instance, "%s", instance);
    return v;
}

/* Fields and values of lease.lua's hash. */
static size_t read_hash(struct np_redis_ask *a, const redisReply *r)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        const char *field = text_at(r, i);
        if (!field[0] || !strchr("grst", field[0]) || field[1] != ':') {
            continue;
        }
        struct np_redis_vector *v = vector_of(a, &n, field + 2);
        if (v) {
            *(field[0] == 'g'   ? &v->granted
              : field[0] == 'r' ? &v->returned
              : field[0] == 's' ? &v->settled
                                : &v->heard_ms) = number_at(r, i + 1);
        }
    }
    return n;
}

static enum np_err tell_key(struct np_redis_ask *a, const char *key,
                            struct np_redis_account *account,
                            void (*tell)(void *ctx, const struct np_redis_account *account),
                            void *ctx)
{
    const char *argv[] = {"HGETALL", key};
    redisReply *r = ask(a, REDIS_REPLY_ARRAY, 2, argv);
    if (!r) {
        return NP_E_IO;
    }
    account->n = read_hash(a, r);
    account->vectors = a->vectors;
    freeReplyObject(r);
    tell(ctx, account);
    return NP_OK;
}

static void name_key(char out[KEY_BYTES], const char *account, int64_t start_ms)
{
    (void)snprintf(out, KEY_BYTES, KEY "%s/%lld}", account, (long long)start_ms);
}

/* Takes "neap:{ACCOUNT/START}" apart; false: it is none. */
static bool read_key(const char *key, struct np_redis_account *out)
{
    size_t head = strlen(KEY), length = strlen(key);
    unsigned long long start;
    if (strncmp(key, KEY, head) != 0 || key[length - 1] != '}') {
        return false;
    }
    const char *slash = strrchr(key, '/');
    if (!slash || slash < key + head || (size_t)(slash - key) - head >= sizeof out->account ||
        !np_span_to_u64(np_span_make(slash + 1, length - 2 - (size_t)(slash - key)), &start)) {
        return false;
    }
    (void)snprintf(out->account, sizeof out->account, "%.*s", (int)((size_t)(slash - key) - head),
                   key + head);
    out->start_ms = (int64_t)start;
    return true;
}

enum np_err np_redis_ask_one(struct np_redis_ask *a, const char *account, int64_t start_ms,
                             void (*tell)(void *ctx, const struct np_redis_account *account),
                             void *ctx)
{
    char key[KEY_BYTES];
    struct np_redis_account out = {.start_ms = start_ms};
    (void)snprintf(out.account, sizeof out.account, "%s", account);
    name_key(key, account, start_ms);
    return tell_key(a, key, &out, tell, ctx);
}

enum np_err np_redis_ask_all(struct np_redis_ask *a,
                             void (*tell)(void *ctx, const struct np_redis_account *account),
                             void *ctx)
{
    char cursor[32] = "0";
    enum np_err err = NP_OK;
    for (size_t turn = 0; turn < SCANS_MAX && !err && (turn == 0 || strcmp(cursor, "0") != 0);
         turn++) {
        const char *argv[] = {"SCAN", cursor, "MATCH", KEY "*", "COUNT", KEYS_A_SCAN};
        redisReply *r = ask(a, REDIS_REPLY_ARRAY, 6, argv);
        if (!r || r->elements != 2 || r->element[1]->type != REDIS_REPLY_ARRAY) {
            freeReplyObject(r);
            return NP_E_IO;
        }
        (void)snprintf(cursor, sizeof cursor, "%s", text_at(r, 0));
        for (size_t i = 0; i < r->element[1]->elements && !err; i++) {
            struct np_redis_account account = {0};
            if (read_key(text_at(r->element[1], i), &account)) {
                err = tell_key(a, text_at(r->element[1], i), &account, tell, ctx);
            }
        }
        freeReplyObject(r);
    }
    return err;
}

enum np_err np_redis_ask_release(struct np_redis_ask *a, const char *account, int64_t start_ms,
                                 const char *instance, int64_t *nusd)
{
    char key[KEY_BYTES];
    char *script = calloc(1, np_release_script_bytes + 1);
    const char *argv[] = {"EVAL", script, "1", key, instance, LEASE_MS};
    name_key(key, account, start_ms);
    *nusd = 0;
    if (script) {
        memcpy(script, np_release_script, np_release_script_bytes);
    }
    redisReply *r = script ? ask(a, REDIS_REPLY_ARRAY, 6, argv) : NULL;
    free(script);
    if (!r) {
        return NP_E_IO;
    }
    const char *word = text_at(r, 0);
    bool lives = strcmp(word, "alive") == 0 || strcmp(word, "lost") == 0;
    *nusd = number_at(r, 1);
    freeReplyObject(r);
    return lives ? NP_E_BUSY : NP_OK;
}
