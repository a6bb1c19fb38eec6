/* Two parsers that read one request differently are how requests get smuggled. libmicrohttpd 0.9.75
 * reads leniently (two lengths, length and chunked, hidden bytes, folded lines), so everything that a
 * parser before or behind us might read otherwise is refused here, over all raw header pairs, and the
 * connection ends. Sources: RFC 9112 sections 2, 3, 5, 6; RFC 6454; the Fetch Metadata draft.
 *
 * Before 1.0 the library cuts values at NUL and turns a folded line into a longer *name*. Neither can
 * be seen in the strings. But its strings lie where they were received; so the gate walks from one to
 * the next and refuses a head in which bytes are left over between them. One NUL escapes it: right before
 * an LF it looks as a CR does there, and is taken for it.
 *
 * It also skips lines before the request line that are empty or that begin with a NUL. They too can be
 * seen in memory, which for all requests of a connection begins at one place. One line of two bytes may be
 * empty (RFC 9112, 2.2) or a NUL with an LF: its request is served and, as what follows may be read otherwise
 * by others, its connection ends. */
#include "http/gate.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "http/call.h"

/* Headers of which there may be one only. */
#define SINGLES(X)                    \
    X(HOST, "Host")                   \
    X(LENGTH, "Content-Length")       \
    X(CODING, "Transfer-Encoding")    \
    X(AUTHORIZATION, "Authorization") \
    X(API_KEY, "x-api-key")           \
    X(ORIGIN, "Origin")               \
    X(SITE, "Sec-Fetch-Site")         \
    X(TYPE, "Content-Type")           \
    X(ENCODING, "Content-Encoding")   \
    X(EXPECT, "Expect")

enum single {
#define SINGLE_ENUM(id, text) SINGLE_##id,
    SINGLES(SINGLE_ENUM)
#undef SINGLE_ENUM
        SINGLE_COUNT
};

#define SINGLE_NAME(id, text) {text, sizeof(text) - 1},
static const struct np_span single_names[] = {SINGLES(SINGLE_NAME)};
#undef SINGLE_NAME

/* A walk over the headers. */
struct scan {
    struct np_gate_fault *fault;
    struct np_span single[SINGLE_COUNT]; /* p NULL: not there */
    bool failed;
    bool walk_layout;
    const char *at;  /* the NUL that ends what was walked over so far */
    const char *end; /* the first byte after the head */
};

/* ------------------------------------------------------------------------------------------ bytes */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_token(struct np_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum(s.p[i]) && !memchr("!#$%&'*+-.^_`|~", s.p[i], 15)) {
            return false;
        }
    }
    return s.n > 0;
}

