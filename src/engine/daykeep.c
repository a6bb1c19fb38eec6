/* The daybook as lines of text:
 *
 *     E HOUR counts bucket:n,bucket:n,… PATH      an endpoint's hour; "-" without latencies
 *     T DAY counts NAME    M DAY counts NAME      a tenant's day, a model's
 *     B DAY spent limit NAME                      an account at the end of a day
 *     S DAY LABEL                                 its report went there
 *     R DAY                                       the last report
 *
 * where counts are requests, failures, refusals, degraded, cost and presumed cost in nano-dollars. */
#include "engine/daybook_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 512

static const char kinds[] = {[NP_DAY_TENANT] = 'T', [NP_DAY_MODEL] = 'M', [NP_DAY_BUDGET] = 'B'};

/* --- writing ---------------------------------------------------------------------------------------- */

static void put_sum(struct np_buf *out, char kind, int64_t at, const struct np_till_sum *s)
{
    (void)np_buf_printf(
        out,
        "%c %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " ",
        kind, at, s->n, s->bad, s->refused, s->degraded, s->cost_nusd, s->presumed_nusd);
}

static void put_hours(const struct np_hours *h, struct np_buf *out)
{
    for (size_t i = 0; i < NP_DAYBOOK_HOURS; i++) {
        const struct np_hour *cell = &h->hour[i];
        if (cell->hour == 0)
            continue;
        put_sum(out, 'E', cell->hour, &cell->sum);
        if (cell->n_bins == 0)
            (void)np_buf_char(out, '-');
        for (size_t k = 0; k < cell->n_bins; k++)
            (void)np_buf_printf(out, "%s%" PRIu32 ":%" PRIu32, k ? "," : "", cell->bins[k].bucket,
                                cell->bins[k].n);
        (void)np_buf_printf(out, " %s\n", h->path);
    }
}

static void put_day(const struct np_day *d, struct np_buf *out)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct np_day_entry *e = &d->entry[i];
        if (e->kind == NP_DAY_BUDGET)
            (void)np_buf_printf(out, "B %" PRId64 " %" PRId64 " %" PRId64 " ", d->day,
                                e->sum.cost_nusd, e->limit_nusd);
        else
            put_sum(out, kinds[e->kind], d->day, &e->sum);
        (void)np_buf_printf(out, "%s\n", e->name);
    }
    for (const char *p = d->sent_to, *nl; (nl = strchr(p, '\n')) != NULL; p = nl + 1)
        (void)np_buf_printf(out, "S %" PRId64 " %.*s\n", d->day, (int)(nl - p), p);
}

void np_daybook_write(const struct np_daybook *b, struct np_buf *out)
{
    for (size_t i = 0; i < b->n_endpoints; i++)
        put_hours(b->endpoint[i], out);
    for (size_t i = 0; i < NP_DAYBOOK_DAYS; i++) {
        if (b->day[i].day > 0)
            put_day(&b->day[i], out);
    }
    if (b->last_report >= 0)
        (void)np_buf_printf(out, "R %" PRId64 "\n", b->last_report);
}

/* --- reading ---------------------------------------------------------------------------------------- */

/* The next number of a line, with the blank behind it; -1 where there is none. */
static int64_t number(const char **p)
{
    char *end;
    if (**p < '0' || **p > '9')
        return -1;
    long long v = strtoll(*p, &end, 10);
    if (*end != ' ' && *end != '\0')
        return -1;
    *p = end + (*end == ' ');
    return v;
}

static bool read_sum(const char **p, struct np_till_sum *s)
{
    int64_t n = number(p), bad = number(p), refused = number(p), degraded = number(p);
    s->cost_nusd = number(p);
    s->presumed_nusd = number(p);
    if (n < 0 || bad < 0 || refused < 0 || degraded < 0 || s->cost_nusd < 0 || s->presumed_nusd < 0)
        return false;
    s->n = (uint64_t)n;
    s->bad = (uint64_t)bad;
    s->refused = (uint64_t)refused;
    s->degraded = (uint64_t)degraded;
    return true;
}

/* "12:3,14:1 ": false where it is no such list. */
static bool read_bins(const char **p, struct np_hist *out)
{
    np_hist_clear(out);
    if (strncmp(*p, "- ", 2) == 0) {
        *p += 2;
        return true;
    }
    for (;;) {
        char *end;
        unsigned long bucket = strtoul(*p, &end, 10);
        if (end == *p || *end != ':' || bucket >= NP_HIST_BUCKETS)
            return false;
        const char *from = end + 1;
        unsigned long n = strtoul(from, &end, 10);
        if (end == from || n > UINT32_MAX || (*end != ',' && *end != ' '))
            return false;
        atomic_store_explicit(&out->count[bucket], (uint32_t)n, memory_order_relaxed);
        *p = end + 1;
        if (*end == ' ')
            return true;
    }
}

static bool is_name(const char *p)
{
    return *p && strlen(p) < NAME_BYTES && !strpbrk(p, " \t\n");
}

/* Of a sink; "file:/run/my hook" is one. It is the rest of its line. */
static bool is_label(const char *p)
{
    return *p && strlen(p) < NAME_BYTES && !strpbrk(p, "\t\n");
}

static bool read_hour(struct np_daybook *b, const char *p, int64_t wall_ms)
{
    struct np_till_sum sum;
    struct np_hist latency;
    int64_t hour = number(&p);
    if (hour < 0 || !read_sum(&p, &sum) || !read_bins(&p, &latency) || !is_name(p))
        return false;
    struct np_hours *h = np_daybook_hours(b, p);
    struct np_hour *cell = h ? np_daybook_hour(h, hour, wall_ms) : NULL;
    if (!cell || cell->sum.n > sum.n)
        return cell != NULL;
    cell->sum = sum;
    cell->n_bins = 0;
    return np_hour_merge(cell, &latency);
}

static bool read_entry(struct np_daybook *b, enum np_day_kind kind, const char *p, int64_t wall_ms)
{
    struct np_till_sum sum = {0};
    int64_t day = number(&p), limit = 0;
    if (kind == NP_DAY_BUDGET) {
        sum.cost_nusd = number(&p);
        limit = number(&p);
    } else if (!read_sum(&p, &sum)) {
        return false;
    }
    if (day < 0 || sum.cost_nusd < 0 || limit < 0 || !is_name(p))
        return false;
    struct np_day_entry *e = np_daybook_entry(b, day, kind, p, wall_ms);
    if (e && e->sum.n <= sum.n) {
        e->sum = sum;
        e->limit_nusd = limit;
    }
    return e != NULL;
}

bool np_daybook_read(struct np_daybook *b, const char *line, int64_t wall_ms)
{
    const char *p = line + 2;
    if (!line[0] || line[1] != ' ')
        return false;
    for (enum np_day_kind k = NP_DAY_TENANT; k <= NP_DAY_BUDGET; k++) {
        if (line[0] == kinds[k])
            return read_entry(b, k, p, wall_ms);
    }
    if (line[0] == 'E')
        return read_hour(b, p, wall_ms);
    int64_t day = number(&p);
    if (day < 0 || day > np_day_of(wall_ms))
        return false;
    if (line[0] == 'R')
        np_daybook_reported(b, day);
    else if (line[0] == 'S')
        return is_label(p) && np_daybook_sent(b, day, p, wall_ms);
    return line[0] == 'R';
}
