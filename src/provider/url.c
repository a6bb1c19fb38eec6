/* URLs of providers: what may be called at all, and a small cache of parsed ones, as libcurl takes
 * a parsed URL much faster than a text. */
#include "provider/pool.h"

#include "base/hash.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#define BASE_MAX_BYTES 2048
#define PATH_MAX_BYTES 4096

/* ----------------------------------------------------------------------------- addresses refused */

struct range4 {
    uint32_t address;
    unsigned bits;
};

static bool refused4(uint32_t a)
{
    static const struct range4 ranges[] = {
        {0xa9fe0000, 16}, /* 169.254/16: link-local; nearly every cloud's metadata service */
        {0x646464c8, 32}, /* 100.100.100.200: Alibaba's */
        {0xc00000c0, 32}, /* 192.0.0.192: Oracle's */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (((a ^ ranges[i].address) & (0xffffffffU << (32 - ranges[i].bits))) == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool has_prefix(const uint8_t *a, const uint8_t *prefix, size_t n)
{
    return memcmp(a, prefix, n) == 0;
}

static bool refused6(const uint8_t a[16])
{
    static const uint8_t aws[] = {0xfd, 0x00, 0x0e, 0xc2}; /* fd00:ec2::/32 */
    static const uint8_t google[16] = {0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54};
    static const uint8_t zeros[12] = {0};                         /* ::a.b.c.d */
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:a.b.c.d */
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};    /* 64:ff9b::a.b.c.d */
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) {                  /* fe80::/10 */
        return true;
    }
    if (has_prefix(a, aws, sizeof aws) || has_prefix(a, google, sizeof google)) {
        return true;
    }
    if (has_prefix(a, mapped, 12) || has_prefix(a, nat64, 12) || has_prefix(a, zeros, 12)) {
        return refused4(be32(a + 12));
    }
    return a[0] == 0x20 && a[1] == 0x02 && refused4(be32(a + 2)); /* 2002::/16, 6to4 */
}

bool np_url_address_refused(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return refused4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return refused6(in6.sin6_addr.s6_addr);
    }
    return true;
}

/* Whether a host is written as an address that is refused. libcurl has brought odd spellings of IPv4
 * addresses (hex, octal, fewer parts) into the usual form, but 8.14 not all that resolvers take (0X). */
static bool host_refused(char *host)
{
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        struct in6_addr a6;
        return inet_pton(AF_INET6, host + 1, &a6) != 1 || refused6(a6.s6_addr);
    }
    struct in_addr a4;
    return inet_aton(host, &a4) && refused4(ntohl(a4.s_addr));
}

/* --------------------------------------------------------------------------------------- checking */

/* Printable ASCII without blanks and `not`. */
static bool plain(struct np_span s, const char * not )
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= 0x20 || c >= 0x7f || strchr(not, c)) {
            return false;
        }
    }
    return true;
}

static bool starts_nocase(struct np_span s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n > n && np_span_eq_nocase(np_span_make(s.p, n), np_span_make(prefix, n));
}

static enum np_err invalid(const char **why, const char *text)
{
    *why = text;
    return NP_E_INVALID;
}

/* As libcurl reads it: what it will connect to. */
static enum np_err check_parsed(CURLU *parsed, const char *text, const char **why)
{
    CURLUcode rc = curl_url_set(parsed, CURLUPART_URL, text, CURLU_DISALLOW_USER);
    char *host = NULL;
    if (rc == CURLUE_OK) {
        rc = curl_url_get(parsed, CURLUPART_HOST, &host, 0);
    }
    if (rc != CURLUE_OK) {
        return rc == CURLUE_OUT_OF_MEMORY ? NP_E_NOMEM : invalid(why, "is no URL");
    }
    enum np_err err = NP_OK;
    if (host[0] == '\0') {
        err = invalid(why, "has no host");
    } else if (host_refused(host)) {
        err = invalid(why, "is a link-local or metadata address");
    }
    curl_free(host);
    return err;
}

static enum np_err check_base(struct np_span base, const char **why)
{
    if (base.n == 0 || base.n > BASE_MAX_BYTES) {
        return invalid(why, base.n == 0 ? "is empty" : "is longer than 2048 bytes");
    }
    size_t scheme = starts_nocase(base, "https://") ? 8 : starts_nocase(base, "http://") ? 7 : 0;
    if (scheme == 0) {
        return invalid(why, "does not begin with https:// or http:// and a host");
    }
    if (!plain(base, "")) {
        return invalid(why, "holds a blank, a control byte or a byte that is not ASCII");
    }
    if (base.p[scheme] == '/') {
        return invalid(why, "has no host");
    }
    if (!plain(base, "@")) {
        return invalid(why, "holds a user name or an @");
    }
    if (!plain(base, "?#\\")) {
        return invalid(why, "holds a query, a fragment or a backslash");
    }
    const char *slash = memchr(base.p + scheme, '/', base.n - scheme);
    size_t host_end = slash ? (size_t)(slash - base.p) : base.n;
    if (!plain(np_span_make(base.p + scheme, host_end - scheme), "%")) {
        return invalid(why, "holds an escape in its host");
    }
    char text[BASE_MAX_BYTES + 1];
    memcpy(text, base.p, base.n);
    text[base.n] = '\0';
    CURLU *parsed = curl_url();
    enum np_err err = parsed ? check_parsed(parsed, text, why) : NP_E_NOMEM;
    curl_url_cleanup(parsed);
    return err;
}

