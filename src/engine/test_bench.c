/* Steps and time of hooks, against those of the last time, which are kept in DIR/.neap/bench: a line a
 * hook, its name, its mean steps and its mean nanoseconds. */
#include "engine/testing_impl.h"

#include "engine/put_file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define PASSES 5
#define PATH_BYTES 4096
#define KEPT_BYTES 4096

struct bench {
    int64_t steps[NP_HOOK_COUNT], ns[NP_HOOK_COUNT]; /* means a call; -1: not known */
};

static void forget(struct bench *b)
{
    for (int h = 0; h < NP_HOOK_COUNT; h++)
        b->steps[h] = b->ns[h] = -1;
}

static void read_last(const char *path, struct bench *b)
{
    char name[32];
    long long steps, ns;
    forget(b);
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%31s %lld %lld", name, &steps, &ns) == 3) {
        for (int h = 0; h < NP_HOOK_COUNT; h++) {
            if (strcmp(name, np_hook_name((enum np_hook)h)) == 0) {
                b->steps[h] = steps;
                b->ns[h] = ns;
            }
        }
    }
    if (f)
        (void)fclose(f);
}

/* The quickest of some passes: what disturbs makes slower, never quicker. */
static enum np_err measure(struct np_testing *t, struct bench *b)
{
    forget(b);
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        if (t->tally.hook[h].calls > 0)
            b->steps[h] = t->tally.hook[h].steps / (int64_t)t->tally.hook[h].calls;
    }
    for (int pass = 0; pass < PASSES; pass++) {
        struct np_tally tally;
        enum np_err err = np_testing_measure(t, &tally);
        if (err)
            return err;
        for (int h = 0; h < NP_HOOK_COUNT; h++) {
            uint64_t calls = tally.hook[h].calls;
            int64_t ns = calls ? (int64_t)(tally.hook[h].ns / calls) : -1;
            if (ns >= 0 && (b->ns[h] < 0 || ns < b->ns[h]))
                b->ns[h] = ns;
        }
    }
    return NP_OK;
}

/* "(was 110, -6 %)" */
static void put_change(char *out, size_t size, int64_t was, int64_t is)
{
    if (was <= 0)
        (void)snprintf(out, size, "(new)");
    else if (was == is)
        (void)snprintf(out, size, "(as before)");
    else
        (void)snprintf(out, size, "(was %lld, %+.0f %%)", (long long)was,
                       (double)(is - was) * 100 / (double)was);
}

static void tell(const struct np_testing *t, const struct bench *last, const struct bench *b)
{
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        char steps[64], ns[64];
        if (b->steps[h] < 0)
            continue;
        put_change(steps, sizeof steps, last->steps[h], b->steps[h]);
        put_change(ns, sizeof ns, last->ns[h], b->ns[h]);
        np_testing_say(t, "bench %-9s %6llu calls %7lld steps %-22s %8lld ns %s",
                       np_hook_name((enum np_hook)h), (unsigned long long)t->tally.hook[h].calls,
                       (long long)b->steps[h], steps, (long long)b->ns[h], ns);
    }
}

/* Hooks that did not run this time stay as they were. */
static bool keep(const char *dir, const struct bench *last, const struct bench *b,
                 struct np_buf *why)
{
    char path[PATH_BYTES];
    struct np_buf text;
    (void)snprintf(path, sizeof path, "%s/.neap", dir);
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        np_buf_printf(why, "%s: %s", path, strerror(errno));
        return false;
    }
    np_buf_init(&text, KEPT_BYTES);
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        const struct bench *from = b->steps[h] >= 0 ? b : last;
        if (from->steps[h] >= 0)
            np_buf_printf(&text, "%s %lld %lld\n", np_hook_name((enum np_hook)h),
                          (long long)from->steps[h], (long long)from->ns[h]);
    }
    (void)snprintf(path, sizeof path, "%s/.neap/bench", dir);
    bool ok = np_put_file(path, np_buf_view(&text), why);
    np_buf_free(&text);
    return ok;
}

void np_testing_bench(struct np_testing *t)
{
    char path[PATH_BYTES];
    struct bench last, b;
    struct np_buf why;
    if ((size_t)snprintf(path, sizeof path, "%s/.neap/bench", t->dir) >= sizeof path) {
        np_testing_say(t, "bench: the folder's path is too long");
        return;
    }
    read_last(path, &last);
    if (measure(t, &b)) {
        np_testing_say(t, "bench: %s", np_err_text(NP_E_NOMEM));
        return;
    }
    tell(t, &last, &b);
    np_buf_init(&why, PATH_BYTES);
    if (!keep(t->dir, &last, &b, &why))
        np_testing_say(t, "bench: nothing is kept for the next time: %.*s", (int)why.n, why.p);
    np_buf_free(&why);
}
