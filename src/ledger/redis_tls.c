/* hiredis itself checks that a certificate is signed, not whose it is: the session is made here, and told
 * the name that it must find. */
#include "ledger/redis_tls.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef NEAP_HIREDIS_SSL

#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct np_redis_tls {
    SSL_CTX *ssl;
    SSL *latest; /* of the connection that was begun last; held, for what it says of its end */
};

static void say(char *why, size_t size, const char *what)
{
    char text[160] = "";
    unsigned long code = ERR_get_error();
    if (code) {
        ERR_error_string_n(code, text, sizeof text);
    }
    (void)snprintf(why, size, "TLS: %s%s%s", what, text[0] ? ": " : "", text);
    ERR_clear_error();
}

struct np_redis_tls *np_redis_tls_new(char *why, size_t size)
{
    struct np_redis_tls *t = calloc(1, sizeof *t);
    (void)redisInitOpenSSL();
    SSL_CTX *ssl = t ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (!ssl || SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_default_verify_paths(ssl) != 1) {
        say(why, size, "the certificates of this system can't be read");
        SSL_CTX_free(ssl);
        free(t);
        return NULL;
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    t->ssl = ssl;
    return t;
}

void np_redis_tls_free(struct np_redis_tls *t)
{
    if (t) {
        SSL_free(t->latest);
        SSL_CTX_free(t->ssl);
    }
    free(t);
}

/* An address stands in a certificate as an address, a name as a name. */
static bool expect(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1) {
        return true;
    }
    ERR_clear_error();
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* False, and why: the server's certificate is not as it must be. */
static bool verified(const SSL *ssl, char *why, size_t size)
{
    long result = SSL_get_verify_result(ssl);
    if (result == X509_V_OK) {
        return true;
    }
    (void)snprintf(why, size, "TLS: certificate verify failed: %s",
                   X509_verify_cert_error_string(result));
    return false;
}

bool np_redis_tls_begin(struct np_redis_tls *t, struct redisContext *c, const char *host, char *why,
                        size_t size)
{
    SSL *ssl = SSL_new(t->ssl);
    if (!ssl || !expect(ssl, host)) {
        say(why, size, "no session");
    } else if (redisInitiateSSL(c, ssl) == REDIS_OK) {
        (void)SSL_up_ref(ssl);
        SSL_free(t->latest);
        t->latest = ssl;
        return true;
    } else if (!verified(ssl, why, size)) {
        /* The best that can be said. */
    } else {
        (void)snprintf(why, size, "TLS: %s", c->errstr);
    }
    SSL_free(ssl);
    return false;
}

bool np_redis_tls_refused(const struct np_redis_tls *t, char *why, size_t size)
{
    return t && t->latest && !verified(t->latest, why, size);
}

#else

struct np_redis_tls *np_redis_tls_new(char *why, size_t size)
{
    (void)snprintf(why, size, "TLS: this neap was built with a hiredis that has none");
    return NULL;
}

void np_redis_tls_free(struct np_redis_tls *t)
{
    free(t);
}

bool np_redis_tls_begin(struct np_redis_tls *t, struct redisContext *c, const char *host, char *why,
                        size_t size)
{
    (void)t;
    (void)c;
    (void)host;
    (void)snprintf(why, size, "TLS: none");
    return false;
}

bool np_redis_tls_refused(const struct np_redis_tls *t, char *why, size_t size)
{
    (void)t;
    (void)why;
    (void)size;
    return false;
}

#endif
