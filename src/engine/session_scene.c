/* The chain of deeds: doing, undoing, saving. */
#include "engine/session_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- deeds ---------------------------------------------------------------------------------------- */

struct np_deed *np_session_hold(struct np_deed *deed)
{
    if (deed)
        deed->holds++;
    return deed;
}

void np_session_let_go(struct np_deed *deed)
{
    while (deed && --deed->holds == 0) {
        struct np_deed *before = deed->before;
        np_policyset_drop(deed->set);
        free(deed->given);
        free(deed);
        deed = before;
    }
}

/* A deed behind another one; takes given. */
static struct np_deed *deed_new(struct np_deed *before, enum np_deed_kind kind,
                                struct np_policyset *set, uint64_t seed, char *given)
{
    struct np_deed *d = calloc(1, sizeof *d);
    np_require(d);
    *d = (struct np_deed){.before = np_session_hold(before),
                          .kind = kind,
                          .number = before ? before->number + 1 : 0,
                          .holds = 1,
                          .seed = seed,
                          .set = np_policyset_hold(set),
                          .given = given};
    return d;
}

static void stand_at(struct neap_session *s, struct np_deed *deed)
{
    np_session_let_go(s->scene.deed);
    s->scene.deed = deed;
}

struct np_policyset *np_session_set_of(const struct neap_session *s)
{
    return s->scene.deed->set;
}

const struct np_catalog *np_session_catalog(const struct neap_session *s)
{
    return np_policyset_catalog(np_session_set_of(s));
}

/* Does a deed to a ground. NP_E_INVALID: out says why. */
static enum np_err do_deed(struct np_play *play, const struct np_deed *d, struct np_buf *out)
{
    np_buf_reset(out);
    switch (d->kind) {
    case NP_DEED_RUN:
        return np_play_run(play, np_span_of(d->given), out);
    case NP_DEED_WORLD:
        return np_play_world(play, np_span_of(d->given), out);
    case NP_DEED_TURN:
        return np_play_turn(play, d->set);
    default:
        return NP_OK;
    }
}

static struct np_play *new_play(struct neap_session *s, struct np_policyset *set, uint64_t seed)
{
    struct np_play *play = np_play_new(set, seed);
    if (play)
        np_session_watch(s, play);
    return play;
}

/* A ground on which the whole chain has happened; the last run is in s->run. NULL without memory. */
static struct np_play *redo(struct neap_session *s, struct np_deed *last)
{
    struct np_deed **chain = calloc((size_t)last->number + 1, sizeof(struct np_deed *));
    struct np_buf out;
    np_require(chain);
    np_buf_init(&out, NP_SESSION_TEXT_BYTES);
    np_buf_reset(&s->run);
    for (struct np_deed *d = last; d; d = d->before)
        chain[d->number] = d;
    struct np_play *play = new_play(s, chain[0]->set, chain[0]->seed);
    for (unsigned i = 1; play && i <= last->number; i++) {
        if (do_deed(play, chain[i], &out) == NP_OK && chain[i]->kind == NP_DEED_RUN) {
            np_buf_reset(&s->run);
            np_buf_span(&s->run, np_buf_view(&out));
        }
    }
    np_buf_free(&out);
    free(chain);
    return play;
}

/* --- the request ---------------------------------------------------------------------------------- */

static void drop_exchange(struct neap_session *s)
{
    if (s->x)
        np_exchange_free(s->x);
    s->x = NULL;
}

/* Makes the exchange that `req` stands for. */
static enum np_err make_exchange(struct neap_session *s, const char *request, struct np_buf *why,
                                 struct np_exchange **x)
{
    struct np_buf given;
    char id[32];
    static unsigned number;
    (void)snprintf(id, sizeof id, "req_session_%u", ++number);
    np_buf_init(&given, NP_SESSION_TEXT_BYTES);
    np_buf_printf(&given, "{\"request\":%s}", request);
    enum np_err err = np_buf_failed(&given)
                          ? NP_E_NOMEM
                          : np_play_exchange(s->play, np_buf_view(&given), id, x, why);
    np_buf_free(&given);
    return err;
}

void np_session_look(struct neap_session *s)
{
    struct np_buf why;
    np_buf_init(&why, 4096);
    drop_exchange(s);
    if (s->scene.request && make_exchange(s, s->scene.request, &why, &s->x))
        (void)np_session_fail(s, "the request that is loaded does not fit: %.*s; .load another one",
                              (int)why.n, why.n ? why.p : "");
    np_console_look_at(s->console, np_sim_powers(np_play_sim(s->play)), s->x);
    np_script_interrupt(np_sim_script(np_play_sim(s->play)), &s->interrupted);
    np_buf_free(&why);
}

bool np_session_request(struct neap_session *s, char *json)
{
    struct np_buf why;
    struct np_exchange *x;
    np_buf_init(&why, 4096);
    enum np_err err = make_exchange(s, json, &why, &x);
    if (err == NP_E_INVALID)
        (void)np_session_fail(s, "%.*s", (int)why.n, why.n ? why.p : "");
    else if (err)
        (void)np_session_fail(s, "the request can't be made: %s", np_err_text(err));
    np_buf_free(&why);
    if (err) {
        free(json);
        return false;
    }
    drop_exchange(s);
    s->x = x;
    free(s->scene.request);
    s->scene.request = json;
    np_console_look_at(s->console, np_sim_powers(np_play_sim(s->play)), s->x);
    return true;
}

/* --- doing ---------------------------------------------------------------------------------------- */

/* The ground is another one: takes it. */
static void take_play(struct neap_session *s, struct np_play *play)
{
    drop_exchange(s);
    np_play_free(s->play);
    s->play = play;
}

