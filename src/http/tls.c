/* The certificate of the client socket, from two PEM files. libmicrohttpd speaks TLS through GnuTLS and
 * asks np_tls_show for certificate and key in each handshake, so that renewed files are taken without
 * a new socket. */
#include "http/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/call.h"

#define FILE_BYTES_MAX (1u << 20)
#define CHAIN_MAX 16
/* Read by its owner and, for a key that a group of services shares, its group; by nobody else. */
#define KEY_MODE_REFUSED (S_IWGRP | S_IXGRP | S_IRWXO)

struct pair {
    struct pair *older;
    unsigned n_chain;
    gnutls_pcert_st chain[CHAIN_MAX];
    gnutls_privkey_t key;
    int64_t expires_wall_ms;
    unsigned char fingerprint[32];
};

struct np_tls {
    const char *cert_file, *key_file;
    struct pair *newest;
};

/* What handshakes show now. */
static struct pair *_Atomic shown;

__attribute__((format(printf, 2, 3))) static enum np_err fault(char why[NP_TLS_WHY],
                                                               const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, NP_TLS_WHY, fmt, args);
    va_end(args);
    return NP_E_INVALID;
}

/* ------------------------------------------------------------------------------------------ files */

static enum np_err check_mode(const char *path, int fd, char why[NP_TLS_WHY])
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fault(why, "--tls-key %s: %s", path, strerror(errno));
    if ((st.st_mode & KEY_MODE_REFUSED) != 0)
        return fault(why,
                     "--tls-key %s: others may use the key (mode %04o); chmod 600 it, or 640 for a "
                     "group of services",
                     path, (unsigned)(st.st_mode & 07777));
    return NP_OK;
}

/* Reads all of it into bytes, which take FILE_BYTES_MAX + 1; NULL, else what is wrong. */
static const char *read_all(int fd, unsigned char *bytes, size_t *n)
{
    ssize_t got = 1;
    *n = 0;
    while (got > 0 && *n < FILE_BYTES_MAX) {
        got = read(fd, bytes + *n, FILE_BYTES_MAX - *n);
        *n += got > 0 ? (size_t)got : 0;
    }
    if (got < 0)
        return strerror(errno);
    if (*n == 0)
        return "the file is empty";
    return *n == FILE_BYTES_MAX ? "larger than 1 MiB" : NULL;
}

/* The whole file, ended by NUL, in malloc'ed memory. */
static enum np_err read_file(const char *flag, const char *path, bool secret, gnutls_datum_t *out,
                             char why[NP_TLS_WHY])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fault(why, "%s %s: %s", flag, path, strerror(errno));
    size_t n = 0;
    unsigned char *bytes = malloc(FILE_BYTES_MAX + 1);
    enum np_err err = bytes ? NP_OK : fault(why, "%s %s: no memory", flag, path);
    if (!err && secret)
        err = check_mode(path, fd, why);
    const char *wrong = err ? NULL : read_all(fd, bytes, &n);
    if (wrong)
        err = fault(why, "%s %s: %s", flag, path, wrong);
    close(fd);
    if (err) {
        free(bytes);
        return err;
    }
    bytes[n] = '\0';
    *out = (gnutls_datum_t){.data = bytes, .size = (unsigned)n};
    return NP_OK;
}

static void forget(gnutls_datum_t *file)
{
    if (file->data)
        gnutls_memset(file->data, 0, file->size);
    free(file->data);
}

/* ------------------------------------------------------------------------------------------- pairs */

static void free_pair(struct pair *p)
{
    for (unsigned i = 0; i < p->n_chain; i++)
        gnutls_pcert_deinit(&p->chain[i]);
    gnutls_privkey_deinit(p->key);
    free(p);
}

