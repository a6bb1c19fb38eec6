/* The query of /api/requests, read strictly: an unknown name is a mistake, not nothing. */
#include "engine/requests.h"

#include "engine/explain.h"

#include <stdio.h>

#define LIMIT 50
#define LIMIT_MAX 1000
#define VALUE_BYTES 512
#define TELL "/explain"
#define RECORD_BYTES ((size_t)8 << 20)

bool np_requests_is(struct np_span path)
{
    return np_span_is(path, NP_REQUESTS_PATH) || np_span_starts(path, NP_REQUESTS_PATH "/");
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A value without its percent signs, in the bytes at out; false: it is malformed or too long. */
static bool decode(struct np_span raw, char out[VALUE_BYTES], struct np_span *value)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.n && n < VALUE_BYTES; i++) {
        char c = raw.p[i] == '+' ? ' ' : raw.p[i];
        if (c == '%') {
            int high = i + 2 < raw.n ? hex(raw.p[i + 1]) : -1;
            int low = i + 2 < raw.n ? hex(raw.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[n++] = c;
    }
    *value = np_span_make(out, n);
    return n < VALUE_BYTES;
}

struct asked {
    struct np_recent_query q;
    char values[5][VALUE_BYTES];
};

/* One name=value of the query. */
static bool read_pair(struct asked *a, struct np_span pair, char why[NP_REQUESTS_WHY])
{
    static const char *const names[] = {"limit", "endpoint", "tenant", "outcome", "before"};
    const char *mark = memchr(pair.p, '=', pair.n);
    struct np_span name = np_span_make(pair.p, mark ? (size_t)(mark - pair.p) : pair.n);
    struct np_span raw =
        mark ? np_span_make(mark + 1, pair.n - name.n - 1) : np_span_make(pair.p + pair.n, 0);
    struct np_span limit,
        *into[] = {&limit, &a->q.endpoint, &a->q.tenant, &a->q.outcome, &a->q.before};
    unsigned long long number;
    size_t i = 0;
    while (i < 5 && !np_span_is(name, names[i]))
        i++;
    if (i == 5) {
        (void)snprintf(
            why, NP_REQUESTS_WHY,
            "the query may have limit, endpoint, tenant, outcome and before, nothing else");
        return false;
    }
    if (!decode(raw, a->values[i], into[i])) {
        (void)snprintf(why, NP_REQUESTS_WHY, "%s is malformed or longer than %d bytes", names[i],
                       VALUE_BYTES - 1);
        return false;
    }
    if (i > 0)
        return true;
    if (!np_span_to_u64(limit, &number) || number < 1 || number > LIMIT_MAX) {
        (void)snprintf(why, NP_REQUESTS_WHY, "limit must be a whole number from 1 to %d",
                       LIMIT_MAX);
        return false;
    }
    a->q.limit = (size_t)number;
    return true;
}

static bool list(struct np_recent *r, struct np_span query, struct np_buf *out,
                 enum np_refusal_type *type, char why[NP_REQUESTS_WHY])
{
    struct asked a = {.q = {.limit = LIMIT}};
    *type = NP_REFUSAL_invalid_request;
    while (query.n > 0) {
        const char *end = memchr(query.p, '&', query.n);
        size_t n = end ? (size_t)(end - query.p) : query.n;
        if (n > 0 && !read_pair(&a, np_span_make(query.p, n), why))
            return false;
        n += end != NULL;
        query = np_span_make(query.p + n, query.n - n);
    }
    if (np_recent_list(r, &a.q, out) == NP_OK)
        return true;
    (void)snprintf(why, NP_REQUESTS_WHY,
                   "before must be the id of a request that is kept in memory: the newest %zu are",
                   np_recent_max(r));
    return false;
}

bool np_requests_tells(struct np_span path)
{
    size_t n = sizeof TELL - 1;
    return np_requests_is(path) && path.n > sizeof NP_REQUESTS_PATH + n &&
           memcmp(path.p + path.n - n, TELL, n) == 0;
}

/* How many records were found, as np_recent_get says; of one, what neap explain tells is appended. */
static unsigned tell(struct np_recent *r, struct np_span id, struct np_buf *out)
{
    struct np_buf record;
    np_buf_init(&record, RECORD_BYTES);
    unsigned found = np_recent_get(r, id, &record);
    if (found == 1)
        np_explain_tell(out, np_buf_view(&record));
    np_buf_free(&record);
    return found;
}

bool np_requests_answer(struct np_recent *r, struct np_span path, struct np_span query,
                        struct np_buf *out, enum np_refusal_type *type, char why[NP_REQUESTS_WHY])
{
    size_t n = sizeof NP_REQUESTS_PATH; /* with the slash */
    if (path.n < n)
        return list(r, query, out, type, why);
    bool tells = np_requests_tells(path);
    struct np_span id = np_span_make(path.p + n, path.n - n - (tells ? sizeof TELL - 1 : 0));
    unsigned found = tells ? tell(r, id, out) : np_recent_get(r, id, out);
    if (found == 1)
        return true;
    *type = found ? NP_REFUSAL_conflict : NP_REFUSAL_not_found;
    if (found)
        (void)snprintf(why, NP_REQUESTS_WHY, "more than one id begins so, give more of it");
    else
        (void)snprintf(
            why, NP_REQUESTS_WHY,
            "no such request is kept in memory: the newest %zu are, older ones are in the "
            "files of --decisions",
            np_recent_max(r));
    return false;
}
