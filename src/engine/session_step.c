/* Holding and tracing runs: .step, .break, .trace. */
#include "engine/session_impl.h"

#include <stdio.h>
#include <stdlib.h>

static void say_held(void *ctx, const char *text)
{
    struct neap_session *s = ctx;
    np_session_say(s, "%s", text);
    np_session_flush(s);
}

static char *ask(void *ctx, const char *prompt)
{
    struct neap_session *s = ctx;
    char *line = s->o.ask ? s->o.ask(s->o.ctx, prompt) : NULL;
    if (line)
        np_buf_printf(&s->asked, "%s\n", line);
    return line;
}

bool np_session_stepper(struct neap_session *s)
{
    const struct np_stepper_host host = {say_held, ask, s};
    s->stepper = np_stepper_new(&host);
    return s->stepper != NULL;
}

/* A run that is watched by the stepper where there is something to watch for. */
bool np_session_run_watched(struct neap_session *s, const char *hook, char *given)
{
    const struct np_stepper_order order = {hook, s->trace};
    struct np_deed *before = np_session_hold(s->scene.deed);
    bool watched = hook || s->trace || np_stepper_breaks(s->stepper) > 0;
    bool ok = !watched || np_stepper_begin(s->stepper, np_sim_script(np_play_sim(s->play)), &order);
    if (!ok)
        free(given);
    ok = ok ? np_session_perform(s, NP_DEED_RUN, given)
            : np_session_fail(s, "no memory to watch it");
    s->reached = !watched || !ok || np_stepper_end(s->stepper);
    if (ok && s->interrupted) {
        (void)np_session_go(s, before);
        ok = np_session_fail(s, "stopped by Ctrl-C; the ground is as it was before");
    }
    np_session_let_go(before);
    return ok;
}

static bool has_hook(const struct neap_session *s, struct np_span name)
{
    for (int h = 0; h < NP_HOOK_COUNT; h++) {
        if (np_span_is(name, np_hook_name((enum np_hook)h)))
            return np_policyset_has_hook(np_session_set_of(s), (enum np_hook)h);
    }
    return false;
}

bool np_session_step(struct neap_session *s, struct np_span args)
{
    char hook[32];
    if (args.n > 0 && !np_session_is_hook(args)) {
        const char *names[NP_HOOK_COUNT];
        for (int h = 0; h < NP_HOOK_COUNT; h++)
            names[h] = np_hook_name((enum np_hook)h);
        return np_session_unknown(s, "hook", args, names, NP_HOOK_COUNT);
    }
    (void)snprintf(hook, sizeof hook, "%.*s", (int)args.n, args.n ? args.p : "");
    if (args.n > 0 && !has_hook(s, args))
        return np_session_fail(s, "the set has no %s.lua: its default decides", hook);
    if (args.n > 0)
        (void)snprintf(s->focus, sizeof s->focus, "%s", hook);
    if (!np_session_run_and_say(s, hook))
        return false;
    if (!s->reached)
        np_session_say(s, "this run never came to %s%s\n", hook[0] ? hook : "a hook",
                       hook[0] ? "" : " of the set");
    return true;
}

bool np_session_break(struct neap_session *s, struct np_span args)
{
    char why[200];
    struct np_buf list;
    if (np_span_is(args, "off"))
        np_stepper_clear(s->stepper);
    else if (args.n > 0 &&
             !np_stepper_break(s->stepper, np_session_set_of(s), args, why, sizeof why))
        return np_session_fail(s, "%s", why);
    np_buf_init(&list, 1u << 16);
    np_stepper_list(s->stepper, &list);
    np_session_say_span(s, list.n ? np_buf_view(&list) : NP_SPAN("there are no breakpoints\n"));
    np_buf_free(&list);
    return true;
}

bool np_session_trace(struct neap_session *s, struct np_span args)
{
    if (args.n > 0 && !np_span_is(args, "on") && !np_span_is(args, "off"))
        return np_session_fail(s, ".trace takes on or off");
    if (args.n > 0)
        s->trace = np_span_is(args, "on");
    np_session_say(s, "runs are %straced line by line\n", s->trace ? "" : "not ");
    return true;
}
