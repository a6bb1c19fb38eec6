/* From Prometheus' text to OTLP's metrics (field numbers of opentelemetry-proto's metrics.proto). Sums and
 * histograms are cumulative, as they are in the text. */
#include "metrics/otlp.h"

#include "metrics/meters_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define METRICS 2 /* ScopeMetrics.metrics */
#define LABELS 8
#define VALUE_BYTES 512

enum { POINT_ATTRS = 7, HIST_ATTRS = 9 };
enum { CUMULATIVE = 2 };

/* The names that conventions have for families of ours. */
static const struct convention {
    const char *family, *name, *unit;
} conventions[] = {
    {"gen_ai_client_operation_duration_seconds", "gen_ai.client.operation.duration", "s"},
    {"gen_ai_client_operation_time_to_first_chunk_seconds",
     "gen_ai.client.operation.time_to_first_chunk", "s"},
    {"gen_ai_client_token_usage", "gen_ai.client.token.usage", "{token}"},
};

struct family {
    struct np_span name, help, type;
    const struct convention *convention; /* NULL: our own names */
    bool whole;                          /* its values are whole numbers */
};

struct sample {
    struct np_span name, labels, value;
};

struct reader {
    struct np_otlp *o;
    const struct np_otlp_scrape *scrape;
    struct np_span rest;
    struct np_span line; /* the next, not yet taken */
};

/* --- lines ----------------------------------------------------------------------------------------- */

static bool look(struct reader *r)
{
    if (r->rest.n == 0)
        return false;
    const char *end = memchr(r->rest.p, '\n', r->rest.n);
    r->line = np_span_make(r->rest.p, end ? (size_t)(end - r->rest.p) : r->rest.n);
    return true;
}

static void take(struct reader *r)
{
    size_t n = r->line.n + (r->line.n < r->rest.n);
    r->rest = np_span_make(r->rest.p + n, r->rest.n - n);
}

static struct np_span cut(struct np_span *s, char at)
{
    const char *end = s->n > 0 ? memchr(s->p, at, s->n) : NULL;
    struct np_span head = np_span_make(s->p, end ? (size_t)(end - s->p) : s->n);
    size_t n = head.n + (end != NULL);
    *s = np_span_make(s->p + n, s->n - n);
    return head;
}

/* "name{labels} value"; the value has no blanks, label values may. */
static bool read_sample(struct np_span line, struct sample *out)
{
    size_t at = line.n;
    while (at > 0 && line.p[at - 1] != ' ')
        at--;
    if (at < 2)
        return false;
    out->value = np_span_make(line.p + at, line.n - at);
    struct np_span head = np_span_make(line.p, at - 1);
    out->name = cut(&head, '{');
    out->labels = head.n > 0 ? np_span_make(head.p, head.n - 1) : NP_SPAN_NONE;
    return true;
}

static double number(struct np_span s)
{
    char text[64];
    if (s.n >= sizeof text)
        return NAN;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return strtod(text, NULL); /* reads "+Inf" and "NaN", too */
}

/* --- labels ---------------------------------------------------------------------------------------- */

/* The next name="value" of labels, the value without its escapes. */
static bool next_label(struct np_span *labels, char name[64], char value[VALUE_BYTES])
{
    if (labels->n == 0)
        return false;
    struct np_span key = cut(labels, '=');
    (void)snprintf(name, 64, "%.*s", (int)key.n, key.p);
    size_t n = 0, i = 1;
    for (; i < labels->n && labels->p[i] != '"'; i++) {
        char c = labels->p[i];
        if (c == '\\' && i + 1 < labels->n) {
            c = labels->p[++i];
            c = c == 'n' ? '\n' : c;
        }
        if (n + 1 < VALUE_BYTES)
            value[n++] = c;
    }
    value[n] = '\0';
    i += i < labels->n; /* the quote */
    i += i < labels->n && labels->p[i] == ',';
    *labels = np_span_make(labels->p + i, labels->n - i);
    return true;
}

