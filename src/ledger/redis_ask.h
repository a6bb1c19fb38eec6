/* Redis asked by a command: one question after the other, each waited for. Nothing for a running
 * instance, which must not block. */
#ifndef NP_LEDGER_REDIS_ASK_H
#define NP_LEDGER_REDIS_ASK_H

#include "ledger/store.h"

struct np_redis_ask;

/* What the store knows of one instance in one account and window. */
struct np_redis_vector {
    char instance[17];
    int64_t granted, returned, settled;
    int64_t heard_ms; /* when it spoke last, by the store's clock; 0: not since the store began */
};

struct np_redis_account {
    char account[NP_ACCOUNT_TEXT]; /* "tenant:acme/day" */
    int64_t start_ms;
    const struct np_redis_vector *vectors;
    size_t n;
};

/* Connects to the store of this name. NP_E_IO, NP_E_INVALID, NP_E_UNSUPPORTED, NP_E_NOMEM with *why. */
enum np_err np_redis_ask_open(const char *store, struct np_redis_ask **out, char *why,
                              size_t size) NP_MUST_CHECK;
/* NULL is fine. */
void np_redis_ask_free(struct np_redis_ask *a);
/* "redis://host:port/db", without user and password. */
const char *np_redis_ask_name(const struct np_redis_ask *a);
/* The store's clock when it was connected. */
int64_t np_redis_ask_now_ms(const struct np_redis_ask *a);
/* What the last question that failed failed of. */
const char *np_redis_ask_why(const struct np_redis_ask *a);

/* Tells every account and window that is there, some perhaps twice. What is told lives until tell returns;
 * of the questions it may ask np_redis_ask_release alone. */
enum np_err np_redis_ask_all(struct np_redis_ask *a,
                             void (*tell)(void *ctx, const struct np_redis_account *account),
                             void *ctx) NP_MUST_CHECK;
/* Tells one; n is 0 where the store does not know it. */
enum np_err np_redis_ask_one(struct np_redis_ask *a, const char *account, int64_t start_ms,
                             void (*tell)(void *ctx, const struct np_redis_account *account),
                             void *ctx) NP_MUST_CHECK;
/* Gives back what an instance holds of an account: release.lua. NP_E_BUSY: it may live. */
enum np_err np_redis_ask_release(struct np_redis_ask *a, const char *account, int64_t start_ms,
                                 const char *instance, int64_t *nusd) NP_MUST_CHECK;

#endif
