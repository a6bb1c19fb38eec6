/* Events that are like the one before. A stream says hundreds of times the same around another piece of text;
 * to compare that costs a twentieth of reading it. What is fixed was checked with the event that it is of, so
 * with strings that pass the check in their places the whole passes it too, and each path ends where it did. */
#include "model/stream.h"

#include "base/json.h"

#include <stdlib.h>

/* Beside the text; a stream keeps so much for as long as it lasts. */
#define BYTES_MAX 640

void np_stream_frame_drop(struct np_stream_frame *f)
{
    free(f->p);
    *f = (struct np_stream_frame){NULL, 0, 0, 0};
}

/* Past n bytes that must stand at p; NULL: they do not, or p is. */
static const char *past(const char *p, const char *end, const char *fixed, size_t n)
{
    return p && (size_t)(end - p) >= n && memcmp(p, fixed, n) == 0 ? p + n : NULL;
}

bool np_stream_frame_read(const struct np_stream_frame *f, struct np_span name, struct np_span data,
                          struct np_stream_event *out)
{
    if (!f->p || data.n == 0 || np_span_is(name, "error"))
        return false;
    const char *end = data.p + data.n, *fixed = f->p;
    const char *text = past(data.p, end, fixed, f->head);
    const char *quote = text ? np_json_string(text, end) : NULL;
    const char *at = past(quote, end, fixed += f->head, f->middle);
    if (at && f->rest > 0)
        at = past(np_json_string(at, end), end, fixed + f->middle, f->rest);
    if (at != end || quote == text)
        return false;
    memset(out, 0, sizeof *out);
    out->read = true;
    out->at[NP_STREAM_text] = np_span_make(text - 1, (size_t)(quote - text) + 2);
    return true;
}

/* Whether it brings text of the answer and nothing else that changes how later events are taken. */
static bool is_plain(const struct np_stream_event *e)
{
    if (e->ends || e->failed || e->parts.p || !e->at[NP_STREAM_text].p ||
        np_json_inner(e->at[NP_STREAM_text]).n == 0)
        return false;
    for (int i = 0; i < NP_STREAM_SLOT_COUNT; i++) {
        bool passive = i == NP_STREAM_text || i == NP_STREAM_kind || i == NP_STREAM_choice ||
                       i == NP_STREAM_block || i == NP_STREAM_part;
        if (!passive && e->at[i].p)
            return false;
    }
    return true;
}

/* Where a and b differ first, or the shorter ends. */
static size_t alike(struct np_span a, struct np_span b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && a.p[n] == b.p[n])
        n++;
    return n;
}

/* A string that is a value and no member's name, at its closing quote. */
static bool is_value(const char *quote, const char *end)
{
    const char *p = quote + 1;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p < end && *p != ':';
}

/* The string in `tail`, an event's from its text's closing quote on, in which it differs from the frame's and
 * behind which it does not: from behind its opening quote to the closing one. Empty without p: there is none. */
static struct np_span other_string(const struct np_stream_frame *f, struct np_span tail,
                                   const char *last)
{
    struct np_span kept = np_span_make(f->p + f->head, f->middle);
    const char *end = tail.p + tail.n, *differs = tail.p + alike(kept, tail), *p = tail.p + 1;
    for (const char *quote; (quote = memchr(p, '"', (size_t)(end - p))) && quote < differs;) {
        const char *closing = np_json_string(quote + 1, end);
        if (!closing)
            break;
        p = closing + 1;
        if (closing < differs)
            continue;
        const char *kept_at = kept.p + (quote + 1 - tail.p), *kept_end = kept.p + kept.n;
        const char *kept_closing = np_json_string(kept_at, kept_end);
        if (quote < last || !is_value(closing, end) || !kept_closing ||
            !np_span_eq(np_span_make(closing, (size_t)(end - closing)),
                        np_span_make(kept_closing, (size_t)(kept_end - kept_closing))))
            break;
        return np_span_make(quote + 1, (size_t)(closing - quote - 1));
    }
    return NP_SPAN_NONE;
}

void np_stream_frame_keep(struct np_stream_frame *f, struct np_span data,
                          const struct np_stream_event *e)
{
    if (!e->last)
        return; /* it has the frame already, or says nothing */
    struct np_span text = is_plain(e) ? np_json_inner(e->at[NP_STREAM_text]) : NP_SPAN_NONE;
    if (!text.p || data.n - text.n > BYTES_MAX) {
        np_stream_frame_drop(f);
        return;
    }
    struct np_span head = np_span_make(data.p, (size_t)(text.p - data.p));
    struct np_span tail = np_span_make(text.p + text.n, data.n - text.n - head.n);
    struct np_span other = NP_SPAN_NONE;
    if (f->p && f->rest == 0 && np_span_eq(head, np_span_make(f->p, f->head)))
        other = other_string(f, tail, e->last);
    size_t middle = other.p ? (size_t)(other.p - tail.p) : tail.n;
    size_t rest = other.p ? tail.n - middle - other.n : 0;
    np_stream_frame_drop(f);
    f->p = malloc(head.n + middle + rest);
    if (!f->p)
        return;
    memcpy(f->p, head.p, head.n);
    memcpy(f->p + head.n, tail.p, middle);
    memcpy(f->p + head.n + middle, tail.p + tail.n - rest, rest);
    f->head = (uint16_t)head.n;
    f->middle = (uint16_t)middle;
    f->rest = (uint16_t)rest;
}
