/* Server-sent events, line by line. */
#include "provider/sse.h"

#define KEPT_BYTES ((size_t)16 * 1024)

static const char mark[3] = {'\xef', '\xbb', '\xbf'};

void np_sse_init(struct np_sse *s)
{
    *s = (struct np_sse){.mark = 0};
    np_buf_init(&s->line, NP_SSE_LINE_MAX);
    np_buf_init(&s->data, NP_SSE_LINE_MAX);
}

void np_sse_free(struct np_sse *s)
{
    np_buf_free(&s->line);
    np_buf_free(&s->data);
}

static void forget_event(struct np_sse *s)
{
    if (s->data.cap > KEPT_BYTES)
        np_buf_free(&s->data);
    np_buf_reset(&s->data);
    s->view = NP_SPAN_NONE;
    s->name_n = 0;
    s->any_data = false;
}

void np_sse_reset(struct np_sse *s)
{
    forget_event(s);
    if (s->line.cap > KEPT_BYTES)
        np_buf_free(&s->line);
    np_buf_reset(&s->line);
    s->mark = 0;
    s->after_cr = false;
}

size_t np_sse_kept(const struct np_sse *s)
{
    return s->line.n + s->data.n;
}

static enum np_err put(struct np_buf *b, struct np_span bytes)
{
    return np_buf_span(b, bytes);
}

/* A view does not outlive its piece, nor does it grow. */
static enum np_err keep_view(struct np_sse *s)
{
    struct np_span view = s->view;
    s->view = NP_SPAN_NONE;
    return view.p ? put(&s->data, view) : NP_OK;
}

static enum np_err take_data(struct np_sse *s, struct np_span value, bool lasts)
{
    if (!s->any_data && lasts) {
        s->any_data = true;
        s->view = value;
        return value.n > NP_SSE_LINE_MAX ? NP_E_FULL : NP_OK;
    }
    enum np_err err = keep_view(s);
    if (!err && s->any_data)
        err = np_buf_char(&s->data, '\n');
    s->any_data = true;
    return err ? err : put(&s->data, value);
}

/* One line without its end. lasts: it is a view of the piece, not of `line`. */
static enum np_err take_line(struct np_sse *s, struct np_span line, bool lasts)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct np_span field = np_span_make(line.p, colon ? (size_t)(colon - line.p) : line.n);
    struct np_span value = NP_SPAN("");
    if (colon) {
        value = np_span_make(colon + 1, line.n - field.n - 1);
        if (value.n > 0 && value.p[0] == ' ')
            value = np_span_make(value.p + 1, value.n - 1);
    }
    if (np_span_is(field, "data"))
        return take_data(s, value, lasts);
    if (np_span_is(field, "event")) {
        s->name_n = (uint16_t)(value.n < NP_SSE_NAME_MAX ? value.n : NP_SSE_NAME_MAX);
        memcpy(s->name, value.p, s->name_n);
    }
    return NP_OK;
}

/* A line has ended: the event with it, where it is empty. False in *more: no more is wanted. */
static enum np_err end_line(struct np_sse *s, struct np_span line, bool lasts, np_sse_fn *fn,
                            void *ctx, bool *more)
{
    if (line.n > 0)
        return line.p[0] == ':' ? NP_OK : take_line(s, line, lasts);
    if (s->any_data) {
        struct np_span data = s->view.p ? s->view : np_buf_view(&s->data);
        *more = fn(ctx, np_span_make(s->name, s->name_n), data);
    }
    forget_event(s);
    return NP_OK;
}

/* Passes over a byte order mark at the very beginning; what turns out to be none is given back to
 * the line. */
static enum np_err skip_mark(struct np_sse *s, const char **p, const char *end)
{
    while (s->mark < sizeof mark && *p < end) {
        if (**p != mark[s->mark]) {
            enum np_err err = put(&s->line, np_span_make(mark, s->mark));
            s->mark = sizeof mark + 1;
            return err;
        }
        s->mark++;
        (*p)++;
    }
    return NP_OK;
}

/* The first CR or LF from p on, or end. The places of the next of each are kept over calls, so that a
 * piece is searched once for each. */
struct ends {
    const char *lf, *cr;
};

static const char *next_end(struct ends *e, const char *p, const char *end)
{
    if ((!e->lf || e->lf < p) && !(e->lf = memchr(p, '\n', (size_t)(end - p))))
        e->lf = end;
    if ((!e->cr || e->cr < p) && !(e->cr = memchr(p, '\r', (size_t)(end - p))))
        e->cr = end;
    return e->lf < e->cr ? e->lf : e->cr;
}

enum np_err np_sse_feed(struct np_sse *s, struct np_span piece, np_sse_fn *fn, void *ctx)
{
    const char *p = piece.p, *end = piece.p + piece.n;
    enum np_err err = skip_mark(s, &p, end);
    bool more = true;
    if (p < end) {
        p += s->after_cr && *p == '\n';
        s->after_cr = false;
    }
    struct ends ends = {NULL, NULL};
    while (!err && more && p < end) {
        const char *at = next_end(&ends, p, end);
        struct np_span line = np_span_make(p, (size_t)(at - p));
        bool lasts = s->line.n == 0;
        if (at == end || !lasts) {
            err = put(&s->line, line);
            line = np_buf_view(&s->line);
        }
        p = at;
        if (err || at == end)
            break;
        err = end_line(s, line, lasts, fn, ctx, &more);
        np_buf_reset(&s->line);
        p++;
        if (*at == '\r' && p < end && *p == '\n')
            p++;
        else
            s->after_cr = *at == '\r' && p == end;
    }
    return err ? err : more ? keep_view(s) : NP_OK;
}
