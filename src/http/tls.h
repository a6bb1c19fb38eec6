/* TLS for clients: the certificate and key that every front of the process shows, and their renewal.
 *
 * One pair a process: the library below asks for it without saying on whose behalf. Pairs that were
 * replaced live until np_tls_free, as handshakes may still use them. */
#ifndef NP_HTTP_TLS_H
#define NP_HTTP_TLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct np_tls;

#define NP_TLS_WHY 512

/* Reads a chain of certificates, the server's own first, and its key, both PEM; strings must live as
 * long as the result. NULL with what is wrong and what would be right in why: a file can't be read,
 * the key may be read by others than owner and group, is encrypted, or is not the certificate's. */
struct np_tls *np_tls_new(const char *cert_file, const char *key_file, char why[NP_TLS_WHY]);
/* Reads the files again; new connections get what is in them, unless something is wrong: then all
 * stays as it was and why says what. *changed: the files hold something else than before. Not from two
 * threads at once. */
enum np_err np_tls_renew(struct np_tls *t, bool *changed, char why[NP_TLS_WHY]) NP_MUST_CHECK;
/* When the certificate shown now ends, Unix milliseconds. */
int64_t np_tls_expires_wall_ms(const struct np_tls *t);
/* No front uses it any more. */
void np_tls_free(struct np_tls *t);

/* The version of the TLS library as loaded. */
const char *np_tls_version(void);

#endif
