/* One GET that waits for its answer, for command-line tools that ask a running neap's admin socket. Not
 * for workers: it blocks. */
#ifndef NP_PROVIDER_FETCH_H
#define NP_PROVIDER_FETCH_H

#include "base/buf.h"

/* Appends the body of what stands at url ("http://127.0.0.1:9090/api/status"). token: a bearer token;
 * NULL: none is sent. Redirects are not followed. False: why says what is wrong, in one line. status is
 * the HTTP status, 0 where there was no answer; it is true for every answer below 400. */
bool np_fetch_get(const char *url, const char *token, struct np_buf *body, unsigned *status,
                  char *why, size_t size) NP_MUST_CHECK;

#endif
