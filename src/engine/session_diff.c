/* .diff: two sets on recorded requests, each on a ground of its own. What providers answered is taken
 * from the records; a model that a record did not ask gets answers that it gave elsewhere. */
#include "engine/session_records.h"

#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LAST 500
#define MOST 100000
#define SAMPLES 3 /* answers for a model that was not asked */
#define KEPT_DIFFERENCES 200
#define MOST_GAP_MS INT64_C(86400000)

/* What was ever answered by a model. */
struct pool {
    const struct np_model *model;
    char **answers;
    size_t n, cap;
};

/* One of the two sides. */
struct side {
    struct np_play *play;
    struct np_buf run;
    int64_t cost_nusd;
    unsigned degraded;
    int64_t *latency_ms;
};

struct diff {
    struct neap_session *s;
    struct np_records records;
    struct pool *pools;
    size_t n_pools;
    struct side old, new;
    size_t done, same, left_out, made_up, undecided;
    int64_t before_ms; /* wall time of the request before; -1: none */
};

/* --- pools ------------------------------------------------------------------------------------------- */

static struct pool *pool_of(struct diff *d, struct np_span model)
{
    for (size_t i = 0; i < d->n_pools; i++) {
        if (np_span_is(model, d->pools[i].model->name))
            return &d->pools[i];
    }
    return NULL;
}

static void add_answers(struct diff *d, struct np_span record)
{
    struct np_span attempt;
    for (struct np_json_walk k = np_json_walk(np_session_record_attempts(record));
         np_json_item(&k, &attempt);) {
        struct pool *p = pool_of(d, np_session_attempt_model(attempt));
        char *answer = p ? np_session_attempt_answer(record, attempt) : NULL;
        if (!answer)
            continue;
        if (p->n == p->cap) {
            p->cap = p->cap ? 2 * p->cap : 64;
            p->answers = realloc(p->answers, p->cap * sizeof *p->answers);
            np_require(p->answers);
        }
        p->answers[p->n++] = answer;
    }
}

static void fill_pools(struct diff *d, size_t from)
{
    const struct np_catalog *c = np_session_catalog(d->s);
    d->pools = calloc(c->n_models, sizeof *d->pools);
    np_require(d->pools);
    d->n_pools = c->n_models;
    for (size_t i = 0; i < c->n_models; i++)
        d->pools[i].model = &c->models[i];
    for (size_t i = from; i < d->records.n; i++)
        add_answers(d, d->records.line[i]);
}

static void free_pools(struct diff *d)
{
    for (size_t i = 0; i < d->n_pools; i++) {
        for (size_t k = 0; k < d->pools[i].n; k++)
            free(d->pools[i].answers[k]);
        free(d->pools[i].answers);
    }
    free(d->pools);
}

/* --- one request ------------------------------------------------------------------------------------- */

/* What each model answers: as in the record, then as it did elsewhere; the same for both sides. */
static void put_providers(struct diff *d, struct np_json_w *w, struct np_span record, size_t number)
{
    struct np_rng rng;
    np_rng_seed(&rng, d->s->scene.deed->seed ^ (uint64_t)number << 20);
    np_json_w_begin_key(w, "providers", '{');
    for (size_t i = 0; i < d->n_pools; i++) {
        const struct pool *p = &d->pools[i];
        np_json_w_begin_key(w, p->model->name, '[');
        size_t n = np_session_record_answers(w, record, np_span_of(p->model->name));
        for (; n < SAMPLES && p->n > 0; n++)
            np_json_w_raw(w, NULL, np_span_of(p->answers[np_rng_below(&rng, p->n)]));
        np_json_w_end(w, ']');
    }
    np_json_w_end(w, '}');
}

/* The time since the request before. */
static int64_t gap_ms(struct diff *d, struct np_span record)
{
    struct np_span at;
    char text[40];
    if (!np_json_get(record, "at", &at))
        return 0;
    (void)snprintf(text, sizeof text, "%.*s", (int)np_json_inner(at).n, np_json_inner(at).p);
    int64_t now = np_clock_parse_utc(text), before = d->before_ms;
    if (now < 0)
        return 0;
    d->before_ms = now;
    if (before < 0 || now < before)
        return 0;
    return now - before < MOST_GAP_MS ? now - before : MOST_GAP_MS;
}