/* What the conventions say instead of provider, model, class and type. */
static void put_convention(struct reader *r, unsigned field, struct np_span labels)
{
    char name[64], value[VALUE_BYTES], provider[VALUE_BYTES] = "", model[VALUE_BYTES] = "";
    while (next_label(&labels, name, value)) {
        if (strcmp(name, "provider") == 0)
            (void)snprintf(provider, sizeof provider, "%s", value);
        else if (strcmp(name, "model") == 0)
            (void)snprintf(model, sizeof model, "%s", value);
        else if (strcmp(name, "type") == 0)
            np_otlp_attr(r->o, field, "gen_ai.token.type", np_span_of(value));
        else if (strcmp(name, "class") == 0 && strcmp(value, "ok") != 0)
            np_otlp_attr(r->o, field, "error.type", np_span_of(value));
    }
    r->scrape->model(r->scrape->ctx, r->o, field, np_span_of(provider), np_span_of(model));
}

static void put_labels(struct reader *r, const struct family *f, unsigned field,
                       struct np_span labels)
{
    char name[64], value[VALUE_BYTES];
    np_otlp_list(r->o, "attributes");
    if (f->convention)
        put_convention(r, field, labels);
    else
        while (next_label(&labels, name, value))
            np_otlp_attr(r->o, field, name, np_span_of(value));
    np_otlp_list_end(r->o);
}

static void put_times(struct reader *r, bool counts)
{
    if (counts)
        np_otlp_fixed(r->o, 2, "startTimeUnixNano", r->scrape->start_ns);
    np_otlp_fixed(r->o, 3, "timeUnixNano", r->scrape->now_ns);
}

/* --- points ---------------------------------------------------------------------------------------- */

static void put_point(struct reader *r, const struct family *f, const struct sample *s, bool counts)
{
    double v = number(s->value);
    if (isnan(v))
        return;
    np_otlp_begin(r->o, 1, NULL);
    put_labels(r, f, POINT_ATTRS, s->labels);
    put_times(r, counts);
    if (f->whole)
        np_otlp_fixed(r->o, 6, "asInt", strtoull(s->value.p, NULL, 10));
    else
        np_otlp_double(r->o, 4, "asDouble", v);
    np_otlp_end(r->o);
}

/* One histogram: its buckets in order, then _sum and _count. The bound of a bucket is its last label. */
struct hist {
    double bound[NP_METER_BUCKETS];
    uint64_t count[NP_METER_BUCKETS + 1], before;
    size_t n_bounds, n_counts;
};

static struct np_span before_bound(struct np_span labels, double *bound)
{
    static const char mark[] = "le=\"";
    for (size_t at = labels.n; at-- > 0;) {
        struct np_span tail = np_span_make(labels.p + at, labels.n - at);
        if (np_span_starts(tail, mark)) {
            *bound = number(np_span_make(tail.p + 4, tail.n - 5));
            return np_span_make(labels.p, at > 0 ? at - 1 : 0);
        }
    }
    return labels;
}

static void take_bucket(struct hist *h, const struct sample *s)
{
    double bound = INFINITY;
    (void)before_bound(s->labels, &bound);
    if (h->n_counts > NP_METER_BUCKETS)
        return;
    uint64_t so_far = strtoull(s->value.p, NULL, 10);
    h->count[h->n_counts++] = so_far - h->before;
    h->before = so_far;
    if (isfinite(bound) && h->n_bounds < NP_METER_BUCKETS)
        h->bound[h->n_bounds++] = bound;
}

static void put_hist(struct reader *r, const struct family *f, const struct hist *h,
                     struct np_span labels, double sum, uint64_t count)
{
    np_otlp_begin(r->o, 1, NULL);
    put_labels(r, f, HIST_ATTRS, labels);
    put_times(r, true);
    np_otlp_fixed(r->o, 4, "count", count);
    np_otlp_double(r->o, 5, "sum", sum);
    np_otlp_fixeds(r->o, 6, "bucketCounts", h->count, h->n_counts);
    np_otlp_doubles(r->o, 7, "explicitBounds", h->bound, h->n_bounds);
    np_otlp_end(r->o);
}

