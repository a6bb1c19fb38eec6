/* Where the tools of operators ask a running instance. */
#include "engine/admin_url.h"

#include "base/span.h"
#include "http/gate.h"

#include <stdio.h>

/* Takes "http://" or "https://" off the front; what is returned is a scheme with its "://". */
static struct np_span take_scheme(struct np_span *rest)
{
    const struct np_span known[] = {NP_SPAN("http://"), NP_SPAN("https://")};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (rest->n < known[i].n || !np_span_eq_nocase(np_span_make(rest->p, known[i].n), known[i]))
            continue;
        *rest = np_span_make(rest->p + known[i].n, rest->n - known[i].n);
        return known[i];
    }
    return known[0];
}

/* A path before that of the admin socket, as a proxy may want it: nothing that would end a URL. */
static bool is_path(struct np_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '?' || c == '#')
            return false;
    }
    return true;
}

/* Nobody is asked at the address that means all of them. */
static struct np_span reachable(struct np_span host)
{
    if (np_span_is(host, "0.0.0.0"))
        return NP_SPAN("127.0.0.1");
    return np_span_is(host, "[::]") ? NP_SPAN("[::1]") : host;
}

enum neap_status np_admin_url(const char *admin, const char *path, char *url, size_t size,
                              char why[NEAP_WHY])
{
    struct np_span rest = np_span_of(admin), host, port;
    struct np_span scheme = take_scheme(&rest);
    while (rest.n > 0 && rest.p[rest.n - 1] == '/')
        rest.n--;
    const char *slash = rest.n > 0 ? memchr(rest.p, '/', rest.n) : NULL;
    size_t n = slash ? (size_t)(slash - rest.p) : rest.n;
    struct np_span before = np_span_make(rest.p + n, rest.n - n);
    unsigned long long number = 1;
    bool good = !strstr(rest.n > 0 ? rest.p : "", "://") && rest.n + strlen(path) + 16 < size &&
                is_path(before) && np_gate_split_host(np_span_make(rest.p, n), &host, &port) &&
                host.n > 0 && (port.n == 0 || np_span_to_u64(port, &number)) && number >= 1 &&
                number <= 65535;
    if (!good) {
        (void)snprintf(
            why, NEAP_WHY,
            "an admin socket is http://HOST:PORT or HOST:PORT (http://127.0.0.1:9090), got "
            "\"%.200s\"",
            admin);
        return NEAP_USAGE;
    }
    host = reachable(host);
    (void)snprintf(url, size, "%.*s%.*s%s%.*s%.*s%s", (int)scheme.n, scheme.p, (int)host.n, host.p,
                   port.n > 0 ? ":" : "", (int)port.n, port.p, (int)before.n, before.p, path);
    return NEAP_GOOD;
}
