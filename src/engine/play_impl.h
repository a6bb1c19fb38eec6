/* Inside of play*.c: one play while it runs. */
#ifndef NP_ENGINE_PLAY_IMPL_H
#define NP_ENGINE_PLAY_IMPL_H

#include "base/ring.h"
#include "engine/play.h"
#include "engine/simground.h"

/* How one call is answered; texts in the play's arena. */
struct np_play_answer {
    unsigned status;     /* 0: as `class` says, or 200 */
    enum np_class class; /* how it fails; NP_CLASS_ok: it does not, or as the status says */
    int64_t after_ms;
    struct np_span text, retry_after, finish;
    int64_t prompt, completion, cached; /* usage; -1: counted */
};

/* The answers of one provider or model, and how many calls there were. */
struct np_play_script {
    struct np_span name;
    struct np_play_answer *answers;
    size_t n, calls;
};

struct np_play {
    struct np_policyset *set;
    const struct np_catalog *catalog;
    struct np_sim *sim;
    struct np_ring *log;  /* lines of this thread, while a play runs */
    struct np_buf record; /* of the last run */
    /* Of one play: */
    struct np_arena *arena;
    struct np_buf *out;
    struct np_play_script *scripts;
    size_t n_scripts;
    struct np_buf body;  /* of the last answer */
    struct np_buf shown; /* the last run, in lines */
    uint64_t at_ns;      /* when the request comes */
    /* Whoever else wants to see what was closed. */
    void (*seen)(void *ctx, const struct np_exchange *x);
    void *seen_ctx;
    struct np_exchange *made; /* by np_play_exchange */
};

/* What was given, read. */
struct np_play_given {
    struct np_span request, budgets, breakers, providers; /* p NULL: none */
    int64_t after_ms;
    int64_t seed;                  /* of chance from here on; -1: it goes on */
    int64_t leaves_after_ms;       /* 0: the client stays */
    struct np_buf body;            /* of the request, without tenant and endpoint */
    const char *tenant, *endpoint; /* tenant NULL: the first */
};

/* Puts what is wrong in the place of the run; NP_E_INVALID. */
enum np_err np_play_fault(struct np_play *p, const char *fmt, ...) NP_PRINTF(2, 3) NP_MUST_CHECK;
/* The same for a name that leads nowhere, with a guess among names. */
enum np_err np_play_unknown(struct np_play *p, const char *what, struct np_span name,
                            const char *const *names, size_t n) NP_MUST_CHECK;
/* A member's name or a string value, decoded, ended by NUL. */
enum np_err np_play_name(struct np_play *p, struct np_span key, struct np_span *out) NP_MUST_CHECK;
enum np_err np_play_text(struct np_play *p, const char *what, struct np_span value,
                         struct np_span *out) NP_MUST_CHECK;
/* A whole number that is not negative. */
enum np_err np_play_whole(struct np_play *p, const char *what, struct np_span value,
                          int64_t *out) NP_MUST_CHECK;

/* play_answers.c: reads `providers`. */
enum np_err np_play_read_providers(struct np_play *p, struct np_span providers) NP_MUST_CHECK;
/* play_answers.c: the sim's source of replies; ctx is the play. */
void np_play_on_call(void *ctx, const struct np_exchange *x, const struct np_call_order *order,
                     struct np_rng *rng, struct np_sim_reply *out);

/* What a good answer says, its finish in the provider's word. */
struct np_play_said {
    struct np_span text, finish;
    int64_t prompt, completion, cached;
};
/* play_stream.c: the same as events; broken: only the first half of the text. */
void np_play_write_stream(struct np_buf *b, enum np_adapter dialect, const struct np_play_said *s,
                          bool broken);

/* play_state.c: makes breakers and accounts as given; sets at_ns. */
enum np_err np_play_breakers(struct np_play *p, const struct np_play_given *g) NP_MUST_CHECK;
enum np_err np_play_budgets(struct np_play *p, struct np_span budgets,
                            const char *tenant) NP_MUST_CHECK;

/* play_run.c: the finished exchange as the run. */
void np_play_on_closed(void *ctx, const struct np_exchange *x);
/* play_run.c: what the alert hook said; its note is in x. */
void np_play_on_alerts(struct np_play *p, const struct np_exchange *x,
                       const struct np_alarms *alarms);

#endif
