/* Addresses of providers: what may be called has one host, which both our rules and libcurl read alike, and
 * which is no metadata service; a path never leads to another host. Behind a blank stands a path. */
#include "fuzz/fuzz.h"

#include "provider/pool.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

FUZZ_SEEDS(SEED("https://api.openai.com/v1 /chat/completions"), SEED("http://127.0.0.1:8080"),
           SEED("http://[2001:db8::1]:80/v1 /x"), SEED("http://169.254.169.254/v1"),
           SEED("http://0251.0376.0251.0376"), SEED("http://0xa9fea9fe"), SEED("http://2852039166"),
           SEED("http://[::ffff:169.254.169.254]"), SEED("http://a@b"), SEED("http://a#@b"),
           SEED("http://a?b"), SEED("http://a\\@b"), SEED("http://[fe80::1%25eth0]"),
           SEED("http://169.254.169.254."), SEED("HTTP://API.Example:65535/a/../b /..%2f"),
           SEED("http://xn--bcher-kva.example /@evil/x"));

static struct np_upstream *upstream(void)
{
    static struct np_upstream *u;
    if (!u) {
        struct np_upstream_config config = {.per_multi = 64, .reuse_idle_s = 20};
        u = np_upstream_new(np_loop_new(&np_clock_live), &config);
        np_require(u);
    }
    return u;
}

/* The host as it stands in the text. */
static struct np_span written_host(struct np_span base)
{
    const char *end = base.p + base.n;
    const char *p = memmem(base.p, base.n, "://", 3);
    np_require(p);
    p += 3;
    const char *stop = p;
    bool literal = p < end && *p == '[';
    while (stop < end && *stop != '/' && (literal || *stop != ':')) {
        literal = literal && *stop != ']';
        stop++;
    }
    return np_span_make(p, (size_t)(stop - p));
}

static void check_numeric(const char *host)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char plain[64];
    if (inet_aton(host, &v4.sin_addr))
        np_require(!np_url_address_refused((struct sockaddr *)&v4));
    size_t n = strlen(host);
    if (host[0] == '[' && n > 2 && n - 2 < sizeof plain) {
        memcpy(plain, host + 1, n - 2);
        plain[n - 2] = '\0';
        if (inet_pton(AF_INET6, plain, &v6.sin6_addr) == 1)
            np_require(!np_url_address_refused((struct sockaddr *)&v6));
    }
}

static void check_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    np_require(curl_url_get(url, part, &text, 0) != CURLUE_OK);
    curl_free(text);
}

static void check_url(struct np_span base, const struct np_url *url)
{
    char *host = NULL;
    np_require(curl_url_get(url->parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK);
    struct np_span written = written_host(base);
    struct in_addr number;
    bool same = written.n == strlen(host) && strncasecmp(written.p, host, written.n) == 0;
    /* libcurl writes addresses in their usual form. */
    np_require(same || inet_aton(host, &number) || host[0] == '[');
    check_numeric(host);
    curl_free(host);
    check_part(url->parsed, CURLUPART_USER);
    check_part(url->parsed, CURLUPART_PASSWORD);
    check_part(url->parsed, CURLUPART_FRAGMENT);
    np_require(url->tls == (strncasecmp(base.p, "https", 5) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct np_span base = np_span_make((const char *)data, n), path = NP_SPAN("/chat/completions");
    const char *blank = n ? memchr(base.p, ' ', n) : NULL;
    if (blank) {
        path = np_span_make(blank + 1, n - (size_t)(blank + 1 - base.p));
        base.n = (size_t)(blank - base.p);
    }
    const char *why = NULL;
    bool ok = np_upstream_url_ok(base, &why);
    np_require(ok || why);
    struct np_url *url = NULL;
    enum np_err err = np_url_get(upstream(), base, path, &url);
    np_require(ok || err);
    if (!err) {
        check_url(base, url);
        np_url_release(url);
    }
    return 0;
}
