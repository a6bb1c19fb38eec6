/* Virtual time: one heap of timers, run in order. */
#include "engine/simground.h"

#include "engine/account.h"
#include "engine/lend.h"
#include "script/shared.h"

#include <stdlib.h>

#define START_NS NP_NS_PER_S
#define START_WALL_MS INT64_C(1793448000000) /* a fixed day, so that windows are the same */
#define ARENA_MAX_BYTES (64u << 20)

struct np_sim {
    struct np_policyset *set;
    struct np_script *script;
    struct np_lender lender;
    struct np_powers powers;
    struct np_shared *shared;
    struct np_clock clock;
    struct np_rng rng;
    struct np_guard *guard;
    struct np_ledger *ledger;
    struct np_meters *meters;
    struct np_timers *timers;
    struct np_ground ground;
    struct np_drive_env drive;
    struct np_buf delta; /* the driver's scratch */
    struct np_account_env account;
    struct np_sim_source source;
    uint64_t now_ns;
    size_t open;
};

/* A streamed reply on its way. */
struct sim_stream {
    bool open;         /* pieces are still to come */
    size_t at;         /* bytes of the body that have come */
    size_t i, n;       /* events that have come, and all */
    uint64_t start_ns; /* of the call */
    uint64_t quiet_ns; /* when it is cut if nothing comes */
    uint64_t due_ns;   /* when it is cut in any case */
    bool flows;
    uint32_t idle_ms;
};

/* One of the calls that an exchange may have under way. */
struct sim_leg {
    struct sim_live *live;
    unsigned number;
    struct np_timer call;
    struct np_sim_reply reply;
    uint64_t comes_ns, due_ns; /* of a whole reply: when it comes, and when it is cut */
    struct sim_stream stream;
};

/* An exchange on this ground; in its arena. */
struct sim_live {
    struct np_sim *sim;
    struct np_exchange *x;
    struct np_timer arrive, leave, wait;
    struct sim_leg *leg[NP_LEGS]; /* NULL before its first call */
    bool answered;
};

int64_t np_sim_wall_ms(uint64_t at_ns)
{
    return START_WALL_MS + (int64_t)((at_ns - START_NS) / NP_NS_PER_MS);
}

static uint64_t mono_ns(void *ctx)
{
    const struct np_sim *s = ctx;
    return s->now_ns;
}

static int64_t wall_ms(void *ctx)
{
    const struct np_sim *s = ctx;
    return np_sim_wall_ms(s->now_ns);
}

static struct np_now now_of(struct np_sim *s)
{
    return (struct np_now){s->now_ns, wall_ms(s)};
}

/* Closes the exchange when its client and its driver are through with it. */
static void settle(struct sim_live *live)
{
    struct np_exchange *x = live->x;
    struct np_sim *s = live->sim;
    if (!(live->answered || x->client_gone) || !np_drive_idle(x))
        return;
    np_timer_stop(s->timers, &live->leave);
    np_timer_stop(s->timers, &live->wait);
    for (unsigned i = 0; i < NP_LEGS; i++) {
        if (live->leg[i])
            np_timer_stop(s->timers, &live->leg[i]->call);
    }
    x->end_ns = s->now_ns;
    if (s->source.closed)
        s->source.closed(s->source.ctx, x);
    np_account_close(&s->account, x, true);
    s->open--;
}

/* --- the ground ---------------------------------------------------------------------------------- */

static struct np_span keep(struct np_exchange *x, struct np_span text)
{
    return text.p ? np_arena_dup(x->arena, text) : text;
}

/* The events of a stream end with an empty line each. */
static size_t next_event(struct np_span body, size_t at)
{
    const char *end = memmem(body.p + at, body.n - at, "\n\n", 2);
    return end ? (size_t)(end - body.p) + 2 : body.n;
}

static uint64_t ms_from(uint64_t at_ns, uint32_t ms)
{
    return ms ? at_ns + ms * NP_NS_PER_MS : UINT64_MAX;
}