/* Tab and bytes over 0x7f may be in a value, other control bytes not. */
static bool is_value(struct np_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_visible(struct np_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x21 || s.p[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

static struct np_span trim_end(struct np_span s)
{
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

static bool fail(struct np_gate_fault *fault, enum np_http_refusal cause, enum np_refusal_type type,
                 const char *message)
{
    fault->cause = cause;
    fault->type = type;
    snprintf(fault->message, sizeof fault->message, "%s", message);
    return false;
}

static bool bad_framing(struct np_gate_fault *fault, const char *message)
{
    return fail(fault, NP_HTTP_REFUSAL_framing, NP_REFUSAL_invalid_request, message);
}

/* ----------------------------------------------------------------------------------------- layout */

/* Whether these bytes are what the library leaves of a line's end: CR and LF each made NUL. */
static bool is_line_end(const char *p, uintptr_t n)
{
    return n >= 1 && n <= 2 && p[0] == '\0' && p[n - 1] == '\0';
}

/* Steps over one header's line. */
static bool walk_line(struct scan *s, struct np_span name, struct np_span value)
{
    uintptr_t at = (uintptr_t)s->at, start = (uintptr_t)name.p, middle = (uintptr_t)value.p;
    if (start <= at || start >= (uintptr_t)s->end || !is_line_end(s->at, start - at)) {
        return false;
    }
    if (middle <= start + name.n || middle > (uintptr_t)s->end) {
        return false;
    }
    for (const char *p = name.p + name.n + 1; p < value.p; p++) {
        if (*p != ' ' && *p != '\t') {
            return false;
        }
    }
    s->at = value.p + value.n;
    return true;
}

/* The last line's end and the empty line are all that is left. */
static bool walk_end(const struct scan *s)
{
    uintptr_t n = (uintptr_t)s->end - (uintptr_t)s->at;
    return (uintptr_t)s->end > (uintptr_t)s->at && n >= 2 && n <= 4;
}

/* Whether nothing was skipped before the request line but one empty line. Where the memory begins is known
 * from the first request, as malloc aligns: only what was skipped there in multiples of that is not seen,
 * until the connection's next request. */
static bool walk_before(struct np_http_call *c)
{
    uintptr_t line = (uintptr_t)c->method;
    if (c->conn->memory == 0) {
        c->conn->memory = line - line % _Alignof(max_align_t);
    }
    uintptr_t skipped = line - c->conn->memory;
    c->close = skipped > 0;
    return skipped == 0 || (skipped == 2 && is_line_end(c->method - 2, 2));
}

/* Method, target and version must stand one blank apart. */
static bool walk_request_line(const struct np_http_call *c, struct scan *s)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info || !c->target_at) {
        return false;
    }
    uintptr_t target = (uintptr_t)c->target_at;
    s->at = c->version + strlen(c->version);
    s->end = c->method + info->header_size;
    return (uintptr_t)c->method + strlen(c->method) + 1 == target &&
           target + c->target_bytes + 1 == (uintptr_t)c->version;
}

/* ---------------------------------------------------------------------------------------- headers */

static enum MHD_Result fail_scan(struct scan *s, const char *message)
{
    s->failed = true;
    bad_framing(s->fault, message);
    return MHD_NO;
}

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                   size_t key_bytes, const char *value, size_t value_bytes)
{
    (void)kind;
    struct scan *s = cls;
    struct np_span name = {key, key_bytes}, text = {value ? value : "", value ? value_bytes : 0};
    if (!is_token(name) || strlen(key) != key_bytes) {
        return fail_scan(s, "the name of a header is not a token");
    }
    if (!is_value(text)) {
        return fail_scan(s, "the value of a header holds a control byte");
    }
    if (s->walk_layout && (!value || !walk_line(s, name, text))) {
        return fail_scan(s, "a header is folded over lines or holds a NUL byte");
    }
    for (int i = 0; i < SINGLE_COUNT; i++) {
        if (!np_span_eq_nocase(name, single_names[i])) {
            continue;
        }
        if (s->single[i].p) {
            enum MHD_Result stop = fail_scan(s, "");
            snprintf(s->fault->message, sizeof s->fault->message,
                     "there is more than one %s header", single_names[i].p);
            return stop;
        }
        s->single[i] = trim_end(text);
    }
    return MHD_YES;
}

static bool scan_headers(struct np_http_call *c, struct scan *s)
{
    s->walk_layout = c->front->old_parser;
    if (s->walk_layout && !walk_before(c)) {
        return bad_framing(s->fault, "there is more than an empty line before the request");
    }
    if (s->walk_layout && !walk_request_line(c, s)) {
        return bad_framing(s->fault, "the request line is malformed");
    }
    MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, scan_header, s);
    if (s->failed) {
        return false;
    }
    if (s->walk_layout && !walk_end(s)) {
        return bad_framing(s->fault, "a header is folded over lines or holds a NUL byte");
    }
    return true;
}

/* ---------------------------------------------------------------------------------------- framing */

static bool check_line(struct np_http_call *c, struct np_gate_fault *fault)
{
    struct np_span version = np_span_of(c->version);
    if (!is_token(np_span_of(c->method)) || strlen(c->method) > 32) {
        return bad_framing(fault, "the method is not a token");
    }
    if (version.n != 8 || !np_span_starts(version, "HTTP/1.") || !is_digit(version.p[7])) {
        return bad_framing(fault, "the HTTP version is malformed");
    }
    return true;
}

