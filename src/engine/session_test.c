/* Tests of the set, and what the session has done as one. */
#include "engine/session_impl.h"

#include "script/testhost.h"

#include <stdio.h>
#include <stdlib.h>

#define SEED 1 /* of `neap test` */

/* A run of tests. */
struct proving {
    struct np_policyset *set;
    struct np_play *play; /* of the test that runs; NULL until it plays */
    struct np_buf *failure;
    const char *file, *name; /* a test that is looked for; NULL: none */
    unsigned line;           /* where it is; 0: not found */
};

static void fresh(void *ctx)
{
    struct proving *p = ctx;
    np_play_free(p->play);
    p->play = NULL;
}

static enum np_err play(void *ctx, struct np_span given, struct np_buf *out, struct np_buf *shown)
{
    struct proving *p = ctx;
    if (!p->play)
        p->play = np_play_new(p->set, SEED);
    if (!p->play)
        return NP_E_NOMEM;
    enum np_err err = np_play_run(p->play, given, out);
    if (!err && shown)
        np_buf_span(shown, np_play_shown(p->play));
    return err;
}

static void done(void *ctx, const struct np_test_result *r)
{
    struct proving *p = ctx;
    if (p->name && strcmp(r->file, p->file) == 0 && strcmp(r->name, p->name) == 0)
        p->line = r->line;
    if (r->passed || !p->failure)
        return;
    np_buf_reset(p->failure);
    np_buf_printf(p->failure, "%s:%u: %.*s", r->at_file, r->at_line, (int)r->message.n,
                  r->message.p ? r->message.p : "");
}

static bool prove(struct proving *p, const char *filter, struct np_test_counts *counts)
{
    const struct np_test_ground ground = {.fresh = fresh, .play = play, .ctx = p};
    const struct np_test_order order = {
        .ground = &ground, .filter = filter, .done = done, .ctx = p};
    enum np_err err = np_tests_run(p->set, &order, counts);
    fresh(p);
    return !err;
}

bool np_session_prove(struct np_policyset *set, const char *filter, struct np_test_counts *counts,
                      struct np_buf *failure)
{
    struct proving p = {.set = set, .failure = failure};
    return prove(&p, filter, counts);
}

bool np_session_find_test(struct np_policyset *set, const char *file, const char *name,
                          unsigned *line)
{
    struct np_test_counts counts = {0};
    struct proving p = {.set = set, .file = file, .name = name};
    bool ok = prove(&p, name, &counts);
    *line = p.line;
    return ok;
}