static char *given_of(struct diff *d, struct np_span record, size_t number, bool *whole)
{
    char *request = np_session_record_request(record, whole);
    if (!request)
        return NULL;
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    np_json_w_raw(&w, "request", np_span_of(request));
    np_json_w_i64(&w, "after_ms", gap_ms(d, record));
    put_providers(d, &w, record, number);
    np_json_w_end(&w, '}');
    char *given = np_buf_failed(&b) ? NULL : np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
    free(request);
    return given;
}

static bool play_one(struct side *side, const char *given, size_t number)
{
    struct np_span value;
    int64_t ms = 0;
    np_buf_reset(&side->run);
    if (np_play_run(side->play, np_span_of(given), &side->run))
        return false;
    struct np_span run = np_buf_view(&side->run);
    int64_t nusd;
    if (np_json_get(run, "cost_usd", &value) && np_money_parse(value, 9, &nusd) == NP_OK)
        side->cost_nusd += nusd;
    if (np_json_get(run, "degraded", &value))
        side->degraded += np_json_kind(value) == NP_JSON_TRUE;
    if (np_json_get(run, "latency_ms", &value))
        (void)!np_json_i64(value, &ms);
    side->latency_ms[number] = ms;
    return true;
}

/* Keeps how both sides went, for .show. */
static void keep(struct diff *d, struct np_span record)
{
    struct neap_session *s = d->s;
    struct np_buf b;
    if (s->n_differences == KEPT_DIFFERENCES)
        return;
    struct np_span id = np_session_record_id(record), was = np_play_shown(d->old.play),
                   is = np_play_shown(d->new.play);
    np_buf_init(&b, NP_SESSION_TEXT_BYTES);
    np_buf_printf(&b, "%.*s\nbefore:\n%.*snow:\n%.*s", (int)id.n, id.p, (int)was.n, was.p,
                  (int)is.n, is.p);
    s->differences[s->n_differences++] = np_session_copy(np_buf_view(&b));
    np_buf_free(&b);
}

static void compare_one(struct diff *d, struct np_span record, size_t number)
{
    bool whole = true;
    if (!np_session_record_was_decided(record)) {
        d->undecided++;
        return;
    }
    char *given = given_of(d, record, number, &whole);
    if (!given || !play_one(&d->old, given, d->done) || !play_one(&d->new, given, d->done)) {
        d->left_out++;
    } else {
        bool same = np_session_is_same(np_buf_view(&d->old.run), np_buf_view(&d->new.run));
        d->same += same;
        d->made_up += !whole;
        if (!same)
            keep(d, record);
        d->done++;
    }
    free(given);
}

/* --- the report -------------------------------------------------------------------------------------- */

