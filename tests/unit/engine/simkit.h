/* What the engine's tests share: a policy set written into a temporary folder, a simulated ground with
 * a script of replies a model, and what became of each exchange. */
#ifndef NP_TEST_SIMKIT_H
#define NP_TEST_SIMKIT_H

#include "engine/simground.h"

#define KIT_MAX_OUTCOMES 32
#define KIT_MAX_STEPS 32

/* One step of a model's script. status 0: the call fails as `how` says. */
struct kit_step {
    unsigned status;
    enum np_call_how how;
    uint64_t takes_ms;
    const char *body;        /* NULL: a fitting one */
    const char *retry_after; /* NULL: none */
    bool stream; /* body is events; the first comes at first_ms, and then `how` is its end */
    uint64_t first_ms;
};

struct kit_script {
    const char *model; /* neap's name */
    struct kit_step step[KIT_MAX_STEPS];
    size_t n, at; /* the last step repeats */
};

/* A copy of what the tests look at. */
struct kit_outcome {
    unsigned status;
    bool degraded, client_gone, broken, emitted;
    enum np_reason reason;
    enum np_refusal_type refusal;
    enum np_finish finish;
    char text[512], param[64], model[64];
    enum np_hedge hedge;
    int64_t cost_nusd, reserved_max_nusd, retry_after_s;
    size_t n_attempts, n_skipped, n_context_kept;
    struct {
        char model[64], key[64]; /* the key's label; "": none */
        enum np_class class;
        enum np_settled settled;
        int64_t retry_in_ms, cost_nusd;
        uint64_t took_ms, first_ms; /* first_ms 0: nothing came */
        struct np_usage usage;
        int64_t reserved_nusd;
        bool emitted, hedge, lost;
    } attempt[NP_MAX_ATTEMPTS];
    enum np_skip skipped[NP_MAX_SKIPS];
    uint64_t took_ns, upstream_ns, first_text_ns;
    size_t arena_bytes; /* in which it lay */
};

struct kit {
    char dir[64];
    struct np_slots slots;
    struct np_policyset *set;
    struct np_sim *sim;
    struct kit_script script[8];
    size_t n_scripts;
    struct kit_outcome outcome[KIT_MAX_OUTCOMES]; /* the first ones */
    size_t n_outcomes;
};

/* Writes a file of the set; before kit_start. */
void kit_file(struct kit *k, const char *name, const char *text);
/* A set with two models ("big" of openai, 2 and 8 USD a million; "small" of anthropic, 0.4 and 1.6) on
 * /api/test/reply, deadline 10 s, 4 attempts. */
void kit_new(struct kit *k);
/* Loads the set and makes the ground. The test fails with the problems when it does not load. */
void kit_start(struct kit *k);
struct kit_script *kit_script(struct kit *k, const char *model);
void kit_step(struct kit *k, const char *model, struct kit_step step);
/* Sends one request and lets time pass; its outcome. */
const struct kit_outcome *kit_ask(struct kit *k, const char *body);
void kit_free(struct kit *k);

/* A good reply of a dialect with this usage; static storage, four at a time. */
const char *kit_good(enum np_adapter dialect, const char *text, int prompt, int completion);

#endif
