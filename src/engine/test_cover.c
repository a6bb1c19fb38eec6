/* Coverage as `neap test` tells it. */
#include "engine/testing_impl.h"

#include "script/cover.h"

#define TEXT_BYTES 4096

struct sum {
    const struct np_testing *t;
    size_t lines, hit;
};

static void tell_file(void *ctx, const struct np_cover_file *f)
{
    struct sum *s = ctx;
    s->lines += f->lines;
    s->hit += f->hit;
    np_testing_say(s->t, "  %-24s %5zu of %5zu  %3zu %%%s%.*s", f->name, f->hit, f->lines,
                   f->hit * 100 / f->lines, f->missed.n ? "  missed " : "", (int)f->missed.n,
                   f->missed.n ? f->missed.p : "");
}

/* What the hook did and how often, then what it never did. An error is no gap. */
static void tell_hook(const struct np_testing *t, enum np_hook hook)
{
    struct np_buf seen, never;
    np_buf_init(&seen, TEXT_BYTES);
    np_buf_init(&never, TEXT_BYTES);
    for (size_t i = 0; i < NP_TALLY_OUTCOMES; i++) {
        const char *name = np_tally_outcome(hook, i);
        unsigned long long n = t->tally.hook[hook].outcomes[i];
        if (name && n > 0)
            np_buf_printf(&seen, "%s%s %llu", seen.n ? ", " : "", name, n);
        else if (name && i + 1 < NP_TALLY_OUTCOMES)
            np_buf_printf(&never, "%s%s", never.n ? ", " : "  never: ", name);
    }
    np_testing_say(t, "  %-9s %.*s%.*s", np_hook_name(hook), (int)seen.n, seen.n ? seen.p : "",
                   (int)never.n, never.n ? never.p : "");
    np_buf_free(&seen);
    np_buf_free(&never);
}

bool np_testing_tell_coverage(const struct np_testing *t)
{
    struct sum s = {.t = t};
    unsigned least = t->options->coverage_min;
    np_testing_say(t, "lines that ran:");
    np_cover_tell(t->set, tell_file, &s);
    size_t percent = s.lines ? s.hit * 100 / s.lines : 100;
    np_testing_say(t, "  %-24s %5zu of %5zu  %3zu %%", "all", s.hit, s.lines, percent);
    np_testing_say(t, "outcomes of hooks:");
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        if (np_policyset_has_hook(t->set, (enum np_hook)h))
            tell_hook(t, (enum np_hook)h);
    }
    if (percent >= least)
        return true;
    np_testing_say(t, "%zu %% of the lines ran, --coverage-min asks for %u %%", percent, least);
    return false;
}