static int compare_ms(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int64_t p95(struct side *side, size_t n)
{
    if (n == 0)
        return 0;
    qsort(side->latency_ms, n, sizeof *side->latency_ms, compare_ms);
    return side->latency_ms[(n - 1) * 95 / 100];
}

static void report(struct diff *d)
{
    struct neap_session *s = d->s;
    char money[NP_MONEY_TEXT];
    int64_t more = d->new.cost_nusd - d->old.cost_nusd;
    int64_t later = p95(&d->new, d->done) - p95(&d->old, d->done);
    (void)np_money_format(more < 0 ? -more : more, money);
    np_session_say(s, "%s%zu requests%s: %zu same, %zu differ", np_session_style(s, NP_STYLE_BOLD),
                   d->done, np_session_style(s, NP_STYLE_OFF), d->same, d->done - d->same);
    np_session_say(s, "   cost %s$%s", more < 0 ? "-" : "+", money);
    if (d->old.cost_nusd > 0)
        np_session_say(s, " (%+lld %%)", (long long)(more * 100 / d->old.cost_nusd));
    np_session_say(s, "   degraded %u -> %u   p95 %+lld ms%s\n", d->old.degraded, d->new.degraded,
                   (long long)later, d->done > d->same ? "   .show 1" : "");
    if (d->made_up > 0)
        np_session_say(
            s,
            "%zu of them were recorded without their text: prompts of the same size stood for "
            "them, without metadata (neap serve --record-bodies keeps both)\n",
            d->made_up);
    if (d->undecided > 0)
        np_session_say(s,
                       "%zu were left out: they were refused before a hook was asked, as where "
                       "there is no such endpoint\n",
                       d->undecided);
    if (d->left_out > 0)
        np_session_say(s,
                       "%zu were left out: their tenant or endpoint is in no set, or they are not "
                       "understood\n",
                       d->left_out);
}

/* --- the command ------------------------------------------------------------------------------------- */

static bool open_side(struct side *side, struct np_policyset *set, uint64_t seed, size_t n)
{
    np_buf_init(&side->run, NP_SESSION_TEXT_BYTES);
    side->play = np_play_new(set, seed);
    side->latency_ms = calloc(n ? n : 1, sizeof *side->latency_ms);
    return side->play && side->latency_ms;
}

static void close_side(struct side *side)
{
    np_play_free(side->play);
    np_buf_free(&side->run);
    free(side->latency_ms);
}

static void forget_differences(struct neap_session *s)
{
    for (size_t i = 0; i < s->n_differences; i++)
        free(s->differences[i]);
    s->n_differences = 0;
}

static bool compare(struct neap_session *s, struct np_policyset *old, struct np_records records,
                    size_t last)
{
    struct diff d = {.s = s, .records = records, .before_ms = -1};
    size_t from = last < records.n ? records.n - last : 0;
    uint64_t seed = s->scene.deed->seed;
    bool ok = open_side(&d.old, old, seed, records.n) &&
              open_side(&d.new, np_session_set_of(s), seed, records.n);
    forget_differences(s);
    fill_pools(&d, 0);
    for (size_t i = from; ok && i < records.n && !s->interrupted; i++)
        compare_one(&d, records.line[i], i);
    if (!ok)
        (void)np_session_fail(s, "no memory for two grounds");
    else
        report(&d);
    if (s->interrupted)
        ok = np_session_fail(s, "stopped by Ctrl-C");
    free_pools(&d);
    close_side(&d.old);
    close_side(&d.new);
    return ok;
}

/* What .diff is told. */
struct order {
    char *target, *file; /* malloc'ed */
    size_t last;
};

static bool read_order(struct neap_session *s, struct np_span args, struct order *o)
{
    struct np_span word;
    unsigned long long n;
    *o = (struct order){.last = LAST};
    while ((word = np_session_word(&args)).n > 0) {
        if (np_span_is(word, "--last")) {
            word = np_session_word(&args);
            if (!np_span_to_u64(word, &n) || n == 0 || n > MOST)
                return np_session_fail(s, "--last wants a number from 1 to %d", MOST);
            o->last = (size_t)n;
        } else if (!o->target) {
            o->target = np_session_copy(word);
        } else if (!o->file) {
            o->file = np_session_copy(word);
        } else {
            return np_session_fail(s, ".diff takes a set, perhaps a file of records, and --last N");
        }
    }
    if (!o->target)
        return np_session_fail(
            s, ".diff wants another set, a folder or a commit: .diff HEAD~1 --last 500");
    if (!o->file && s->o.decisions)
        o->file = np_session_copy(np_span_of(s->o.decisions));
    return o->file
               ? true
               : np_session_fail(s,
                                 "which decision records? .diff %s FILE, or neap repl --decisions "
                                 "FILE",
                                 o->target);
}

static struct np_policyset *load_other(struct neap_session *s, const char *target)
{
    struct stat st;
    struct np_buf problems;
    bool folder = stat(target, &st) == 0 && S_ISDIR(st.st_mode);
    char *made = folder ? NULL : np_session_git_folder(s, s->o.dir, target);
    if (!folder && !made)
        return NULL;
    np_buf_init(&problems, NP_SESSION_TEXT_BYTES);
    struct np_policyset *set = np_session_load_set(s, made ? made : target, &problems);
    if (!set)
        (void)np_session_fail(s, "%.*s%s does not load", (int)problems.n,
                              problems.n ? problems.p : "", target);
    np_buf_free(&problems);
    np_session_git_drop(made);
    return set;
}

bool np_session_diff(struct neap_session *s, struct np_span args)
{
    struct order o;
    struct np_records records = {0};
    struct np_policyset *old = NULL;
    bool ok = read_order(s, args, &o) && (old = load_other(s, o.target)) != NULL &&
              np_session_records_read(s, o.file, &records) && compare(s, old, records, o.last);
    np_session_records_free(&records);
    np_policyset_drop(old);
    free(o.target);
    free(o.file);
    return ok;
}

bool np_session_show_difference(struct neap_session *s, struct np_span args)
{
    unsigned long long n = 1;
    if (s->n_differences == 0)
        return np_session_fail(s, "there is no difference to show: .diff HEAD~1 finds them");
    if (args.n > 0 && (!np_span_to_u64(args, &n) || n == 0 || n > s->n_differences))
        return np_session_fail(s, ".show takes a number from 1 to %zu", s->n_differences);
    np_session_say(s, "%llu of %zu: %s", n, s->n_differences, s->differences[n - 1]);
    return true;
}
