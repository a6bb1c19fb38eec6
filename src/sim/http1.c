/* Reading requests: small, strict enough for trusted clients, bounded. */
#include "sim/imitation_impl.h"

#include <ctype.h>
#include <strings.h>

/* A chunk's first line, or a trailer. */
#define CHUNK_LINE_MAX 1024

static struct np_span trim(struct np_span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
        s.n--;
    return s;
}

/* The value of the first header of this name in the head's lines; p NULL. */
static struct np_span header(struct np_span head, const char *name)
{
    const char *p = head.p;
    const char *end = head.p + head.n;
    size_t len = strlen(name);
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        eol = eol ? eol : end;
        if ((size_t)(eol - p) > len && strncasecmp(p, name, len) == 0 && p[len] == ':')
            return trim(np_span_make(p + len + 1, (size_t)(eol - p) - len - 1));
        p = eol + 1;
    }
    return NP_SPAN_NONE;
}

/* The size in a chunk's first line, which may have an extension after a semicolon. */
static enum np_err chunk_size(struct np_span line, size_t *out)
{
    size_t size = 0, i = 0;
    for (; i < line.n && isxdigit((unsigned char)line.p[i]); i++) {
        int c = tolower((unsigned char)line.p[i]);
        size = size * 16 + (size_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        if (size > NP_SIM_BODY_MAX)
            return NP_E_FULL;
    }
    *out = size;
    return i > 0 && (i == line.n || line.p[i] == ';') ? NP_OK : NP_E_SYNTAX;
}

/* The line at *at without its end; *at moves behind it. */
static enum np_err take_line(struct np_span in, size_t *at, struct np_span *line)
{
    const char *p = in.p + *at;
    const char *eol = memmem(p, in.n - *at, "\r\n", 2);
    size_t n = eol ? (size_t)(eol - p) : in.n - *at;
    if (n > CHUNK_LINE_MAX)
        return NP_E_SYNTAX;
    if (!eol)
        return NP_E_BUSY;
    *line = np_span_make(p, n);
    *at += n + 2;
    return NP_OK;
}

/* Walks over the chunks in body; to where it is not NULL, which may be body's own bytes, they are
 * moved. *length is that of what they hold, *taken counts the bytes on the wire. */
static enum np_err walk_chunks(struct np_span body, char *to, size_t *length, size_t *taken)
{
    struct np_span line;
    size_t at = 0, size = 0;
    *length = 0;
    do {
        enum np_err err = take_line(body, &at, &line);
        if (!err)
            err = chunk_size(line, &size);
        if (!err && *length + size > NP_SIM_BODY_MAX)
            err = NP_E_FULL;
        if (err)
            return err;
        if (size == 0)
            break;
        if (body.n - at < size + 2)
            return NP_E_BUSY;
        if (memcmp(body.p + at + size, "\r\n", 2) != 0)
            return NP_E_SYNTAX;
        if (to)
            memmove(to + *length, body.p + at, size);
        *length += size;
        at += size + 2;
    } while (true);
    do { /* trailers */
        enum np_err err = take_line(body, &at, &line);
        if (err)
            return err;
    } while (line.n > 0);
    *taken = at;
    return NP_OK;
}

/* Joins the chunks at body in place, once all of them are there: until then the bytes stay as they
 * came, for they are read anew with the next ones. */
static enum np_err join_chunks(char *body, size_t n, struct np_span *out, size_t *taken)
{
    size_t length;
    enum np_err err = walk_chunks(np_span_make(body, n), NULL, &length, taken);
    if (err)
        return err;
    err = walk_chunks(np_span_make(body, n), body, &length, taken);
    *out = np_span_make(body, length);
    return err;
}

/* "POST /path?query HTTP/1.1" */
static enum np_err request_line(struct np_span line, struct np_sim_request *out)
{
    const char *end = line.p + line.n;
    const char *a = memchr(line.p, ' ', line.n);
    const char *b = a ? memchr(a + 1, ' ', (size_t)(end - a - 1)) : NULL;
    if (!b || end - b != 9 || memcmp(b, " HTTP/1.", 8) != 0)
        return NP_E_SYNTAX;
    out->method = np_span_make(line.p, (size_t)(a - line.p));
    out->path = np_span_make(a + 1, (size_t)(b - a - 1));
    const char *q = memchr(out->path.p, '?', out->path.n);
    if (q)
        out->path.n = (size_t)(q - out->path.p);
    out->keep_alive = b[8] == '1';
    return NP_OK;
}

enum np_err np_sim_request_read(char *in, size_t n, struct np_sim_request *out)
{
    char *blank = memmem(in, n < NP_SIM_HEAD_MAX ? n : NP_SIM_HEAD_MAX, "\r\n\r\n", 4);
    if (!blank)
        return n >= NP_SIM_HEAD_MAX ? NP_E_FULL : NP_E_BUSY;
    char *eol = memmem(in, n, "\r\n", 2);
    struct np_span head = np_span_make(eol + 2, (size_t)(blank + 2 - (eol + 2)));
    if (blank == eol)
        head.n = 0;
    if (request_line(np_span_make(in, (size_t)(eol - in)), out) != NP_OK)
        return NP_E_SYNTAX;
    struct np_span connection = header(head, "connection");
    if (connection.p && np_span_eq_nocase(connection, NP_SPAN("close")))
        out->keep_alive = false;
    char *body = blank + 4;
    size_t have = n - (size_t)(body - in);
    size_t taken = 0;
    if (header(head, "transfer-encoding").p) {
        enum np_err err = join_chunks(body, have, &out->body, &taken);
        if (err)
            return err;
    } else {
        unsigned long long length = 0;
        struct np_span value = header(head, "content-length");
        if (value.p && !np_span_to_u64(value, &length))
            return NP_E_SYNTAX;
        if (length > NP_SIM_BODY_MAX)
            return NP_E_FULL;
        if (have < length)
            return NP_E_BUSY;
        taken = (size_t)length;
        out->body = np_span_make(body, taken);
    }
    out->bytes = (size_t)(body - in) + taken;
    return NP_OK;
}
