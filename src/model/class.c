/* The tables of class.h as text and back. */
#include "model/class.h"

#include <stddef.h>

#include "base/err.h"

struct class_row {
    const char *name;
    enum np_fault fault;
    enum np_then then;
    bool trips;
};

static const struct class_row classes[NP_CLASS_COUNT] = {
#define ROW(name, fault, then, breaker) \
    [NP_CLASS_##name] = {#name, NP_FAULT_##fault, NP_THEN_##then, breaker},
    NP_CLASSES(ROW)
#undef ROW
};

#define NAME(name) #name,
static const char *const reasons[NP_REASON_COUNT] = {NP_REASONS(NAME)};
static const char *const skips[NP_SKIP_COUNT] = {NP_SKIPS(NAME)};
static const char *const hedges[NP_HEDGE_COUNT] = {NP_HEDGES(NAME)};
static const char *const finishes[NP_FINISH_COUNT] = {NP_FINISHES(NAME)};
#undef NAME

static const struct {
    const char *name;
    unsigned status;
} refusals[NP_REFUSAL_COUNT] = {
#define ROW(name, status) {#name, status},
    NP_REFUSALS(ROW)
#undef ROW
};

/* The place of a name in a list; n when it is not there. */
static size_t find(const char *const *names, size_t n, struct np_span name)
{
    size_t i = 0;
    while (i < n && !np_span_is(name, names[i]))
        i++;
    return i;
}

const char *np_class_name(enum np_class c)
{
    np_require(c < NP_CLASS_COUNT);
    return classes[c].name;
}

enum np_class np_class_find(struct np_span name)
{
    size_t i = 0;
    while (i < NP_CLASS_COUNT && !np_span_is(name, classes[i].name))
        i++;
    return (enum np_class)i;
}

enum np_fault np_class_fault(enum np_class c)
{
    np_require(c < NP_CLASS_COUNT);
    return classes[c].fault;
}

enum np_then np_class_then(enum np_class c)
{
    np_require(c < NP_CLASS_COUNT);
    return classes[c].then;
}

bool np_class_trips_breaker(enum np_class c)
{
    np_require(c < NP_CLASS_COUNT);
    return classes[c].trips;
}

const char *np_reason_name(enum np_reason r)
{
    np_require(r < NP_REASON_COUNT);
    return reasons[r];
}

enum np_reason np_reason_find(struct np_span name)
{
    return (enum np_reason)find(reasons, NP_REASON_COUNT, name);
}

const char *np_skip_name(enum np_skip s)
{
    np_require(s < NP_SKIP_COUNT);
    return skips[s];
}

const char *np_hedge_name(enum np_hedge h)
{
    np_require(h < NP_HEDGE_COUNT);
    return hedges[h];
}

const char *np_finish_name(enum np_finish f)
{
    np_require(f < NP_FINISH_COUNT);
    return finishes[f];
}

enum np_finish np_finish_find(struct np_span name)
{
    return (enum np_finish)find(finishes, NP_FINISH_COUNT, name);
}

const char *np_refusal_name(enum np_refusal_type t)
{
    np_require(t < NP_REFUSAL_COUNT);
    return refusals[t].name;
}

unsigned np_refusal_status(enum np_refusal_type t)
{
    np_require(t < NP_REFUSAL_COUNT);
    return refusals[t].status;
}
