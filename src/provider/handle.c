/* Call structs with their easy handles: what is set once for all calls, and the request's header
 * list, whose nodes are built in the call's own memory (libcurl only reads them). */
#include "provider/pool.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define FIELDS_MAX 128
#define LINES_MAX_BYTES ((size_t)64 * 1024)
#define LINES_LEAST_BYTES 768
#define HANDLE_LEAST_BYTES 2048 /* handles have 5 KB */
/* libcurl asks "Expect: 100-continue" for bodies over 1 MB; its reply would cost a round trip. */
#define EXPECT_BYTES ((size_t)512 * 1024)

/* -------------------------------------------------------------------------------- the easy handle */

struct long_option {
    CURLoption option;
    long value;
};

static const struct long_option long_options[] = {
    {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
    {CURLOPT_NOSIGNAL, 1},
    {CURLOPT_TCP_NODELAY, 1},
    {CURLOPT_FOLLOWLOCATION, 0},
    {CURLOPT_NETRC, CURL_NETRC_IGNORED},
    {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
    {CURLOPT_SSL_VERIFYPEER, 1},
    {CURLOPT_SSL_VERIFYHOST, 2},
    {CURLOPT_HTTP09_ALLOWED, 0},
    /* Ending a call while its name is being resolved must not wait for the resolver's thread. */
    {CURLOPT_QUICK_EXIT, 1},
};

static const struct {
    CURLoption option;
    const char *value;
} text_options[] = {
    {CURLOPT_PROTOCOLS_STR, "http,https"},
    {CURLOPT_REDIR_PROTOCOLS_STR, "http,https"},
    {CURLOPT_PROXY, ""}, /* with the next: none, whatever the environment says */
    {CURLOPT_NOPROXY, "*"},
    /* A folder beside the CA file keeps libcurl from caching the parsed store: 28 ms of CPU for
     * each connection with Debian's bundle instead of 1. */
    {CURLOPT_CAPATH, NULL},
    /* There is no proxy. Else each handle and each connection has a copy of its path. */
    {CURLOPT_PROXY_CAINFO, NULL},
    {CURLOPT_PROXY_CAPATH, NULL},
};

/* libcurl sends a request again, on another connection, when the one it was sent on dies before a
 * reply. Only policy may decide that, so both ways to another connection end the call. */
static bool is_resend(struct np_call *call)
{
    if (call->sent) {
        np_call_fail(call, NP_CALL_RESET, "the connection was lost after the request was sent");
    }
    return call->sent;
}

/* The connection stands, a new or a reused one, and the request is about to be sent. */
static int before_request(void *ctx, char *there, char *here, int port_there, int port_here)
{
    (void)there;
    (void)here;
    (void)port_there;
    (void)port_here;
    struct np_call *call = ctx;
    if (is_resend(call) || call->failed) {
        return CURL_PREREQFUNC_ABORT;
    }
    call->sent = true;
    if (call->opened) {
        uint64_t now = np_loop_refresh_ns(call->u->loop);
        call->connect_ns = now > call->start_ns ? now - call->start_ns : 1;
    }
    np_call_rearm(call);
    return CURL_PREREQFUNC_OK;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    return is_resend(ctx) ? CURL_SOCKET_BAD : np_sock_open(ctx, address);
}

static int close_socket(void *ctx, curl_socket_t fd)
{
    return np_sock_close(ctx, fd);
}

static CURLcode set_sizes(CURL *e, const struct np_upstream *u)
{
    CURLcode rc = curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, u->reuse_idle_s);
    /* libcurl 8 takes so much for each call and keeps it to the call's end. */
    return rc ? rc : curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, u->send_bytes);
}

/* The callbacks, and what is the upstream's. */
static CURLcode set_ours(struct np_call *call)
{
    CURL *e = call->easy;
    struct np_upstream *u = call->u;
    CURLcode rc = curl_easy_setopt(e, CURLOPT_PRIVATE, call);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, np_reply_header);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, np_reply_body);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, before_request);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_PREREQDATA, call);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, call);
    /* A connection outlives its call. */
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, u);
    rc = rc ? rc : curl_easy_setopt(e, CURLOPT_SHARE, u->share);
    rc = rc ? rc : set_sizes(e, u);
    if (!rc && u->ca_file) {
        rc = curl_easy_setopt(e, CURLOPT_CAINFO, u->ca_file);
    }
    return rc;
}

