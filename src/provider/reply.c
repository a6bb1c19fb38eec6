/* What libcurl reports of a reply: header lines are kept (bounded), the body's bytes are copied to
 * the upstream's scratch until libcurl has returned. */
#include "provider/pool.h"

/* Bytes of one call in scratch; the bytes follow. */
struct segment {
    uint32_t next;
    uint32_t n;
};

/* A byte came. The timer has to move only where what ends the call next has come nearer. */
static void touch(struct np_call *call)
{
    call->last_byte_ns = np_loop_now_ns(call->u->loop);
    if (call->first_byte_ns == 0) {
        call->first_byte_ns = call->last_byte_ns;
        np_call_rearm(call);
    }
}

/* ------------------------------------------------------------------------------------------- head */

/* One line of a head, from *from on: its name and its value without blanks around it. False at the
 * end. Lines without a colon (the status line, continuations) have an empty name. */
static bool next_line(struct np_span head, size_t *from, struct np_span *name,
                      struct np_span *value)
{
    if (*from >= head.n) {
        return false;
    }
    const char *line = head.p + *from;
    const char *end = memchr(line, '\n', head.n - *from);
    size_t n = end ? (size_t)(end - line) : head.n - *from;
    *from += n + 1;
    const char *colon = memchr(line, ':', n);
    *name = *value = np_span_make(line, 0);
    if (!colon || line[0] == ' ' || line[0] == '\t') {
        return true;
    }
    *name = np_span_make(line, (size_t)(colon - line));
    const char *p = colon + 1, *last = line + n;
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }
    while (last > p && (last[-1] == ' ' || last[-1] == '\t' || last[-1] == '\r')) {
        last--;
    }
    *value = np_span_make(p, (size_t)(last - p));
    return true;
}

struct np_span np_call_header(const struct np_call *call, const char *name)
{
    struct np_span wanted = np_span_of(name), have, value;
    size_t from = 0;
    while (call->head_done && wanted.n > 0 &&
           next_line(np_buf_view(&call->head), &from, &have, &value)) {
        if (have.n == wanted.n && np_span_eq_nocase(have, wanted)) {
            return value;
        }
    }
    return NP_SPAN_NONE;
}

/* Names of fields in which providers say how they call the request. */
static bool names_request(struct np_span name)
{
    return np_span_eq_nocase(name, NP_SPAN("x-request-id")) ||
           np_span_eq_nocase(name, NP_SPAN("request-id"));
}

void np_reply_trim_head(struct np_call *call)
{
    struct np_buf kept;
    struct np_span name, value;
    size_t from = 0;
    np_buf_init(&kept, NP_HEAD_MAX_BYTES);
    while (call->head_done && next_line(np_buf_view(&call->head), &from, &name, &value)) {
        if (names_request(name)) {
            (void)np_buf_span(&kept, name);
            (void)np_buf_puts(&kept, ": ");
            (void)np_buf_span(&kept, value);
            (void)np_buf_puts(&kept, "\r\n");
        }
    }
    if (np_buf_failed(&kept)) {
        np_buf_free(&kept);
        return;
    }
    np_buf_free(&call->head);
    call->head = kept;
}

static bool is_field(struct np_span line, const char *name)
{
    size_t n = strlen(name);
    return line.n > n && line.p[n] == ':' &&
           np_span_eq_nocase(np_span_make(line.p, n), np_span_make(name, n));
}

/* Whether the line says that the reply is encoded, which was not asked for. libcurl would leave a
 * content encoding alone, but undo a transfer encoding, however large it unfolds. */
static bool says_encoded(struct np_span line)
{
    size_t from = 0;
    struct np_span name, value;
    char first = line.n > 0 ? (char)(line.p[0] | 0x20) : ' ';
    if (first != 'c' && first != 't') {
        return false;
    }
    if (is_field(line, "Content-Encoding")) {
        return next_line(line, &from, &name, &value) && value.n > 0 &&
               !np_span_eq_nocase(value, NP_SPAN("identity"));
    }
    return is_field(line, "Transfer-Encoding") && next_line(line, &from, &name, &value) &&
           !np_span_eq_nocase(value, NP_SPAN("chunked"));
}

/* Whether all that the head says of the body's length is one number. libcurl takes the last of several,
 * and one beyond 63 bits for none at all. */
static bool one_length(const struct np_call *call)
{
    struct np_span name, value, first = NP_SPAN_NONE;
    size_t from = 0;
    while (next_line(np_buf_view(&call->head), &from, &name, &value)) {
        unsigned long long n;
        if (!np_span_eq_nocase(name, NP_SPAN("Content-Length"))) {
            continue;
        }
        if (!np_span_to_u64(value, &n) || n > INT64_MAX || (first.p && !np_span_eq(value, first))) {
            return false;
        }
        first = value;
    }
    return true;
}

/* libcurl goes on sending a request whose reply is whole. Nobody may be reading it any more, so the call is
 * complete with the reply's last byte, where its length was told. */
static void end_early(struct np_call *call)
{
    curl_off_t length = -1;
    curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length >= 0 && (curl_off_t)call->received == length && !np_call_uploaded(call)) {
        np_call_fail(call, NP_CALL_COMPLETE, NULL);
    }
}

