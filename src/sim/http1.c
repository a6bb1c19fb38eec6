/* Reading requests: small, strict enough for trusted clients, bounded. */
#include "sim/imitation_impl.h"

#include <stdlib.h>
#include <strings.h>

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

/* Joins the chunks at body in place. taken counts the bytes on the wire. */
static enum np_err join_chunks(char *body, size_t n, struct np_span *out, size_t *taken)
{
    size_t at = 0, length = 0;
    for (;;) {
        char *eol = memmem(body + at, n - at, "\r\n", 2);
        if (!eol)
            return n - at > 1024 ? NP_E_SYNTAX : NP_E_BUSY;
        char *stop;
        unsigned long size = strtoul(body + at, &stop, 16);
        if (stop == body + at || size > NP_SIM_BODY_MAX || length + size > NP_SIM_BODY_MAX)
            return NP_E_SYNTAX;
        at = (size_t)(eol - body) + 2;
        if (n - at < size + 2)
            return NP_E_BUSY;
        memmove(body + length, body + at, size);
        length += size;
        at += size + 2;
        if (size == 0)
            break;
    }
    *out = np_span_make(body, length);
    *taken = at;
    return NP_OK;
}

/* "POST /path?query HTTP/1.1" */
static enum np_err request_line(struct np_span line, struct np_sim_request *out)
{
    const char *end = line.p + line.n;
    const char *a = memchr(line.p, ' ', line.n);
    const char *b = a ? memchr(a + 1, ' ', (size_t)(end - a - 1)) : NULL;
    if (!b || end - b < 9)
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
    char *blank = memmem(in, n, "\r\n\r\n", 4);
    if (!blank)
        return n > NP_SIM_HEAD_MAX ? NP_E_FULL : NP_E_BUSY;
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