/* When the next event comes, or the end after the last. */
static uint64_t event_at(const struct sim_leg *leg)
{
    const struct sim_stream *st = &leg->stream;
    const struct np_sim_reply *r = &leg->reply;
    uint64_t span_ns = r->takes_ns > r->first_ns ? r->takes_ns - r->first_ns : 0;
    uint64_t at = st->n > 1 && st->i < st->n ? span_ns * st->i / (st->n - 1) : span_ns;
    return st->start_ns + r->first_ns + at;
}

/* Sets the timer for what happens next. */
static void await_event(struct sim_leg *leg)
{
    struct np_sim *s = leg->live->sim;
    const struct sim_stream *st = &leg->stream;
    uint64_t at = event_at(leg);
    at = at < st->quiet_ns ? at : st->quiet_ns;
    at = at < st->due_ns ? at : st->due_ns;
    np_timer_set(s->timers, &leg->call, at > s->now_ns ? at : s->now_ns);
}

static void begin_stream(struct sim_leg *leg, const struct np_call_order *order)
{
    const struct np_provider *p = order->model->provider;
    uint64_t now = leg->live->sim->now_ns;
    leg->stream = (struct sim_stream){.open = true,
                                      .start_ns = now,
                                      .quiet_ns = ms_from(now, p->first_token_timeout_ms),
                                      .due_ns = order->deadline_ns,
                                      .idle_ms = p->idle_timeout_ms};
    struct np_span body = leg->reply.body;
    for (size_t at = 0; at < body.n; at = next_event(body, at))
        leg->stream.n++;
    await_event(leg);
}

static void end_stream(struct sim_leg *leg, enum np_call_how how)
{
    struct np_sim *s = leg->live->sim;
    struct np_call_result result = {
        .end = {.how = how, .status = leg->reply.status, .request_sent = true},
        .reply = {.status = leg->reply.status, .wall_ms = wall_ms(s)}};
    leg->stream.open = false;
    np_drive_done(&s->drive, leg->live->x, leg->number, &result, now_of(s));
}

/* The next event, the end, or a time-out that comes before. The driver may end the call in any. */
static void go_on_streaming(struct sim_leg *leg)
{
    struct sim_stream *st = &leg->stream;
    struct np_sim *s = leg->live->sim;
    struct np_exchange *x = leg->live->x;
    struct np_span body = leg->reply.body;
    if (s->now_ns < event_at(leg)) {
        end_stream(leg, s->now_ns >= st->due_ns ? NP_CALL_TOTAL_TIMEOUT
                        : st->flows             ? NP_CALL_IDLE_TIMEOUT
                                                : NP_CALL_FIRST_BYTE_TIMEOUT);
        return;
    }
    if (st->i == 0 &&
        !np_drive_head(x, leg->number, leg->reply.status, NP_SPAN("text/event-stream"))) {
        end_stream(leg, NP_CALL_BAD_FRAMING);
        return;
    }
    if (st->i == st->n) {
        end_stream(leg, leg->reply.how);
        return;
    }
    size_t end = next_event(body, st->at);
    struct np_span piece = np_span_make(body.p + st->at, end - st->at);
    st->at = end;
    st->i++;
    np_drive_data(&s->drive, x, leg->number, piece, now_of(s));
    if (!st->open)
        return;
    if (st->flows)
        st->quiet_ns = ms_from(s->now_ns, st->idle_ms);
    await_event(leg);
}

/* Sets the timer for the whole reply, or for a time-out that comes before. */
static void await_reply(struct sim_leg *leg)
{
    uint64_t at = leg->comes_ns < leg->due_ns ? leg->comes_ns : leg->due_ns;
    np_timer_set(leg->live->sim->timers, &leg->call, at);
}

static void on_call(void *ctx, uint64_t now_ns)
{
    struct sim_leg *leg = ctx;
    struct sim_live *live = leg->live;
    struct np_sim *s = live->sim;
    const struct np_sim_reply *r = &leg->reply;
    (void)now_ns;
    if (leg->stream.open) {
        go_on_streaming(leg);
        settle(live);
        return;
    }
    if (s->now_ns < leg->comes_ns)
        leg->reply = (struct np_sim_reply){.how = NP_CALL_TOTAL_TIMEOUT};
    struct np_call_result result = {.end = {.how = r->how,
                                            .status = r->status,
                                            .request_sent = !r->not_sent,
                                            .first_byte_ns = r->status ? s->now_ns : 0},
                                    .reply = {.status = r->status,
                                              .content_type = r->content_type,
                                              .retry_after = r->retry_after,
                                              .body = r->body,
                                              .wall_ms = wall_ms(s)}};
    np_drive_done(&s->drive, live->x, leg->number, &result, now_of(s));
    settle(live);
}

