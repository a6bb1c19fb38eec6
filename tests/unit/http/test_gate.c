/* The table of malformed requests: none is served on a connection that carries on, none is left
 * hanging, and what is merely unusual is served. Each bad one is followed by a good request on the
 * same connection, which must not be answered. Then hosts and origins. */
#include "http/rig.h"

#include "http/gate.h"

struct sample {
    const char *name;
    const char *bytes;
    size_t n;
};

#define HOST "Host: localhost\r\n"
#define POST "POST /whole HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define CANARY "GET /head HTTP/1.1\r\n" HOST "\r\n"
#define SAMPLE(name, bytes)               \
    {                                     \
        name, "" bytes, sizeof(bytes) - 1 \
    }

static const struct sample bad[] = {
    SAMPLE("two lengths that differ", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    SAMPLE("two lengths that agree", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a list of lengths", POST "Content-Length: 5, 5\r\n\r\nhello"),
    SAMPLE("length and chunked",
           POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("chunked and length",
           POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    SAMPLE("blank before the colon of TE", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("blank before the colon of CL", POST "Content-Length : 5\r\n\r\nhello"),
    SAMPLE("tab before the colon", POST "Content-Length: 5\r\nX-A\t: b\r\n\r\nhello"),
    SAMPLE("a folded length", POST "Content-Length:\r\n 5\r\n\r\nhello"),
    SAMPLE("a length that folds on", POST "Content-Length: 5\r\n 0\r\n\r\nhello"),
    SAMPLE("a folded coding", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("a coding hidden by folding",
           POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n x\r\n\r\nhello"),
    SAMPLE("any folded header", POST "X-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a folded last header", POST "Content-Length: 5\r\nX-A: b\r\n\tc\r\n\r\nhello"),
    SAMPLE("a first header that begins with a blank",
           "POST /whole HTTP/1.1\r\n " HOST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("a bare CR in a value", POST "X-A: b\rc\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a bare CR as the end of a line", POST "X-A: b\rContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a bare CR in a name", POST "X\rA: b\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a bare CR in the request line",
           "POST /whole\r HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("a NUL in a value", POST "X-A: b\0c\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a NUL at the end of a value", POST "X-A: b\0\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a NUL in the last value", POST "Content-Length: 5\r\nX-A: b\0c\r\n\r\nhello"),
    SAMPLE("a NUL in the length", POST "Content-Length: 5\0000\r\n\r\nhello"),
    SAMPLE("a NUL in a name", POST "X\0A: b\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a NUL in the path",
           "POST /whole\0x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("a NUL in the method", "PO\0ST /whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a NUL in a line before it", "\0\r\n" POST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("NULs in a line before it", "\0\0\0\r\n" POST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("a line before it that a NUL hides",
           "\0garbage\r\n" POST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("a request line before it that a NUL hides",
           "\0GET / HTTP/1.1\r\n" POST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("an empty line and a NUL before it", "\r\n\0\r\n" POST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("two hosts", "GET /whole HTTP/1.1\r\n" HOST "Host: other\r\n\r\n"),
    SAMPLE("two hosts that agree", "GET /whole HTTP/1.1\r\n" HOST HOST "\r\n"),
    SAMPLE("no host", "GET /whole HTTP/1.1\r\nX-A: b\r\n\r\n"),
    SAMPLE("no header", "GET /whole HTTP/1.1\r\n\r\n"),
    SAMPLE("a list of hosts", "GET /whole HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    SAMPLE("a host with a path", "GET /whole HTTP/1.1\r\nHost: localhost/x\r\n\r\n"),
    SAMPLE("a host with a user", "GET /whole HTTP/1.1\r\nHost: a@localhost\r\n\r\n"),
    SAMPLE("two authorizations", "GET /whole HTTP/1.1\r\n" HOST
                                 "Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n"),
    SAMPLE("a length with a plus", POST "Content-Length: +5\r\n\r\nhello"),
    SAMPLE("a length in hex", POST "Content-Length: 0x5\r\n\r\nhello"),
    SAMPLE("a negative length", POST "Content-Length: -5\r\n\r\nhello"),
    SAMPLE("a length with a letter", POST "Content-Length: 5a\r\n\r\nhello"),
    SAMPLE("a length with a blank", POST "Content-Length: 5 5\r\n\r\nhello"),
    SAMPLE("an empty length", POST "Content-Length:\r\n\r\nhello"),
    SAMPLE("a length over 2^64", POST "Content-Length: 18446744073709551621\r\n\r\nhello"),
    SAMPLE("gzip as coding", POST "Transfer-Encoding: gzip\r\n\r\nhello"),
    SAMPLE("gzip and chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("two codings",
           POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    SAMPLE("identity as coding", POST "Transfer-Encoding: identity\r\n\r\nhello"),
    SAMPLE("a coding that ends like chunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("chunked with a parameter", POST "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
    SAMPLE("chunked in quotes", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    SAMPLE("chunked after a vertical tab", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("an empty coding", POST "Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("chunked in HTTP/1.0", "POST /whole HTTP/1.0\r\nConnection: keep-alive\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("GET with a body", "GET /whole HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("GET with a chunked body",
           "GET /whole HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    SAMPLE("HEAD with a body", "HEAD /whole HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("POST without a length", POST "\r\n"),
    SAMPLE("a header without a colon", POST "Content-Length: 5\r\nX-A\r\n\r\nhello"),
    SAMPLE("a header without a name", POST "Content-Length: 5\r\n: b\r\n\r\nhello"),
    SAMPLE("a blank in a name", POST "Content-Length: 5\r\nX A: b\r\n\r\nhello"),
    SAMPLE("a bracket in a name", POST "Content-Length: 5\r\nX(A): b\r\n\r\nhello"),
    SAMPLE("a byte over 0x7f in a name", POST "Content-Length: 5\r\nX\xc3\xa4: b\r\n\r\nhello"),
    SAMPLE("a control byte in a value", POST "Content-Length: 5\r\nX-A: b\x01\r\n\r\nhello"),
    SAMPLE("DEL in a value", POST "Content-Length: 5\r\nX-A: b\x7f\r\n\r\nhello"),
    SAMPLE("an escape in the path", "GET /who%6ce HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("an escaped dot in the path", "GET /%2e%2e/whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("two slashes", "GET //whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a dot segment", "GET /./whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a double dot segment", "GET /a/../whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a backslash", "GET /a\\whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a fragment", "GET /whole#a HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("an absolute target", "GET http://localhost/whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a target without a slash", "GET whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("an asterisk", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a byte over 0x7f in the path", "GET /whole\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a blank in the target", "GET /whole a HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("two blanks in the request line", "GET  /whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("two blanks before the version", "GET /whole  HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a tab in the request line", "GET\t/whole\tHTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("no version", "GET /whole\r\n" HOST "\r\n"),
    SAMPLE("HTTP/0.9", "GET /whole HTTP/0.9\r\n" HOST "\r\n"),
    SAMPLE("HTTP/2.0", "GET /whole HTTP/2.0\r\n" HOST "\r\n"),
    SAMPLE("a version with more digits", "GET /whole HTTP/1.10\r\n" HOST "\r\n"),
    SAMPLE("a version in small letters", "GET /whole http/1.1\r\n" HOST "\r\n"),
    SAMPLE("a bracket in the method", "GE(T /whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a chunk size with a plus", CHUNKED "+5\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("a chunk size with 0x", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("a negative chunk size", CHUNKED "-5\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("an empty chunk size", CHUNKED "\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("a chunk extension without a size", CHUNKED ";a=b\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("a chunk size over 2^64", CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("a chunk longer than its size", CHUNKED "4\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("a chunk size after a blank", CHUNKED " 5\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("a trailer without a colon", CHUNKED "0\r\nX-A\r\n\r\n"),
    SAMPLE("a chunked body and something after it", CHUNKED "5\r\nhello\r\n0\r\n\r\nhello"),
};

static const struct sample good[] = {
    SAMPLE("a plain GET", "GET /whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("names in any case",
           "POST /whole HTTP/1.1\r\nhOST: localhost\r\ncontent-LENGTH: 5\r\n\r\nhello"),
    SAMPLE("no blank after the colon",
           "POST /whole HTTP/1.1\r\nHost:localhost\r\nContent-Length:5\r\n\r\nhello"),
    SAMPLE("blanks and tabs after the colon",
           "POST /whole HTTP/1.1\r\nHost: \t localhost\r\nContent-Length: \t5\r\n\r\nhello"),
    SAMPLE("blanks after a value", POST "X-A: b \t \r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("blanks after the last value", POST "Content-Length: 5\r\nX-A: b  \r\n\r\nhello"),
    SAMPLE("an empty value", POST "X-A:\r\nContent-Length: 5\r\nX-B: \r\n\r\nhello"),
    SAMPLE("bytes over 0x7f in a value", POST "X-A: \xc3\xa4\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a tab in a value", POST "X-A: b\tc\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("the same header twice", POST "X-A: b\r\nX-A: c\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("a length with zeros before it", POST "Content-Length: 0005\r\n\r\nhello"),
    SAMPLE("GET with length 0", "GET /whole HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"),
    SAMPLE("POST with length 0", POST "Content-Length: 0\r\n\r\n"),
    SAMPLE("a query with everything",
           "GET /whole?a=%00&b=//..&c=d+e?f&=&&g HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a host with a port", "GET /whole HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"),
    SAMPLE("a host of IPv6", "GET /whole HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
    SAMPLE("cookies", POST "Cookie: a=b; c=\"d e\"\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("all token characters in a name",
           POST "!#$%&'*+-.^_`|~aZ09: b\r\nContent-Length: 5\r\n\r\nhello"),
    SAMPLE("an OPTIONS request", "OPTIONS /whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("a PUT request", "PUT /whole HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"),
    SAMPLE("a method of one's own", "BREW-1 /whole HTTP/1.1\r\n" HOST "\r\n"),
    SAMPLE("HTTP/1.0 that stays", "GET /whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    SAMPLE("one authorization",
           POST "Authorization: Bearer a b\r\nx-api-key: c\r\nContent-Length: 5\r\n\r\nhello"),
};

static const struct sample good_and_ends[] = {
    SAMPLE("chunked", CHUNKED "5\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("chunked in any case",
           POST "transfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\nX-T: u\r\n\r\n"),
    SAMPLE("chunk sizes with zeros and letters",
           CHUNKED "005\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"),
    SAMPLE("HTTP/1.0", "GET /whole HTTP/1.0\r\n\r\n"),
    SAMPLE("Connection: close", "GET /whole HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"),
};

/* What libmicrohttpd reads in one version and refuses in another. */
static const struct sample either[] = {
    SAMPLE("chunk extensions", CHUNKED "5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n"),
    SAMPLE("bare LF as line ends",
           "POST /whole HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello"),
    SAMPLE("bare LF as some line ends",
           "POST /whole HTTP/1.1\r\nHost: localhost\nContent-Length: 5\r\n\nhello"),
    SAMPLE("bare LF in chunks", CHUNKED "5\nhello\n0\n\n"),
    SAMPLE("a blank after a length", POST "Content-Length: 5 \r\n\r\nhello"),
};

/* Bytes one by one, or all at once. */
static void send_sample(struct client *c, const struct sample *s, bool split)
{
    for (size_t i = 0; split && i < s->n; i++) {
        if (client_send(c, s->bytes + i, 1) == 0) {
            return; /* refused meanwhile */
        }
    }
    if (!split) {
        client_send(c, s->bytes, s->n);
    }
}

static void check_bad(const struct sample *s, bool split)
{
    struct client *c = client_new();
    send_sample(c, s, split);
    client_send(c, CANARY, strlen(CANARY));
    ck_assert_msg(client_closed_within(c, 1500), "%s: left hanging", s->name);
    ck_assert_msg(!strstr(c->in, "from head"), "%s: carries on", s->name);
    client_free(c);
}

START_TEST(no_malformed_request_is_served_on_a_connection_that_carries_on)
{
    check_bad(&bad[_i], false);
    check_bad(&bad[_i], true);
}
END_TEST

START_TEST(no_malformed_head_reaches_the_owner)
{
    check_bad(&bad[_i], false);
    bool in_body = strstr(bad[_i].name, "chunk size") ||
                   strstr(bad[_i].name, "a chunk") == bad[_i].name ||
                   strstr(bad[_i].name, "trailer");
    ck_assert_msg(in_body || rig.heads == 0, "%s", bad[_i].name);
}
END_TEST

/* From a connection's second request on each of them is seen, whatever its length. */
START_TEST(a_line_that_a_nul_hides_is_refused_before_a_later_request)
{
    static char hidden[4000];
    memset(hidden, 'x', sizeof hidden);
    hidden[0] = '\0';
    for (size_t n = 1; n < 1000; n += n < 70 ? 1 : 111) {
        struct client *c = client_new();
        ck_assert(alive(c));
        client_send(c, hidden, n);
        client_send(c, "\r\n" CANARY, strlen("\r\n" CANARY)); /* it may be closed already */
        struct reply r = client_read(c);
        bool ended = r.status == 0 && np_front_version()[0] != '0';
        ck_assert_msg(r.status == 400 || ended, "%zu bytes: %d", n, r.status);
        ck_assert(client_closed_within(c, 1500));
        client_free(c);
    }
}
END_TEST

/* Before 1.0 the library can't tell the two apart. */
START_TEST(an_empty_line_before_a_request_is_let_pass_and_ends_its_connection)
{
    static const struct sample rows[] = {SAMPLE("empty", "\r\n"), SAMPLE("a NUL", "\0\n")};
    bool old = np_front_version()[0] == '0';
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int later = 0; later < 2; later++) {
            struct client *c = client_new();
            if (later)
                ck_assert(alive(c));
            client_send(c, rows[i].bytes, rows[i].n);
            struct reply r = client_ask(c, CANARY);
            ck_assert_msg(r.status == 404 || (!old && i == 1), "%s: %d", rows[i].name, r.status);
            ck_assert_msg(client_closed_within(c, 1500) == (old || i == 1), "%s", rows[i].name);
            client_free(c);
        }
}
END_TEST

START_TEST(an_unusual_request_is_served_and_the_connection_carries_on)
{
    for (int split = 0; split < 2; split++) {
        struct client *c = client_new();
        send_sample(c, &good[_i], split == 1);
        struct reply r = client_read(c);
        ck_assert_msg(r.status == 200, "%s: %d %s", good[_i].name, r.status, r.body);
        ck_assert_msg(strstr(good[_i].bytes, "hello") == NULL || strcmp(r.body, "hello") == 0,
                      "%s: %s", good[_i].name, r.body);
        ck_assert_msg(alive(c), "%s: does not carry on", good[_i].name);
        client_free(c);
    }
}
END_TEST

START_TEST(a_request_that_ends_its_connection_is_served)
{
    for (int split = 0; split < 2; split++) {
        struct client *c = client_new();
        send_sample(c, &good_and_ends[_i], split == 1);
        struct reply r = client_read(c);
        ck_assert_msg(r.status == 200, "%s: %d", good_and_ends[_i].name, r.status);
        ck_assert_msg(client_closed_within(c, 1000), "%s: does not end", good_and_ends[_i].name);
        client_free(c);
    }
}
END_TEST

START_TEST(what_the_library_may_refuse_is_served_or_refused)
{
    for (int split = 0; split < 2; split++) {
        struct client *c = client_new();
        send_sample(c, &either[_i], split == 1);
        struct reply r = client_read(c);
        bool served = r.status == 200 && strcmp(r.body, "hello") == 0;
        bool refused = r.status == 400 && client_closed_within(c, 1000);
        ck_assert_msg(served || refused, "%s: %d", either[_i].name, r.status);
        client_free(c);
    }
}
END_TEST

START_TEST(a_refusal_says_what_is_wrong)
{
    struct reply r = ask("POST /whole HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: my-1\r\n"
                         "Content-Length: 0\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n");
    ck_assert_int_eq(r.status, 400);
    ck_assert_str_eq(reply_header(&r, "Content-Type"), "application/json");
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), "my-1");
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    ck_assert_str_eq(r.body, "{\"error\":{\"type\":\"invalid_request\",\"message\":\"there is more "
                             "than one Authorization header\",\"param\":null,"
                             "\"requestId\":\"my-1\"}}");
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_framing], 1);
}
END_TEST

START_TEST(a_length_is_asked_for_with_411)
{
    struct reply r = ask("POST /whole HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(r.status, 411);
    ck_assert_ptr_nonnull(strstr(r.body, "\"length_required\""));
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_length_required], 1);
}
END_TEST

START_TEST(a_head_of_5000_bytes_passes_and_one_of_9000_does_not)
{
    static char request[10000];
    for (int n = 5000; n <= 9000; n += 4000) {
        snprintf(request, sizeof request,
                 "GET /whole HTTP/1.1\r\nHost: localhost\r\nX-A: %0*d\r\n\r\n", n, 0);
        struct client *c = client_new();
        struct reply r = client_ask(c, request);
        ck_assert_int_eq(r.status, n == 5000 ? 200 : 431);
        ck_assert(client_closed_within(c, n == 5000 ? 1 : 1000) == (n == 9000));
        client_free(c);
    }
    rig_until(&rig.refused[NP_HTTP_REFUSAL_too_large], 1);
}
END_TEST

/* ------------------------------------------------------------------------------- hosts and origins */

struct origin_case {
    const char *host, *origin, *site;
    int status;
};

static const char *const known_hosts[] = {"neap.example", "other.example:81"};

static const struct origin_case hosts[] = {
    {"localhost", NULL, NULL, 200},
    {"LOCALHOST:1", NULL, NULL, 200},
    {"127.0.0.1:8080", NULL, NULL, 200},
    {"127.1.2.3", NULL, NULL, 200},
    {"[::1]", NULL, NULL, 200},
    {"[0:0:0:0:0:0:0:1]:80", NULL, NULL, 200},
    {"neap.example", NULL, NULL, 200},
    {"Neap.Example:8080", NULL, NULL, 200},
    {"other.example:81", NULL, NULL, 200},
    {"other.example:82", NULL, NULL, 403},
    {"evil.example", NULL, NULL, 403},
    {"localhost.evil.example", NULL, NULL, 403},
    {"127.0.0.1.evil.example", NULL, NULL, 403},
    {"0177.0.0.1", NULL, NULL, 403},
    {"2130706433", NULL, NULL, 403},
    {"[::2]", NULL, NULL, 403},
    {"10.0.0.1", NULL, NULL, 403},
    {"", NULL, NULL, 403},
    {"localhost:80", "http://localhost", NULL, 200},
    {"localhost:8080", "http://localhost:8080", NULL, 200},
    {"localhost:8080", "http://127.0.0.1:8080", NULL, 200},
    {"127.0.0.1:8080", "http://[::1]:8080", NULL, 200},
    {"neap.example", "https://neap.example", NULL, 200},
    {"neap.example:443", "https://neap.example", NULL, 200},
    {"localhost:8080", "http://localhost:8081", NULL, 403},
    {"localhost:8080", "http://localhost", NULL, 403},
    {"localhost:8080", "http://127.0.0.2:8080", NULL, 403},
    {"localhost:8080", "https://evil.example", NULL, 403},
    {"localhost:8080", "null", NULL, 403},
    {"localhost:8080", "", NULL, 403},
    {"localhost:8080", "http://", NULL, 403},
    {"localhost:8080", "http://localhost:8080/", NULL, 403},
    {"localhost:8080", "http://a@localhost:8080", NULL, 403},
    {"localhost:8080", "file://localhost:8080", NULL, 403},
    {"localhost:8080", "chrome-extension://abc", NULL, 403},
    {"localhost", NULL, "same-origin", 200},
    {"localhost", NULL, "none", 200},
    {"localhost", NULL, "same-site", 403},
    {"localhost", NULL, "cross-site", 403},
    {"localhost", NULL, "CROSS-SITE", 403},
    {"localhost:1", "http://localhost:1", "same-origin", 200},
    {"localhost:1", "http://localhost:1", "cross-site", 403},
};

static struct reply ask_as(const struct origin_case *o)
{
    char request[512];
    size_t n =
        (size_t)snprintf(request, sizeof request, "GET /whole HTTP/1.1\r\nHost: %s\r\n", o->host);
    if (o->origin) {
        n += (size_t)snprintf(request + n, sizeof request - n, "Origin: %s\r\n", o->origin);
    }
    if (o->site) {
        n += (size_t)snprintf(request + n, sizeof request - n, "Sec-Fetch-Site: %s\r\n", o->site);
    }
    snprintf(request + n, sizeof request - n, "\r\n");
    return ask(request);
}

static void setup_strict(void)
{
    rig_listen();
    rig.config.gate = (struct np_front_gate){
        .check_host = true, .check_origin = true, .hosts = known_hosts, .n_hosts = 2};
    rig_start();
}

START_TEST(only_known_hosts_and_origins_are_let_in)
{
    const struct origin_case *o = &hosts[_i];
    struct reply r = ask_as(o);
    ck_assert_msg(r.status == o->status, "%s %s %s: %d", o->host, o->origin ? o->origin : "-",
                  o->site ? o->site : "-", r.status);
    ck_assert(o->status == 200 || strstr(r.body, "\"type\":\"forbidden\""));
    ck_assert_uint_eq(rig.heads, o->status == 200);
    ck_assert_uint_eq(rig.refused[NP_HTTP_REFUSAL_host] + rig.refused[NP_HTTP_REFUSAL_origin],
                      o->status == 403);
}
END_TEST

START_TEST(the_rules_change_for_the_next_request)
{
    struct client *c = client_new();
    const char *request = "GET /whole HTTP/1.1\r\nHost: evil.example\r\nOrigin: null\r\n\r\n";
    np_front_gate_set(rig.front, false, false);
    ck_assert_int_eq(client_ask(c, request).status, 200);
    np_front_gate_set(rig.front, true, false);
    ck_assert_int_eq(client_ask(c, request).status, 403);
    client_free(c);
}
END_TEST

START_TEST(http_1_0_may_leave_the_host_out)
{
    ck_assert_int_eq(ask("GET /whole HTTP/1.0\r\n\r\n").status, 200);
    ck_assert_int_eq(ask("GET /whole HTTP/1.0\r\nOrigin: http://localhost\r\n\r\n").status, 403);
}
END_TEST

START_TEST(two_origins_are_refused)
{
    struct reply r = ask("GET /whole HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
                         "Origin: http://evil.example\r\n\r\n");
    ck_assert_int_eq(r.status, 400);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

int main(void)
{
    Suite *s = suite_create("gate");
    TCase *t = tcase_create("heads");
    tcase_add_checked_fixture(t, rig_setup, rig_teardown);
    tcase_add_loop_test(t, no_malformed_request_is_served_on_a_connection_that_carries_on, 0,
                        COUNT(bad));
    tcase_add_loop_test(t, no_malformed_head_reaches_the_owner, 0, COUNT(bad));
    tcase_add_test(t, a_line_that_a_nul_hides_is_refused_before_a_later_request);
    tcase_add_test(t, an_empty_line_before_a_request_is_let_pass_and_ends_its_connection);
    tcase_add_loop_test(t, an_unusual_request_is_served_and_the_connection_carries_on, 0,
                        COUNT(good));
    tcase_add_loop_test(t, a_request_that_ends_its_connection_is_served, 0, COUNT(good_and_ends));
    tcase_add_loop_test(t, what_the_library_may_refuse_is_served_or_refused, 0, COUNT(either));
    tcase_add_test(t, a_refusal_says_what_is_wrong);
    tcase_add_test(t, a_length_is_asked_for_with_411);
    tcase_add_test(t, a_head_of_5000_bytes_passes_and_one_of_9000_does_not);
    suite_add_tcase(s, t);
    t = tcase_create("hosts and origins");
    tcase_add_checked_fixture(t, setup_strict, rig_teardown);
    tcase_add_loop_test(t, only_known_hosts_and_origins_are_let_in, 0, COUNT(hosts));
    tcase_add_test(t, the_rules_change_for_the_next_request);
    tcase_add_test(t, http_1_0_may_leave_the_host_out);
    tcase_add_test(t, two_origins_are_refused);
    suite_add_tcase(s, t);
    return rig_run(s);
}