static CURLcode set_options(struct np_call *call)
{
    CURLcode rc = CURLE_OK;
    for (size_t i = 0; !rc && i < sizeof long_options / sizeof long_options[0]; i++) {
        rc = curl_easy_setopt(call->easy, long_options[i].option, long_options[i].value);
    }
    for (size_t i = 0; !rc && i < sizeof text_options / sizeof text_options[0]; i++) {
        rc = curl_easy_setopt(call->easy, text_options[i].option, text_options[i].value);
    }
    return rc ? rc : set_ours(call);
}

/* What is asked for behind the next handle, and what libcurl was given for it then. */
static _Thread_local struct {
    size_t more; /* 0: nothing is asked for */
    size_t at;   /* where that begins */
    char *block;
} making;

/* libcurl's calloc. Handles are the first of what it makes that is so large. */
static void *zeroed(size_t n, size_t bytes)
{
    if (making.more == 0 || n != 1 || bytes < HANDLE_LEAST_BYTES || bytes > SIZE_MAX / 2) {
        return calloc(n, bytes);
    }
    size_t align = alignof(max_align_t);
    making.at = (bytes + align - 1) / align * align;
    making.block = calloc(1, making.at + making.more);
    making.more = 0;
    return making.block;
}

CURLcode np_handle_init(void)
{
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free, realloc, strdup, zeroed);
}

/* A handle with its call: behind it, in what allocators would round a block of its size up by; of its own
 * where libcurl was begun without np_handle_init. */
static struct np_call *make(void)
{
    making.more = sizeof(struct np_call);
    making.block = NULL;
    CURL *easy = curl_easy_init();
    making.more = 0;
    if (!easy) {
        return NULL;
    }
    bool inside = making.block == (char *)easy;
    void *at = inside ? making.block + making.at : calloc(1, sizeof(struct np_call));
    struct np_call *call = at;
    if (!call) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    call->easy = easy;
    call->inside = inside;
    return call;
}

struct np_call *np_call_new(struct np_upstream *u)
{
    struct np_call *call = LIST_FIRST(&u->free_calls);
    if (call) {
        LIST_REMOVE(call, link);
        u->n_free_calls--;
        return call;
    }
    call = make();
    if (!call) {
        return NULL;
    }
    call->u = u;
    np_buf_init(&call->head, NP_HEAD_MAX_BYTES);
    if (set_options(call) != CURLE_OK) {
        np_call_free(call);
        return NULL;
    }
    return call;
}

void np_call_free(struct np_call *call)
{
    bool inside = call->inside;
    np_buf_free(&call->head);
    free(call->lines);
    curl_easy_cleanup(call->easy);
    if (!inside) {
        free(call);
    }
}

/* ---------------------------------------------------------------------------------- header lines */

/* A token of RFC 9110: a bit for each byte that may stand in a name. */
static bool is_token(struct np_span s)
{
    static const uint64_t allowed[4] = {UINT64_C(0x03ff6cfa00000000), UINT64_C(0x57ffffffc7fffffe),
                                        0, 0};
    bool all = s.n > 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        all &= (allowed[c >> 6] >> (c & 63)) & 1;
    }
    return all;
}

/* Whether all of the 8 bytes lie in 0x20 .. 0x7e; may say no too often where one does not. */
static bool all_plain(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return (((w - ones * 0x20) | (w + ones) | w) & (ones * 0x80)) == 0;
}

/* Tab, and blank to ~. */
static bool is_value(struct np_span s)
{
    size_t i = 0;
    while (i + 8 <= s.n && all_plain(s.p + i)) {
        i += 8;
    }
    bool all = true;
    for (; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        all &= c == '\t' || (c >= 0x20 && c < 0x7f);
    }
    return all;
}