/* The leg with its timer; NULL without memory. */
static struct sim_leg *leg_for(struct sim_live *live, unsigned number)
{
    struct sim_leg *leg = live->leg[number];
    if (leg)
        return leg;
    leg = live->leg[number] = np_arena_alloc(live->x->arena, sizeof *leg);
    if (!leg)
        return NULL;
    leg->live = live;
    leg->number = number;
    np_timer_init(&leg->call, on_call, leg);
    return leg;
}

static enum np_err ground_call(void *ctx, struct np_exchange *x, struct np_call_order *order)
{
    struct np_sim *s = ctx;
    struct sim_leg *leg = leg_for(x->ground, order->leg);
    struct np_sim_reply r = {.how = NP_CALL_COMPLETE, .status = 200};
    order->started_ns = s->now_ns;
    if (!leg)
        return NP_E_NOMEM;
    s->source.call(s->source.ctx, x, order, &s->rng, &r);
    r.content_type = keep(x, r.content_type.p ? r.content_type : NP_SPAN("application/json"));
    r.retry_after = keep(x, r.retry_after);
    r.body = keep(x, r.body);
    leg->reply = r;
    if (r.stream) {
        begin_stream(leg, order);
        return NP_OK;
    }
    leg->comes_ns = s->now_ns + r.takes_ns;
    leg->due_ns = order->deadline_ns;
    await_reply(leg);
    return NP_OK;
}

static bool ground_abort(void *ctx, struct np_exchange *x, unsigned number)
{
    struct np_sim *s = ctx;
    struct sim_leg *leg = ((struct sim_live *)x->ground)->leg[number];
    leg->stream.open = false;
    np_timer_stop(s->timers, &leg->call);
    return !leg->reply.not_sent;
}

static void ground_flows(void *ctx, struct np_exchange *x, unsigned number, uint64_t deadline_ns)
{
    (void)ctx;
    struct sim_leg *leg = ((struct sim_live *)x->ground)->leg[number];
    leg->stream.flows = true;
    leg->stream.due_ns = deadline_ns;
}

static void ground_put_off(void *ctx, struct np_exchange *x, unsigned number, uint64_t deadline_ns)
{
    (void)ctx;
    struct sim_leg *leg = ((struct sim_live *)x->ground)->leg[number];
    if (leg->stream.open) {
        leg->stream.due_ns = deadline_ns;
        await_event(leg);
    } else {
        leg->due_ns = deadline_ns;
        await_reply(leg);
    }
}

static void ground_emit(void *ctx, struct np_exchange *x, unsigned leg, struct np_span json_text)
{
    (void)ctx;
    (void)x;
    (void)leg;
    (void)json_text;
}

static void ground_wait(void *ctx, struct np_exchange *x, uint64_t at_ns)
{
    struct np_sim *s = ctx;
    struct sim_live *live = x->ground;
    np_timer_set(s->timers, &live->wait, at_ns);
}

static void ground_unwait(void *ctx, struct np_exchange *x)
{
    struct np_sim *s = ctx;
    struct sim_live *live = x->ground;
    np_timer_stop(s->timers, &live->wait);
}

/* The ledger in memory answers at once; one that does not is asked every millisecond. */
static void ground_await(void *ctx, struct np_exchange *x, uint64_t at_ns)
{
    const struct np_sim *s = ctx;
    uint64_t soon_ns = s->now_ns + NP_NS_PER_MS;
    ground_wait(ctx, x, at_ns < soon_ns ? at_ns : soon_ns);
}

static void on_wait(void *ctx, uint64_t now_ns)
{
    struct sim_live *live = ctx;
    (void)now_ns;
    np_drive_wake(&live->sim->drive, live->x, now_of(live->sim));
    settle(live);
}