bool np_upstream_url_ok(struct np_span base_url, const char **why)
{
    const char *reason = "could not be read: out of memory";
    if (check_base(base_url, &reason) == NP_OK) {
        return true;
    }
    if (why) {
        *why = reason;
    }
    return false;
}

/* A path is appended as it stands: no segment "." or "..", which some parser would take away. */
static bool path_ok(struct np_span path)
{
    if (path.n == 0) {
        return true;
    }
    if (path.n > PATH_MAX_BYTES || path.p[0] != '/' || !plain(path, "#\\")) {
        return false;
    }
    const char *query = memchr(path.p, '?', path.n);
    const char *end = query ? query : path.p + path.n;
    for (const char *p = path.p; p < end;) {
        const char *next = memchr(p + 1, '/', (size_t)(end - p - 1));
        next = next ? next : end;
        size_t n = (size_t)(next - p - 1);
        if ((n == 1 || n == 2) && p[1] == '.' && p[n] == '.') {
            return false;
        }
        p = next;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------ cache */

static void url_free(struct np_url *url)
{
    curl_url_cleanup(url->parsed);
    free(url);
}

void np_url_release(struct np_url *url)
{
    np_require(url->refs > 0);
    if (--url->refs == 0) {
        url_free(url);
    }
}

static bool same(const struct np_url *url, struct np_span base, struct np_span path)
{
    return url->n == base.n + path.n && memcmp(url->text, base.p, base.n) == 0 &&
           (path.n == 0 || memcmp(url->text + base.n, path.p, path.n) == 0);
}

/* Puts it in place of the one that was not used for the longest time. */
static void keep(struct np_upstream *u, struct np_url *url)
{
    size_t oldest = 0;
    for (size_t i = 0; i < NP_URLS; i++) {
        if (!u->urls[i]) {
            oldest = i;
            break;
        }
        if (u->urls[i]->used < u->urls[oldest]->used) {
            oldest = i;
        }
    }
    if (u->urls[oldest]) {
        np_url_release(u->urls[oldest]);
    }
    url->refs++;
    u->urls[oldest] = url;
}

static enum np_err make(struct np_span base, struct np_span path, struct np_url **out)
{
    const char *why;
    enum np_err err = check_base(base, &why);
    if (err != NP_OK) {
        return err;
    }
    struct np_url *url = calloc(1, sizeof *url + base.n + path.n + 1);
    if (!url) {
        return NP_E_NOMEM;
    }
    url->tls = starts_nocase(base, "https://");
    url->n = base.n + path.n;
    memcpy(url->text, base.p, base.n);
    if (path.n > 0) {
        memcpy(url->text + base.n, path.p, path.n);
    }
    url->parsed = curl_url();
    if (!url->parsed) {
        free(url);
        return NP_E_NOMEM;
    }
    CURLUcode rc =
        curl_url_set(url->parsed, CURLUPART_URL, url->text, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS);
    if (rc != CURLUE_OK) {
        url_free(url);
        return rc == CURLUE_OUT_OF_MEMORY ? NP_E_NOMEM : NP_E_INVALID;
    }
    *out = url;
    return NP_OK;
}

enum np_err np_url_get(struct np_upstream *u, struct np_span base, struct np_span path,
                       struct np_url **out)
{
    if (path.n > 0 && base.n > 0 && base.p[base.n - 1] == '/') {
        base.n--;
    }
    uint64_t hash = np_fnv1a(base.p, base.n) * 31 + (path.n > 0 ? np_fnv1a(path.p, path.n) : 0);
    for (size_t i = 0; i < NP_URLS && u->urls[i]; i++) {
        if (u->urls[i]->hash == hash && same(u->urls[i], base, path)) {
            u->urls[i]->used = ++u->url_clock;
            u->urls[i]->refs++;
            *out = u->urls[i];
            return NP_OK;
        }
    }
    if (!path_ok(path)) {
        return NP_E_INVALID;
    }
    enum np_err err = make(base, path, out);
    if (err == NP_OK) {
        (*out)->hash = hash;
        (*out)->used = ++u->url_clock;
        (*out)->refs = 1;
        keep(u, *out);
    }
    return err;
}