static bool end_head(struct np_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 101) {
        np_call_fail(call, NP_CALL_BAD_FRAMING, "the reply changes the protocol, unasked");
        return false;
    }
    if (status < 200) {
        return true; /* interim: another head follows */
    }
    call->status = (unsigned)status;
    call->head_done = true;
    if (status >= 400) {
        np_call_error(call);
    }
    if (call->encoded) {
        np_call_fail(call, NP_CALL_BAD_FRAMING, "the reply has an encoding that was not asked for");
        return false;
    }
    if (!one_length(call)) {
        np_call_fail(call, NP_CALL_BAD_FRAMING, "the reply's length is none, or two");
        return false;
    }
    call->early = !call->warm && !np_call_uploaded(call);
    call->head_due = true;
    np_call_enqueue(call);
    return true;
}

/* A line of a head into the call's memory. */
static bool keep_line(struct np_call *call, struct np_span line)
{
    if (line.n > 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        np_buf_reset(&call->head);
        call->encoded = false;
    }
    call->encoded = call->encoded || says_encoded(line);
    if (np_buf_span(&call->head, line) != NP_OK) {
        np_call_fail(call, NP_CALL_NO_MEMORY, "no memory for the reply's headers");
        return false;
    }
    return true;
}

size_t np_reply_header(char *p, size_t size, size_t n, void *ctx)
{
    struct np_call *call = ctx;
    n *= size;
    if (call->failed) {
        return 0;
    }
    touch(call);
    call->head_bytes += n;
    if (call->head_bytes > NP_HEAD_MAX_BYTES) {
        np_call_fail(call, NP_CALL_TOO_LARGE, "the reply's headers are larger than 64 KB");
        return 0;
    }
    if (call->head_done) {
        return n; /* trailers: nobody asks for them */
    }
    if (!keep_line(call, np_span_make(p, n))) {
        return 0;
    }
    bool last = n <= 2 && (p[0] == '\r' || p[0] == '\n');
    return !last || end_head(call) ? n : 0;
}

/* ------------------------------------------------------------------------------------------- body */

/* What libcurl gathered while a call was paused (it reads on a little) comes in pieces of up to
 * CURL_MAX_WRITE_SIZE. One that could never be taken would be offered for ever, and libcurl would
 * read and keep more with every offer. */
_Static_assert(CURL_MAX_WRITE_SIZE <= NP_SCRATCH_BYTES / 2, "a piece fits into scratch");
_Static_assert(2 * NP_READ_BYTES <= NP_CALL_TURN_BYTES, "a turn is longer than a read");

/* Appends to the call's pending bytes; false when scratch is full. */
static bool store(struct np_call *call, const char *p, uint32_t n)
{
    struct np_upstream *u = call->u;
    uint32_t at = (u->scratch_n + 3U) & ~3U;
    if (n > NP_SCRATCH_BYTES - sizeof(struct segment) ||
        at > NP_SCRATCH_BYTES - sizeof(struct segment) - n) {
        return false;
    }
    struct segment *last = NULL;
    if (call->segment_last != NP_NO_SEGMENT) {
        last = (struct segment *)(void *)(u->scratch + call->segment_last);
        if (call->segment_last + sizeof *last + last->n == u->scratch_n) {
            memcpy(u->scratch + u->scratch_n, p, n);
            last->n += n;
            u->scratch_n += n;
            return true;
        }
        last->next = at;
    } else {
        call->segment_first = at;
    }
    *(struct segment *)(void *)(u->scratch + at) = (struct segment){NP_NO_SEGMENT, n};
    memcpy(u->scratch + at + sizeof *last, p, n);
    call->segment_last = at;
    u->scratch_n = at + (uint32_t)sizeof *last + n;
    return true;
}

/* It goes on when what was stored has been handed out. */
static void hold(struct np_call *call)
{
    if (!call->held) {
        call->held = true;
        TAILQ_INSERT_TAIL(&call->u->held, call, held_link);
    }
}

size_t np_reply_body(char *p, size_t size, size_t n, void *ctx)
{
    struct np_call *call = ctx;
    n *= size;
    if (call->failed || n == 0) {
        return 0;
    }
    if (!call->head_done) {
        np_call_fail(call, NP_CALL_BAD_FRAMING, "bytes before the reply's head");
        return 0;
    }
    __builtin_prefetch(call->ctx); /* the user's, who gets the bytes soon */
    touch(call);
    if (n > call->max_reply_bytes - call->received) {
        np_call_fail(call, NP_CALL_TOO_LARGE, "the reply is larger than allowed");
        return 0;
    }
    if (call->paused) {
        return CURL_WRITEFUNC_PAUSE;
    }
    bool turn_over =
        call->stream && call->turn_bytes > 0 && call->turn_bytes + n > NP_CALL_TURN_BYTES;
    if (turn_over || !store(call, p, (uint32_t)n)) {
        hold(call);
        return CURL_WRITEFUNC_PAUSE;
    }
    call->received += n;
    call->turn_bytes += (uint32_t)n;
    np_call_enqueue(call);
    if (call->early) {
        end_early(call);
    }
    if (call->u->stops_between_reads && call->stream && !call->held &&
        call->turn_bytes + NP_READ_BYTES > NP_CALL_TURN_BYTES) {
        hold(call);
        np_call_stop_reading(call);
    }
    return n;
}

/* Takes the first pending bytes out; false when there are none. */
bool np_reply_next(struct np_call *call, struct np_span *bytes)
{
    if (call->segment_first == NP_NO_SEGMENT) {
        return false;
    }
    char *at = call->u->scratch + call->segment_first;
    struct segment *first = (struct segment *)(void *)at;
    *bytes = np_span_make(at + sizeof *first, first->n);
    call->segment_first = first->next;
    if (first->next == NP_NO_SEGMENT) {
        call->segment_last = NP_NO_SEGMENT;
    }
    return true;
}