static void ground_reply(void *ctx, struct np_exchange *x)
{
    struct sim_live *live = x->ground;
    (void)ctx;
    np_require(!live->answered);
    live->answered = true;
}

/* --- clients ------------------------------------------------------------------------------------- */

static void on_arrive(void *ctx, uint64_t now_ns)
{
    struct sim_live *live = ctx;
    (void)now_ns;
    np_drive_request(&live->sim->drive, live->x, now_of(live->sim));
    settle(live);
}

static void on_leave(void *ctx, uint64_t now_ns)
{
    struct sim_live *live = ctx;
    (void)now_ns;
    np_timer_stop(live->sim->timers, &live->wait);
    np_drive_gone(&live->sim->drive, live->x, now_of(live->sim));
    settle(live);
}

static const struct np_tenant *find_tenant(const struct np_catalog *c, const char *name)
{
    if (c->n_tenants == 0)
        return c->anonymous;
    for (size_t i = 0; i < c->n_tenants; i++) {
        if (!name || strcmp(c->tenants[i].name, name) == 0)
            return &c->tenants[i];
    }
    return NULL;
}

enum np_err np_sim_exchange(struct np_sim *s, const struct np_sim_client *client,
                            struct np_exchange **out)
{
    const struct np_catalog *c = np_policyset_catalog(s->set);
    const struct np_endpoint *endpoint = np_catalog_endpoint(c, np_span_of(client->endpoint));
    const struct np_tenant *tenant = find_tenant(c, client->tenant);
    if (!endpoint || !tenant)
        return NP_E_NOTFOUND;
    struct np_exchange *x = np_exchange_new(ARENA_MAX_BYTES);
    if (!x)
        return NP_E_NOMEM;
    uint64_t at_ns = client->at_ns > s->now_ns ? client->at_ns : s->now_ns;
    x->accept_ns = at_ns;
    x->at_wall_ms = np_sim_wall_ms(at_ns);
    x->deadline_ns = at_ns + (uint64_t)endpoint->deadline_ms * NP_NS_PER_MS;
    x->endpoint = endpoint;
    x->tenant = tenant;
    x->catalog = c;
    x->policy = np_policyset_version(s->set);
    x->body = np_arena_dup(x->arena, client->body);
    *out = x;
    return NP_OK;
}

enum np_err np_sim_add(struct np_sim *s, const struct np_sim_client *client)
{
    struct np_exchange *x;
    enum np_err err = np_sim_exchange(s, client, &x);
    if (err)
        return err;
    char id[NP_ID_BYTES];
    np_id_make(&s->rng, x->at_wall_ms, id);
    struct sim_live *live = np_arena_alloc(x->arena, sizeof *live);
    x->id = np_arena_strdup(x->arena, id);
    if (!live || !x->id) {
        np_exchange_free(x);
        return NP_E_NOMEM;
    }
    *live = (struct sim_live){.sim = s, .x = x};
    x->ground = live;
    x->gen = s;
    np_timer_init(&live->arrive, on_arrive, live);
    np_timer_init(&live->leave, on_leave, live);
    np_timer_init(&live->wait, on_wait, live);
    np_timer_set(s->timers, &live->arrive, x->accept_ns);
    if (client->leaves_after_ns > 0)
        np_timer_set(s->timers, &live->leave, x->accept_ns + client->leaves_after_ns);
    s->open++;
    return NP_OK;
}

void np_sim_run(struct np_sim *s)
{
    for (uint64_t next; (next = np_timers_next(s->timers)) != UINT64_MAX;) {
        s->now_ns = next > s->now_ns ? next : s->now_ns;
        (void)np_timers_run(s->timers, s->now_ns);
        np_script_idle(np_sim_script(s));
    }
}

void np_sim_pass(struct np_sim *s, uint64_t until_ns)
{
    np_sim_run(s);
    if (until_ns > s->now_ns)
        s->now_ns = until_ns;
}

/* --- life ---------------------------------------------------------------------------------------- */