/* What the head says of the body's length: in one way only. */
static bool check_length(struct np_http_call *c, const struct scan *s, bool http10)
{
    struct np_span length = s->single[SINGLE_LENGTH], coding = s->single[SINGLE_CODING];
    unsigned long long n = 0;
    if (length.p && coding.p) {
        return bad_framing(s->fault, "there are both Content-Length and Transfer-Encoding");
    }
    if (coding.p && (http10 || !np_span_eq_nocase(coding, NP_SPAN("chunked")))) {
        return bad_framing(s->fault, "Transfer-Encoding may only be chunked, and in HTTP/1.1");
    }
    if (length.p && !(length.n > 0 && is_digit(length.p[0]) && np_span_to_u64(length, &n))) {
        return bad_framing(s->fault, "Content-Length is not a number");
    }
    c->has_length = length.p != NULL;
    c->length = n;
    c->chunked = coding.p != NULL;
    c->expects = np_span_eq_nocase(s->single[SINGLE_EXPECT], NP_SPAN("100-continue"));
    return true;
}

static bool check_framing(struct np_http_call *c, const struct scan *s)
{
    bool http10 = strcmp(c->version, "HTTP/1.0") == 0;
    if (!check_length(c, s, http10)) {
        return false;
    }
    bool no_body = strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0;
    if (no_body && (c->chunked || c->length > 0)) {
        return bad_framing(s->fault, "a GET or HEAD request has no body");
    }
    if (strcmp(c->method, "POST") == 0 && !c->chunked && !c->has_length &&
        !c->front->config.gate.bodiless_post) {
        return fail(s->fault, NP_HTTP_REFUSAL_length_required, NP_REFUSAL_length_required,
                    "a POST request needs Content-Length or Transfer-Encoding: chunked");
    }
    if (!s->single[SINGLE_HOST].p && !http10) {
        return bad_framing(s->fault, "there is no Host header");
    }
    return true;
}

/* The path is compared as it stands, so there must be one spelling of each. */
static bool check_path(struct np_http_call *c, struct np_gate_fault *fault)
{
    struct np_span target = {c->target, c->target_bytes};
    const char *mark = memchr(target.p, '?', target.n);
    size_t n = mark ? (size_t)(mark - target.p) : target.n;
    c->path = np_span_make(target.p, n);
    c->query = mark ? np_span_make(mark + 1, target.n - n - 1) : np_span_make(target.p + n, 0);
    if (!is_visible(target) || memchr(target.p, '#', target.n)) {
        return fail(fault, NP_HTTP_REFUSAL_path, NP_REFUSAL_invalid_request,
                    "the request target holds a byte that may not stand there");
    }
    if (n == 0 || target.p[0] != '/') {
        return fail(fault, NP_HTTP_REFUSAL_path, NP_REFUSAL_invalid_request,
                    "the request target must be a path that begins with /");
    }
    if (memchr(target.p, '%', n) || memchr(target.p, '\\', n) || memmem(target.p, n, "//", 2) ||
        memmem(target.p, n, "/.", 2)) {
        return fail(fault, NP_HTTP_REFUSAL_path, NP_REFUSAL_invalid_request,
                    "the path may not hold %, \\, // or /.");
    }
    return true;
}

/* ------------------------------------------------------------------------------- hosts and origins */

/* How long the address or name at the start is; 0 when a bracket is not closed. */
static size_t host_name_bytes(struct np_span host)
{
    size_t n = 0;
    if (host.n == 0 || host.p[0] != '[') {
        while (n < host.n && (is_alnum(host.p[n]) || memchr("-._~", host.p[n], 4))) {
            n++;
        }
        return n;
    }
    for (n = 1; n < host.n && host.p[n] != ']'; n++) {
        if (!is_alnum(host.p[n]) && host.p[n] != ':' && host.p[n] != '.') {
            return 0;
        }
    }
    return n < host.n ? n + 1 : 0;
}

bool np_gate_split_host(struct np_span host, struct np_span *name, struct np_span *port)
{
    size_t n = host_name_bytes(host);
    *name = np_span_make(host.p, n);
    *port = np_span_make(host.p + n, 0);
    if (n == host.n) {
        return true;
    }
    if (host.p[n] != ':' || host.n - n > 6) {
        return false;
    }
    *port = np_span_make(host.p + n + 1, host.n - n - 1);
    for (size_t i = 0; i < port->n; i++) {
        if (!is_digit(port->p[i])) {
            return false;
        }
    }
    return true;
}

