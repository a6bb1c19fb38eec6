/* TLS to Redis, where the installed hiredis has it: certificates of the system, or of SSL_CERT_FILE and
 * SSL_CERT_DIR; the server must be who the URL names. */
#ifndef NP_LEDGER_REDIS_TLS_H
#define NP_LEDGER_REDIS_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct redisContext;
struct np_redis_tls;

/* NULL, and *why: it can't be had. */
struct np_redis_tls *np_redis_tls_new(char *why, size_t size);
/* NULL is fine. */
void np_redis_tls_free(struct np_redis_tls *t);
/* The connection speaks TLS from now on; false, and *why: it does not. */
bool np_redis_tls_begin(struct np_redis_tls *t, struct redisContext *c, const char *host, char *why,
                        size_t size);
/* Whether the connection that was begun last ended because of the server's certificate; *why says so. */
bool np_redis_tls_refused(const struct np_redis_tls *t, char *why, size_t size);

#endif