static struct np_script *script_of(void *ctx, struct np_exchange *x)
{
    (void)x;
    return np_sim_script(ctx);
}

struct np_sim *np_sim_new(struct np_policyset *set, uint64_t seed,
                          const struct np_sim_source *source)
{
    struct np_sim *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->set = np_policyset_hold(set);
    s->source = *source;
    s->now_ns = START_NS;
    s->clock = (struct np_clock){mono_ns, wall_ms, s};
    np_rng_seed(&s->rng, seed);
    s->guard = np_guard_new(seed);
    s->ledger = np_ledger_new();
    s->meters = np_meters_new();
    s->timers = np_timers_new();
    s->shared = np_shared_new();
    s->lender = (struct np_lender){s->guard, s->ledger, np_policyset_catalog(set), &s->clock};
    s->powers = np_lend(&s->lender, &s->rng, s->shared);
    s->script = np_script_new(set, &s->powers, source->timed);
    if (!s->guard || !s->ledger || !s->meters || !s->timers || !s->shared || !s->script) {
        np_sim_free(s);
        return NULL;
    }
    s->ground = (struct np_ground){.call = ground_call,
                                   .abort = ground_abort,
                                   .flows = ground_flows,
                                   .put_off = ground_put_off,
                                   .emit = ground_emit,
                                   .wait = ground_wait,
                                   .unwait = ground_unwait,
                                   .await = ground_await,
                                   .reply = ground_reply,
                                   .ctx = s};
    np_buf_init(&s->delta, NP_DRIVE_DELTA_BYTES);
    s->drive = (struct np_drive_env){.ground = &s->ground,
                                     .guard = s->guard,
                                     .ledger = s->ledger,
                                     .meters = s->meters,
                                     .rng = &s->rng,
                                     .script = script_of,
                                     .script_ctx = s,
                                     .delta = &s->delta,
                                     .keep_texts = true};
    s->account = (struct np_account_env){.guard = s->guard, .meters = s->meters};
    return s;
}

enum np_err np_sim_turn(struct np_sim *s, struct np_policyset *set)
{
    np_require(s->open == 0);
    struct np_lender lender = {s->guard, s->ledger, np_policyset_catalog(set), &s->clock};
    struct np_lender before = s->lender;
    s->lender = lender;
    struct np_powers powers = np_lend(&s->lender, &s->rng, s->shared);
    struct np_script *script = np_script_new(set, &powers, NULL);
    if (!script) {
        s->lender = before;
        return NP_E_NOMEM;
    }
    np_script_free(s->script);
    s->script = script;
    s->powers = powers;
    np_policyset_hold(set);
    np_policyset_drop(s->set);
    s->set = set;
    return NP_OK;
}

void np_sim_free(struct np_sim *s)
{
    if (!s)
        return;
    np_require(s->open == 0);
    if (s->script)
        np_script_free(s->script);
    if (s->timers)
        np_timers_free(s->timers);
    np_shared_free(s->shared);
    np_meters_free(s->meters);
    np_buf_free(&s->delta);
    if (s->ledger)
        np_ledger_free(s->ledger);
    if (s->guard)
        np_guard_free(s->guard);
    np_policyset_drop(s->set);
    free(s);
}

void np_sim_seed(struct np_sim *s, uint64_t seed)
{
    np_rng_seed(&s->rng, seed);
}

uint64_t np_sim_now_ns(const struct np_sim *s)
{
    return s->now_ns;
}

struct np_guard *np_sim_guard(struct np_sim *s)
{
    return s->guard;
}

struct np_ledger *np_sim_ledger(struct np_sim *s)
{
    return s->ledger;
}

const struct np_powers *np_sim_powers(const struct np_sim *s)
{
    return &s->powers;
}

struct np_script *np_sim_script(struct np_sim *s)
{
    struct np_script *next = np_script_spoiled(s->script) ? np_script_renew(s->script) : NULL;
    if (next) {
        np_script_free(s->script);
        s->script = next;
    }
    return s->script;
}

struct np_meters *np_sim_meters(struct np_sim *s)
{
    return s->meters;
}

size_t np_sim_open(const struct np_sim *s)
{
    return s->open;
}