bool np_gate_is_loopback(struct np_span name)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (np_span_eq_nocase(name, NP_SPAN("localhost"))) {
        return true;
    }
    bool bracketed = name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']';
    if (bracketed) {
        name = np_span_make(name.p + 1, name.n - 2);
    }
    if (name.n == 0 || name.n >= sizeof text) {
        return false;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    if (bracketed) {
        return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool is_local_origin(struct np_span name)
{
    return np_span_eq_nocase(name, NP_SPAN("localhost")) || np_span_is(name, "127.0.0.1") ||
           np_span_is(name, "[::1]");
}

static unsigned long long port_or(struct np_span port, unsigned long long fallback)
{
    unsigned long long n;
    return port.n > 0 && np_span_to_u64(port, &n) ? n : fallback;
}

bool np_gate_same_origin(struct np_span origin, struct np_span host)
{
    const struct np_span http = NP_SPAN("http://"), https = NP_SPAN("https://");
    struct np_span name, port, host_name, host_port;
    unsigned long long fallback = 0;
    if (origin.n > http.n && np_span_eq_nocase(np_span_make(origin.p, http.n), http)) {
        fallback = 80;
        origin = np_span_make(origin.p + http.n, origin.n - http.n);
    } else if (origin.n > https.n && np_span_eq_nocase(np_span_make(origin.p, https.n), https)) {
        fallback = 443;
        origin = np_span_make(origin.p + https.n, origin.n - https.n);
    }
    if (fallback == 0 || !np_gate_split_host(origin, &name, &port) || name.n == 0 ||
        !np_gate_split_host(host, &host_name, &host_port)) {
        return false;
    }
    if (port_or(port, fallback) != port_or(host_port, fallback)) {
        return false;
    }
    return np_span_eq_nocase(name, host_name) ||
           (is_local_origin(name) && is_local_origin(host_name));
}

/* Whether this is the address at which the connection came in. */
static bool is_own_address(const struct np_http_call *c, struct np_span name)
{
    char text[INET6_ADDRSTRLEN + 2];
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    if (c->front->listen_host[0]) {
        return np_span_eq_nocase(name, np_span_of(c->front->listen_host));
    }
    if (getsockname(c->conn->fd, (struct sockaddr *)&a, &size) != 0) {
        return false;
    }
    np_http_address_text((struct sockaddr *)&a, text);
    return np_span_eq_nocase(name, np_span_of(text));
}

static bool is_known_host(const struct np_http_call *c, struct np_span host, struct np_span name)
{
    const struct np_front_gate *gate = &c->front->config.gate;
    if (np_gate_is_loopback(name) || is_own_address(c, name)) {
        return true;
    }
    for (size_t i = 0; i < gate->n_hosts; i++) {
        struct np_span known = np_span_of(gate->hosts[i]);
        if (np_span_eq_nocase(known, name) || np_span_eq_nocase(known, host)) {
            return name.n > 0;
        }
    }
    return false;
}

/* An HTTP/1.0 client may leave Host out; no browser speaks that. */
static bool check_host(const struct np_http_call *c, const struct scan *s)
{
    struct np_span host = s->single[SINGLE_HOST], name, port;
    if (!host.p) {
        return true;
    }
    if (!np_gate_split_host(host, &name, &port)) {
        return bad_framing(s->fault, "the Host header is malformed");
    }
    if (c->front->config.gate.check_host && !is_known_host(c, host, name)) {
        return fail(s->fault, NP_HTTP_REFUSAL_host, NP_REFUSAL_forbidden,
                    "the Host header names neither this machine's loopback, nor the listen address,"
                    " nor one of --hosts");
    }
    return true;
}

static bool check_origin(const struct np_http_call *c, const struct scan *s)
{
    struct np_span origin = s->single[SINGLE_ORIGIN], site = s->single[SINGLE_SITE];
    if (!c->front->config.gate.check_origin) {
        return true;
    }
    bool foreign = origin.p && !np_gate_same_origin(origin, s->single[SINGLE_HOST]);
    if (site.p && !np_span_is(site, "same-origin") && !np_span_is(site, "none")) {
        foreign = true;
    }
    if (foreign) {
        return fail(s->fault, NP_HTTP_REFUSAL_origin, NP_REFUSAL_forbidden,
                    "requests from web pages of another origin are not served");
    }
    return true;
}

bool np_gate_pass(struct np_http_call *c, struct np_gate_fault *fault)
{
    struct scan s = {.fault = fault};
    return check_line(c, fault) && scan_headers(c, &s) && check_framing(c, &s) &&
           check_path(c, fault) && check_host(c, &s) && check_origin(c, &s);
}
