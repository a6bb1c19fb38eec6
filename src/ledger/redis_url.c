/* The URL of a Redis server. */
#include "ledger/redis_link.h"

#include "base/span.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT 6379
#define SHAPE "redis://[USER:PASSWORD@]HOST[:PORT][/DB]"

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Percent-decoded; false when it is malformed or does not fit. */
static bool decode(struct np_span s, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0) {
                return false;
            }
            c = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
        }
        if (n + 1 >= size || c == '\0') {
            return false;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

static bool read_number(struct np_span s, unsigned max, unsigned *out)
{
    unsigned long long n;
    if (!np_span_to_u64(s, &n) || n > max) {
        return false;
    }
    *out = (unsigned)n;
    return true;
}

/* "HOST[:PORT]", the host in brackets where it is an IPv6 address. */
static bool read_host(struct np_span s, struct np_redis_url *out)
{
    const char *end = s.n && s.p[0] == '[' ? memchr(s.p, ']', s.n) : NULL;
    size_t skip = end ? 1 : 0;
    size_t host = end ? (size_t)(end - s.p) - 1 : 0;
    if (!end) {
        const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
        host = colon ? (size_t)(colon - s.p) : s.n;
    }
    size_t after = host + 2 * skip;
    if (host == 0 || host >= sizeof out->host || (s.p[0] == '[' && !end)) {
        return false;
    }
    memcpy(out->host, s.p + skip, host);
    out->host[host] = '\0';
    if (after == s.n) {
        return true;
    }
    return s.p[after] == ':' &&
           read_number(np_span_make(s.p + after + 1, s.n - after - 1), 65535, &out->port);
}

static bool read_secret(struct np_span s, struct np_redis_url *out)
{
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    size_t user = colon ? (size_t)(colon - s.p) : 0;
    if (!colon) {
        return decode(s, out->password, sizeof out->password);
    }
    return decode(np_span_make(s.p, user), out->user, sizeof out->user) &&
           decode(np_span_make(colon + 1, s.n - user - 1), out->password, sizeof out->password);
}

static void from_environment(const char *name, char *out, size_t size)
{
    const char *value = getenv(name);
    if (!out[0] && value) {
        (void)snprintf(out, size, "%s", value);
    }
}

enum np_err np_redis_url_read(const char *text, struct np_redis_url *out, char *why, size_t size)
{
    *out = (struct np_redis_url){.port = PORT, .tls = strncmp(text, "rediss://", 9) == 0};
    struct np_span rest = np_span_of(text + (out->tls ? 9 : 8));
    const char *at = rest.n ? memrchr(rest.p, '@', rest.n) : NULL;
    size_t secret = at ? (size_t)(at - rest.p) : 0;
    bool good = true;
    if (at) {
        good = read_secret(np_span_make(rest.p, secret), out);
        rest = np_span_make(at + 1, rest.n - secret - 1);
    }
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    size_t host = slash ? (size_t)(slash - rest.p) : rest.n;
    good = good && read_host(np_span_make(rest.p, host), out);
    if (good && slash && host + 1 < rest.n) {
        good = read_number(np_span_make(slash + 1, rest.n - host - 1), 1000000, &out->db);
    }
    if (!good) {
        (void)snprintf(why, size, "--store: a Redis server is named " SHAPE);
        return NP_E_INVALID;
    }
    from_environment("NEAP_STORE_USER", out->user, sizeof out->user);
    from_environment("NEAP_STORE_PASSWORD", out->password, sizeof out->password);
#ifndef NEAP_HIREDIS_SSL
    if (out->tls) {
        (void)snprintf(
            why, size,
            "--store rediss://…: this neap was built with a hiredis that has no TLS (before "
            "1.0): use redis:// over a private network or a TLS tunnel, or build it where "
            "libhiredis is 1.0 or newer (Debian 13)");
        return NP_E_UNSUPPORTED;
    }
#endif
    return NP_OK;
}