static bool ends_in(struct np_span s, const char *end)
{
    size_t n = strlen(end);
    return s.n >= n && memcmp(s.p + s.n - n, end, n) == 0;
}

static void put_hists(struct reader *r, const struct family *f)
{
    struct hist h = {0};
    struct sample s;
    double sum = 0;
    for (; look(r) && r->line.n > 0 && r->line.p[0] != '#'; take(r)) {
        if (!read_sample(r->line, &s))
            continue;
        if (ends_in(s.name, "_bucket"))
            take_bucket(&h, &s);
        else if (ends_in(s.name, "_sum"))
            sum = number(s.value);
        else {
            put_hist(r, f, &h, s.labels, sum, strtoull(s.value.p, NULL, 10));
            h = (struct hist){0};
        }
    }
}

static void put_points(struct reader *r, const struct family *f, bool counts)
{
    struct sample s;
    for (; look(r) && r->line.n > 0 && r->line.p[0] != '#'; take(r))
        if (read_sample(r->line, &s))
            put_point(r, f, &s, counts);
}

/* --- families -------------------------------------------------------------------------------------- */

/* Units that a name says already are not added to it by whoever shows it, if they are said in UCUM. */
static const char *unit_of(const struct family *f)
{
    if (f->convention)
        return f->convention->unit;
    if (ends_in(f->name, "_seconds") || ends_in(f->name, "_seconds_total"))
        return "s";
    return ends_in(f->name, "_bytes") ? "By" : NULL;
}

static void put_head(struct reader *r, const struct family *f)
{
    const char *unit = unit_of(f);
    np_otlp_text(r->o, 1, "name", f->convention ? np_span_of(f->convention->name) : f->name);
    np_otlp_text(r->o, 2, "description", f->help);
    if (unit)
        np_otlp_text(r->o, 3, "unit", np_span_of(unit));
}

static void put_family(struct reader *r, const struct family *f)
{
    bool hist = np_span_is(f->type, "histogram"), counts = np_span_is(f->type, "counter");
    np_otlp_begin(r->o, METRICS, NULL);
    put_head(r, f);
    np_otlp_begin(r->o, hist ? 9 : counts ? 7 : 5, hist ? "histogram" : counts ? "sum" : "gauge");
    np_otlp_list(r->o, "dataPoints");
    if (hist)
        put_hists(r, f);
    else
        put_points(r, f, counts);
    np_otlp_list_end(r->o);
    if (hist || counts)
        np_otlp_enum(r->o, 2, "aggregationTemporality", CUMULATIVE);
    if (counts)
        np_otlp_bool(r->o, 3, "isMonotonic", true);
    np_otlp_end(r->o);
    np_otlp_end(r->o);
}

/* "# HELP name text" or "# TYPE name type". */
static bool read_comment(struct np_span line, const char *kind, struct np_span *name,
                         struct np_span *what)
{
    if (!np_span_starts(line, "# ") || !np_span_starts(np_span_make(line.p + 2, line.n - 2), kind))
        return false;
    struct np_span rest = np_span_make(line.p + 7, line.n > 7 ? line.n - 7 : 0);
    *name = cut(&rest, ' ');
    *what = rest;
    return true;
}

static void learn(struct family *f)
{
    f->convention = NULL;
    for (size_t i = 0; i < sizeof conventions / sizeof *conventions; i++) {
        if (np_span_is(f->name, conventions[i].family))
            f->convention = &conventions[i];
    }
    f->whole = np_span_is(f->type, "counter") && !ends_in(f->name, "_usd_total") &&
               !ends_in(f->name, "_seconds_total");
}

void np_otlp_metrics(struct np_otlp *o, struct np_span text, const struct np_otlp_scrape *s)
{
    struct reader r = {.o = o, .scrape = s, .rest = text};
    struct family f = {0};
    while (look(&r)) {
        struct np_span line = r.line, name;
        take(&r);
        if (read_comment(line, "HELP ", &name, &f.help) ||
            !read_comment(line, "TYPE ", &f.name, &f.type))
            continue;
        learn(&f);
        if (look(&r) && r.line.n > 0 && r.line.p[0] != '#')
            put_family(&r, &f);
    }
}
