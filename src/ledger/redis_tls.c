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

bool np_redis_tls_begin(struct np_redis_tls *t, struct redisContext *c, const char *host, char *why,
                        size_t size)
{
    SSL *ssl = SSL_new(t->ssl);
    if (!ssl || !expect(ssl, host)) {
        say(why, size, "no session");
    } else if (redisInitiateSSL(c, ssl) == REDIS_OK) {
        return true;
    } else {
        (void)snprintf(why, size, "TLS: %s", c->errstr);
    }
    SSL_free(ssl);
    return false;
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

#endif
