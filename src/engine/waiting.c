/* The line of a worker: see guard/line.h for who is next.
 *
 * Requests begin as their bodies come, without any line, while their worker is quick. In each turn it
 * spends at most WORK_NS on beginnings (and on what else the turn had to do); what is left over waits for the
 * next turn, which first reads what has come meanwhile. So heads are read soon however much work there
 * is, and a request without prospect hears of it at once. When there is too much, nothing begins before all
 * heads that have come are read, and turns are shorter: who is refused waits for one turn at most. */
#include "engine/waiting.h"

#include "base/log.h"

#include <stddef.h>

#define WORK_NS (2 * NP_NS_PER_MS)
#define WORK_OVER_NS NP_NS_PER_MS
/* How often it is looked whether another worker has given a place back. */
#define LOOK_NS (2 * NP_NS_PER_MS)
/* Refusals a second that are told one by one. */
#define TOLD_A_SECOND 50

static struct np_exchange *of_place(struct np_line_place *p)
{
    return ((struct np_live *)(void *)((char *)p - offsetof(struct np_live, place)))->x;
}

static bool take_place(struct neap_engine *e)
{
    size_t now = atomic_load_explicit(&e->inflight, memory_order_relaxed);
    do {
        if (now >= e->options.max_inflight)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&e->inflight, &now, now + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static bool all_taken(const struct neap_engine *e)
{
    return atomic_load_explicit(&e->inflight, memory_order_relaxed) >= e->options.max_inflight;
}

/* Whether a turn has had its share of beginnings: some time, or a third of what reading heads (and refusing
 * many of them) took. Else those who ask again at once when they are refused would starve the others. */
static bool tired(struct np_worker *w, uint64_t since_ns, uint64_t heads_ns)
{
    uint64_t now_ns = np_loop_refresh_ns(w->loop);
    uint64_t work_ns = np_line_over(&w->line, now_ns) ? WORK_OVER_NS : WORK_NS;
    return now_ns - since_ns > (heads_ns / 3 > work_ns ? heads_ns / 3 : work_ns);
}

/* ---------------------------------------------------------------------------------------- refusals */

struct np_refusal np_waiting_refusal(void)
{
    return (struct np_refusal){.type = NP_REFUSAL_overloaded,
                               .status = np_refusal_status(NP_REFUSAL_overloaded),
                               .message = NP_SPAN("too many requests are under way"),
                               .retry_after_s = 1};
}

static void count(struct np_worker *w, enum np_shed_cause cause)
{
    np_meter_add(w->meters, NP_FAMILY_shed, (uint32_t)cause, 0, 0, 1);
}

bool np_waiting_shed(struct np_worker *w)
{
    uint64_t now_ns = np_loop_now_ns(w->loop);
    count(w, all_taken(w->engine) ? NP_SHED_INFLIGHT : NP_SHED_CPU);
    if (now_ns - w->shed_since_ns >= NP_NS_PER_S) {
        if (w->shed > TOLD_A_SECOND)
            np_log(NP_LOG_WARN, "more requests than can be served", NP_KVI("refused", w->shed),
                   NP_KVI("inflight", atomic_load(&w->engine->inflight)));
        w->shed_since_ns = now_ns;
        w->shed = 0;
    }
    return ++w->shed <= TOLD_A_SECOND;
}

static void refuse(struct np_worker *w, struct np_exchange *x, bool late)
{
    struct np_refusal r = np_waiting_refusal();
    struct np_live *live = x->ground;
    if (late) {
        count(w, NP_SHED_LATE);
        r.message = NP_SPAN("the time that is left would not do");
    } else {
        live->untold = !np_waiting_shed(w);
    }
    x->outcome = (struct np_outcome){
        .status = r.status, .refused = true, .refusal = r, .retry_after_s = r.retry_after_s};
    x->done = true;
    x->end_ns = np_loop_now_ns(w->loop);
    w->ground.reply(w->ground.ctx, x);
}

/* ------------------------------------------------------------------------------------------- going */

/* What an answer of the endpoint's quickest model takes, by the median; -1 while it is not known of each. */
static double likely_ms(struct np_worker *w, const struct np_endpoint *e, uint64_t now_ns)
{
    double least = -1;
    for (size_t i = 0; i < e->n_models; i++) {
        double ms = np_stat_model_p50_ms(w->engine->guard, e->models[i]->slot, now_ns);
        if (ms < 0)
            return -1;
        least = least < 0 || ms < least ? ms : least;
    }
    return least;
}

static bool too_late(struct np_worker *w, const struct np_exchange *x, uint64_t waited_ns,
                     uint64_t now_ns)
{
    uint64_t left_ns = x->deadline_ns > now_ns ? x->deadline_ns - now_ns : 0;
    return waited_ns > 0 && np_line_late(waited_ns, left_ns, likely_ms(w, x->endpoint, now_ns));
}

/* Its place in flight is taken. */
static void begin(struct np_worker *w, struct np_exchange *x, uint64_t waited_ns)
{
    struct np_live *live = x->ground;
    struct np_now now = np_worker_now(w);
    live->has_place = true;
    if (too_late(w, x, waited_ns, now.mono_ns))
        refuse(w, x, true);
    else
        np_drive_request(&w->drive, x, now);
}

static bool go_on(struct np_worker *w)
{
    uint64_t now_ns = np_loop_now_ns(w->loop);
    if (!take_place(w->engine))
        return false;
    struct np_line_place *p = np_line_next(&w->line, now_ns);
    begin(w, of_place(p), now_ns - p->since_ns);
    return true;
}

uint64_t np_waiting_before_front(void *ctx, uint64_t now_ns)
{
    struct np_worker *w = ctx;
    (void)now_ns;
    w->front_ns = np_loop_refresh_ns(w->loop);
    return UINT64_MAX;
}

uint64_t np_waiting_turn(void *ctx, uint64_t now_ns)
{
    struct np_worker *w = ctx;
    struct np_line_place *p;
    bool places = true;
    size_t begun = 0;
    if (w->line.count == 0)
        return UINT64_MAX;
    now_ns = np_loop_refresh_ns(w->loop);
    uint64_t since_ns = now_ns, heads_ns = now_ns - w->front_ns;
    do {
        places = w->line.count > 0 && go_on(w);
        begun += places;
    } while (places && !tired(w, since_ns, heads_ns));
    np_line_turned(&w->line, begun);
    /* Afterwards: a long turn is no reason to give up who came in it. */
    now_ns = np_loop_now_ns(w->loop);
    while ((p = np_line_give_up(&w->line, now_ns)))
        refuse(w, of_place(p), false);
    if (w->line.count == 0)
        return UINT64_MAX;
    if (places)
        return 0;
    uint64_t due_ns = np_line_due_ns(&w->line, now_ns);
    return due_ns < now_ns + LOOK_NS ? due_ns : now_ns + LOOK_NS;
}

/* ----------------------------------------------------------------------------------- from outside */

static void wake(void *ctx, uint64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
}

void np_waiting_init(struct np_worker *w)
{
    np_timer_init(&w->line_timer, wake, w);
    w->line.patience_ns = w->engine->options.max_wait_ms * NP_NS_PER_MS;
}

bool np_waiting_admits(struct np_worker *w, const struct np_tenant *tenant)
{
    uint64_t now_ns = np_loop_now_ns(w->loop);
    if (np_line_admits(&w->line, tenant->priority, now_ns))
        return true;
    np_line_strain(&w->line, now_ns);
    return false;
}

void np_waiting_request(struct np_worker *w, struct np_exchange *x)
{
    struct np_live *live = x->ground;
    if (w->line.count == 0 && !np_line_over(&w->line, np_loop_now_ns(w->loop)) &&
        !tired(w, np_loop_turn_ns(w->loop), 0) && take_place(w->engine)) {
        begin(w, x, 0);
        return;
    }
    uint64_t now_ns = np_loop_now_ns(w->loop);
    uint64_t left_ns = x->deadline_ns > now_ns ? x->deadline_ns - now_ns : 0;
    np_line_join(&w->line, &live->place, x->tenant->priority, left_ns, now_ns);
}

void np_waiting_over(struct np_live *live)
{
    struct np_worker *w = live->worker;
    np_line_leave(&w->line, &live->place);
    if (!live->has_place)
        return;
    live->has_place = false;
    atomic_fetch_sub_explicit(&w->engine->inflight, 1, memory_order_relaxed);
    /* After the line's part of the turn: it is to look again at once. */
    if (w->line.count > 0)
        np_timer_set(np_loop_timers(w->loop), &w->line_timer, np_loop_now_ns(w->loop));
}