static enum np_err read_chain(const struct np_tls *t, const gnutls_datum_t *pem, struct pair *p,
                              char why[NP_TLS_WHY])
{
    gnutls_x509_crt_t crt[CHAIN_MAX];
    unsigned n = CHAIN_MAX;
    int rc = gnutls_x509_crt_list_import(crt, &n, pem, GNUTLS_X509_FMT_PEM,
                                         GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (rc < 0)
        return fault(why, "--tls-cert %s holds no PEM chain of 1 to %d certificates: %s",
                     t->cert_file, CHAIN_MAX, gnutls_strerror(rc));
    enum np_err err = NP_OK;
    p->expires_wall_ms = (int64_t)gnutls_x509_crt_get_expiration_time(crt[0]) * 1000;
    for (int i = 0; i < rc; i++) {
        int imported = err ? 0 : gnutls_pcert_import_x509(&p->chain[p->n_chain], crt[i], 0);
        if (!err && imported < 0)
            err = fault(why, "--tls-cert %s: %s", t->cert_file, gnutls_strerror(imported));
        else if (!err)
            p->n_chain++;
        gnutls_x509_crt_deinit(crt[i]);
    }
    return err;
}

static enum np_err read_key(const struct np_tls *t, const gnutls_datum_t *pem, struct pair *p,
                            char why[NP_TLS_WHY])
{
    int rc = gnutls_privkey_init(&p->key);
    if (rc == 0)
        rc = gnutls_privkey_import_x509_raw(p->key, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc == GNUTLS_E_DECRYPTION_FAILED ||
        strstr((const char *)pem->data, "ENCRYPTED PRIVATE KEY") ||
        strstr((const char *)pem->data, "Proc-Type: 4,ENCRYPTED"))
        return fault(why, "--tls-key %s is encrypted; neap can't ask for its password: decrypt it",
                     t->key_file);
    if (rc < 0)
        return fault(why, "--tls-key %s holds no PEM private key: %s", t->key_file,
                     gnutls_strerror(rc));
    return NP_OK;
}

/* Whether the key is that of the first certificate, by their public halves. */
static enum np_err check_match(const struct np_tls *t, struct pair *p, char why[NP_TLS_WHY])
{
    gnutls_pubkey_t of_key;
    unsigned char a[64], b[64];
    size_t n_a = sizeof a, n_b = sizeof b;
    if (gnutls_pubkey_init(&of_key) < 0)
        return fault(why, "--tls-key %s: no memory", t->key_file);
    bool same =
        gnutls_pubkey_import_privkey(of_key, p->key, 0, 0) == 0 &&
        gnutls_pubkey_get_key_id(of_key, GNUTLS_KEYID_USE_SHA256, a, &n_a) == 0 &&
        gnutls_pubkey_get_key_id(p->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, b, &n_b) == 0 &&
        n_a == n_b && memcmp(a, b, n_a) == 0;
    gnutls_pubkey_deinit(of_key);
    if (!same)
        return fault(why, "--tls-key %s is not the key of the first certificate in %s", t->key_file,
                     t->cert_file);
    return NP_OK;
}

static enum np_err fingerprint(const gnutls_datum_t *cert, const gnutls_datum_t *key,
                               unsigned char out[32], char why[NP_TLS_WHY])
{
    gnutls_hash_hd_t h;
    if (gnutls_hash_init(&h, GNUTLS_DIG_SHA256) < 0)
        return fault(why, "no memory for the certificate");
    bool hashed =
        gnutls_hash(h, cert->data, cert->size) == 0 && gnutls_hash(h, key->data, key->size) == 0;
    gnutls_hash_deinit(h, out);
    return hashed ? NP_OK : fault(why, "the certificate could not be hashed");
}

/* A pair from the two files as they are now. */
static enum np_err load(const struct np_tls *t, struct pair **out, char why[NP_TLS_WHY])
{
    gnutls_datum_t cert = {0}, key = {0};
    struct pair *p = calloc(1, sizeof *p);
    enum np_err err = p ? NP_OK : fault(why, "no memory for the certificate");
    if (!err)
        err = read_file("--tls-cert", t->cert_file, false, &cert, why);
    if (!err)
        err = read_file("--tls-key", t->key_file, true, &key, why);
    if (!err)
        err = read_chain(t, &cert, p, why);
    if (!err)
        err = read_key(t, &key, p, why);
    if (!err)
        err = check_match(t, p, why);
    if (!err)
        err = fingerprint(&cert, &key, p->fingerprint, why);
    forget(&cert);
    forget(&key);
    if (err && p)
        free_pair(p);
    else
        *out = p;
    return err;
}

/* ----------------------------------------------------------------------------------- from outside */

struct np_tls *np_tls_new(const char *cert_file, const char *key_file, char why[NP_TLS_WHY])
{
    struct np_tls *t = calloc(1, sizeof *t);
    bool changed;
    if (!t) {
        (void)fault(why, "no memory for the certificate");
        return NULL;
    }
    t->cert_file = cert_file;
    t->key_file = key_file;
    if (np_tls_renew(t, &changed, why) != NP_OK) {
        free(t);
        return NULL;
    }
    return t;
}

enum np_err np_tls_renew(struct np_tls *t, bool *changed, char why[NP_TLS_WHY])
{
    struct pair *p = NULL;
    *changed = false;
    enum np_err err = load(t, &p, why);
    if (err)
        return err;
    if (t->newest && memcmp(t->newest->fingerprint, p->fingerprint, sizeof p->fingerprint) == 0) {
        free_pair(p);
        return NP_OK;
    }
    *changed = true;
    p->older = t->newest;
    t->newest = p;
    atomic_store(&shown, p);
    return NP_OK;
}

int64_t np_tls_expires_wall_ms(const struct np_tls *t)
{
    return t->newest->expires_wall_ms;
}

void np_tls_free(struct np_tls *t)
{
    if (!t)
        return;
    atomic_store(&shown, NULL);
    while (t->newest) {
        struct pair *p = t->newest;
        t->newest = p->older;
        free_pair(p);
    }
    free(t);
}

int np_tls_show(gnutls_session_t session, const gnutls_datum_t *authorities, int n_authorities,
                const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **chain,
                unsigned *n_chain, gnutls_privkey_t *key)
{
    (void)session;
    (void)authorities;
    (void)n_authorities;
    (void)algorithms;
    (void)n_algorithms;
    struct pair *p = atomic_load(&shown);
    if (!p)
        return -1;
    *chain = p->chain;
    *n_chain = p->n_chain;
    *key = p->key;
    return 0;
}

const char *np_tls_version(void)
{
    return gnutls_check_version(NULL);
}
