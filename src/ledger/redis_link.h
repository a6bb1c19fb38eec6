/* One connection to Redis on a loop, by hiredis: from a URL to a server that is ready for the lease
 * script. Nothing of it blocks but the look-up of the host's name. */
#ifndef NP_LEDGER_REDIS_LINK_H
#define NP_LEDGER_REDIS_LINK_H

#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct np_redis_url {
    bool tls;
    char host[256], user[128], password[256];
    unsigned port, db;
};

/* "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]" or rediss://; user and password percent-decoded, else
 * from NEAP_STORE_USER and NEAP_STORE_PASSWORD. NP_E_INVALID, NP_E_UNSUPPORTED with *why. */
enum np_err np_redis_url_read(const char *text, struct np_redis_url *out, char *why,
                              size_t size) NP_MUST_CHECK;

/* hiredis's, as built with. */
extern const char np_redis_version[];

struct np_redis_link;

/* What a call of the script gave. */
struct np_redis_answer {
    const char *const *texts; /* NULL: it failed, and error says why */
    size_t n;
    const char *error;
};

struct np_redis_ops {
    void (*ready)(void *ctx);
    /* The connection is gone, or could not be made; every call under way has had its answer. */
    void (*lost)(void *ctx, const char *why);
};

/* url and script are kept by reference. NULL without memory. */
struct np_redis_link *np_redis_link_new(struct np_loop *loop, const struct np_redis_url *url,
                                        const char *script, size_t script_bytes,
                                        const struct np_redis_ops *ops, void *ctx);
/* Drops the connection without a word, and frees. NULL is fine. */
void np_redis_link_free(struct np_redis_link *k);
/* Begins to connect where it is not connected; ready or lost follows. */
void np_redis_link_open(struct np_redis_link *k);
bool np_redis_link_ready(const struct np_redis_link *k);
/* Drops the connection: calls under way get their failure, lost is not called. */
void np_redis_link_drop(struct np_redis_link *k);
/* Of the server that is connected: its run id, and how long it had run then. */
const char *np_redis_link_run(const struct np_redis_link *k);
int64_t np_redis_link_uptime_ms(const struct np_redis_link *k);

/* Calls the script with one key; the argument texts are copied. answer follows once, also when the
 * connection fails; false: it can't be sent, and nothing follows. */
bool np_redis_link_call(struct np_redis_link *k, const char *key, const char *const *args, size_t n,
                        void (*answer)(void *ctx, const struct np_redis_answer *a), void *ctx);

#endif