bool np_session_start(struct neap_session *s, struct np_policyset *set, uint64_t seed)
{
    struct np_play *play = new_play(s, set, seed);
    if (!play)
        return np_session_fail(s, "no memory for another ground");
    take_play(s, play);
    stand_at(s, deed_new(NULL, NP_DEED_START, set, seed, NULL));
    np_session_look(s);
    return true;
}

bool np_session_perform(struct neap_session *s, enum np_deed_kind kind, char *given)
{
    struct np_deed *at = s->scene.deed;
    if (at->number >= NP_SESSION_DEEDS) {
        free(given);
        return np_session_fail(s, "this ground has seen %d things happen; .seed 1 starts a new one",
                               NP_SESSION_DEEDS);
    }
    struct np_deed *d = deed_new(at, kind, at->set, at->seed, given);
    struct np_buf out;
    np_buf_init(&out, NP_SESSION_TEXT_BYTES);
    enum np_err err = do_deed(s->play, d, &out);
    if (!err) {
        stand_at(s, d);
        if (kind == NP_DEED_RUN) {
            np_buf_reset(&s->run);
            np_buf_span(&s->run, np_buf_view(&out));
            np_console_set_record(s->console, np_play_record(s->play));
        }
    } else {
        np_session_let_go(d);
        if (err == NP_E_INVALID)
            (void)np_session_fail(s, "%.*s", (int)out.n, out.n ? out.p : "");
        else
            (void)np_session_fail(s, "it could not be done: %s", np_err_text(err));
    }
    np_buf_free(&out);
    return !err;
}

bool np_session_turn(struct neap_session *s, struct np_policyset *set)
{
    struct np_deed *at = s->scene.deed;
    drop_exchange(s);
    enum np_err err = np_play_turn(s->play, set);
    if (!err) {
        stand_at(s, deed_new(at, NP_DEED_TURN, set, at->seed, NULL));
        if (!np_console_turn(s->console, set))
            (void)np_session_fail(s, "hooks and libraries of Lua lines stay the old ones");
    }
    np_session_look(s);
    return err ? np_session_fail(s, "the set can't take over: %s", np_err_text(err)) : true;
}

bool np_session_go(struct neap_session *s, struct np_deed *deed)
{
    struct np_play *play = redo(s, deed);
    if (!play)
        return np_session_fail(s, "no memory for another ground");
    bool other = deed->set != np_session_set_of(s);
    take_play(s, play);
    stand_at(s, np_session_hold(deed));
    if (other && !np_console_turn(s->console, deed->set))
        (void)np_session_fail(s, "hooks and libraries of Lua lines stay the later ones");
    np_console_set_record(s->console, np_play_record(s->play));
    np_session_look(s);
    return true;
}

/* --- marks ---------------------------------------------------------------------------------------- */

void np_session_scene_free(struct np_scene *scene)
{
    np_session_let_go(scene->deed);
    free(scene->request);
    free(scene->mocks);
    *scene = (struct np_scene){0};
}

static void drop_mark(struct neap_session *s, size_t at)
{
    np_session_scene_free(&s->marks[at].scene);
    free(s->marks[at].line);
    s->n_marks--;
    memmove(&s->marks[at], &s->marks[at + 1], (s->n_marks - at) * sizeof s->marks[0]);
}

void np_session_mark(struct neap_session *s, struct np_span line)
{
    if (s->n_marks == NP_SESSION_UNDO)
        drop_mark(s, 0);
    s->marks[s->n_marks++] =
        (struct np_session_mark){.scene = {.deed = np_session_hold(s->scene.deed),
                                           .request = np_session_copy(np_span_of(s->scene.request)),
                                           .mocks = np_session_copy(np_span_of(s->scene.mocks))},
                                 .line = np_session_copy(line)};
}

void np_session_unmark(struct neap_session *s, bool failed)
{
    const struct np_scene *was = &s->marks[s->n_marks - 1].scene;
    bool same = was->deed == s->scene.deed && strcmp(was->request, s->scene.request) == 0 &&
                strcmp(was->mocks, s->scene.mocks) == 0;
    if (same || (failed && was->deed == s->scene.deed))
        drop_mark(s, s->n_marks - 1);
}

bool np_session_undo(struct neap_session *s, struct np_span args)
{
    if (args.n > 0)
        return np_session_fail(
            s, ".undo takes nothing: it undoes the last line that changed something");
    if (s->n_marks == 0)
        return np_session_fail(s, "there is nothing to undo");
    struct np_session_mark *m = &s->marks[s->n_marks - 1];
    struct np_scene *to = &m->scene;
    free(s->scene.request);
    free(s->scene.mocks);
    s->scene.request = np_session_copy(np_span_of(to->request));
    s->scene.mocks = np_session_copy(np_span_of(to->mocks));
    bool ok = true;
    if (to->deed == s->scene.deed)
        np_session_look(s);
    else
        ok = np_session_go(s, to->deed);
    if (ok)
        np_session_say(s, "undone: %s\n", m->line);
    drop_mark(s, s->n_marks - 1);
    return ok;
}

bool np_session_save(struct neap_session *s, struct np_span args)
{
    if (args.n == 0)
        return np_session_fail(s, ".save wants a file: .save session.neap");
    char *path = np_session_copy(args);
    FILE *f = fopen(path, "w");
    bool ok = f && (s->saved.n == 0 || fwrite(s->saved.p, 1, s->saved.n, f) == s->saved.n);
    int error = errno;
    if (f && fclose(f) != 0)
        ok = false;
    if (ok)
        np_session_say(s, "wrote %s; `neap repl < %s` does it all again\n", path, path);
    else
        (void)np_session_fail(s, "%s can't be written: %s", path, strerror(error));
    free(path);
    return ok;
}