/* Names that frame the request, belong to this hop, or ask for an encoded reply. */
static bool is_ours(struct np_span name)
{
    static const struct np_span ours[] = {
        {"Accept-Encoding", 15},
        {"Connection", 10},
        {"Content-Length", 14},
        {"Expect", 6},
        {"Host", 4},
        {"Keep-Alive", 10},
        {"Proxy-Authorization", 19},
        {"Proxy-Connection", 16},
        {"TE", 2},
        {"Trailer", 7},
        {"Transfer-Encoding", 17},
        {"Upgrade", 7},
    };
    /* Most names are ruled out by their length. */
    const uint32_t lengths = 1U << 2 | 1U << 4 | 1U << 6 | 1U << 7 | 1U << 10 | 1U << 14 |
                             1U << 15 | 1U << 16 | 1U << 17 | 1U << 19;
    if (name.n > 19 || !(lengths >> name.n & 1)) {
        return false;
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (name.n == ours[i].n && np_span_eq_nocase(name, ours[i])) {
            return true;
        }
    }
    return false;
}

static enum np_err reserve(struct np_call *call, size_t bytes)
{
    if (bytes <= call->lines_bytes) {
        return NP_OK;
    }
    size_t more = bytes < LINES_LEAST_BYTES ? LINES_LEAST_BYTES : bytes;
    char *lines = malloc(more);
    if (!lines) {
        return NP_E_NOMEM;
    }
    free(call->lines);
    call->lines = lines;
    call->lines_bytes = more;
    return NP_OK;
}

/* Checks the fields and says how many bytes their lines and nodes take. */
static enum np_err measure(const struct np_call_spec *spec, size_t *bytes)
{
    size_t sum = spec->n_fields * sizeof(struct curl_slist);
    if (spec->n_fields > FIELDS_MAX) {
        return NP_E_FULL;
    }
    for (size_t i = 0; i < spec->n_fields; i++) {
        struct np_span name = spec->fields[i].name, value = spec->fields[i].value;
        if (!is_token(name) || !is_value(value) || is_ours(name)) {
            return NP_E_INVALID;
        }
        if (name.n > LINES_MAX_BYTES || value.n > LINES_MAX_BYTES) {
            return NP_E_FULL;
        }
        sum += name.n + value.n + 3;
    }
    *bytes = sum;
    return sum <= LINES_MAX_BYTES ? NP_OK : NP_E_FULL;
}

static bool is_blank(struct np_span value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] != ' ' && value.p[i] != '\t') {
            return false;
        }
    }
    return true;
}

/* Writes "Name: value"; to libcurl "Name;" is a field without a value, "Name:" would be none. */
static char *write_line(char *p, struct np_span name, struct np_span value)
{
    memcpy(p, name.p, name.n);
    p += name.n;
    if (is_blank(value)) {
        *p++ = ';';
    } else {
        *p++ = ':';
        *p++ = ' ';
        memcpy(p, value.p, value.n);
        p += value.n;
    }
    *p++ = '\0';
    return p;
}

/* What libcurl would add of itself and must not: a content type, and for large bodies an Expect.
 * Nobody writes to these. */
static struct curl_slist *tail_of(const struct np_call_spec *spec)
{
    static char expect[] = "Expect:", type[] = "Content-Type:";
    static struct curl_slist no_expect = {expect, NULL};
    static struct curl_slist no_type = {type, NULL}, neither = {type, &no_expect};

    bool typed = false;
    for (size_t i = 0; i < spec->n_fields && !typed; i++) {
        typed = np_span_eq_nocase(spec->fields[i].name, NP_SPAN("Content-Type"));
    }
    if (spec->body.n < EXPECT_BYTES) {
        return typed ? NULL : &no_type;
    }
    return typed ? &no_expect : &neither;
}

void np_call_forget_lines(struct np_call *call)
{
    if (curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, NULL) == CURLE_OK) {
        free(call->lines);
        call->lines = NULL;
        call->lines_bytes = 0;
    }
}

enum np_err np_call_lines(struct np_call *call, const struct np_call_spec *spec,
                          struct curl_slist **list)
{
    size_t bytes;
    enum np_err err = measure(spec, &bytes);
    if (err == NP_OK) {
        err = reserve(call, bytes);
    }
    if (err != NP_OK) {
        return err;
    }
    *list = tail_of(spec);
    if (spec->n_fields == 0) {
        return NP_OK;
    }
    struct curl_slist *nodes = (struct curl_slist *)(void *)call->lines;
    char *p = call->lines + spec->n_fields * sizeof *nodes;
    for (size_t i = spec->n_fields; i-- > 0;) {
        nodes[i].data = p;
        nodes[i].next = *list;
        *list = &nodes[i];
        p = write_line(p, spec->fields[i].name, spec->fields[i].value);
    }
    return NP_OK;
}
