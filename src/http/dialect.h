/* Errors that the HTTP rooms give themselves (before any endpoint is known): the contract's error
 * object, and helpers that both fronts' owners share. */
#ifndef NP_HTTP_DIALECT_H
#define NP_HTTP_DIALECT_H

#include "base/buf.h"
#include "model/class.h"
#include "model/request.h"

#include "http/front.h"

/* Replies with the error object in JSON, Retry-After where the refusal says so, X-Request-Id where
 * request_id is not NULL, Allow where allow is not NULL. 413, framing faults and 408 close. */
void np_http_refuse(struct np_http_call *c, const struct np_refusal *r, const char *request_id,
                    const char *allow);

/* Whether a content type names JSON (application/json or +json, any parameters; charset utf-8). */
bool np_http_is_json(struct np_span content_type);

/* A listening TCP socket: not blocking, close-on-exec, SO_REUSEADDR. Where shared it joins sockets of
 * this user that listen there (SO_REUSEPORT); else it must be the first, which may be joined later. So
 * a worker group opens its first socket unshared, and learns that another program has the port.
 * "127.0.0.1:8080", "[::1]:8080", "localhost:0". On failure -1 and *why says it in a sentence. */
int np_http_listen(const char *addr_port, bool shared, const char **why);
/* The port of a listening socket. */
unsigned np_http_port(int fd);
/* The refusal that the front itself gave this call, its texts left out; status 0: it gave none. */
struct np_refusal np_http_refused(const struct np_http_call *c);

/* Whether a text is ADDR:PORT as np_http_listen takes it. */
bool np_http_is_address(const char *addr_port);
/* Whether the address part of "ADDR:PORT" is loopback; false too when it is malformed. */
bool np_http_is_loopback(const char *addr_port);

#endif
