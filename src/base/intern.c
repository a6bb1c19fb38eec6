/* Names and their numbers: an array of names by number, and an open-addressed table of numbers by
 * name, at most half full. Both have their final size at birth, so readers never see them move.
 * A name is written before the table's slot and the count that lead to it are (release); it is read
 * after them (acquire). Only adding takes the lock. */
#include "base/intern.h"

#include "base/hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MOST_NAMES (UINT32_C(1) << 24)

struct np_intern {
    pthread_mutex_t lock;
    uint32_t max;
    uint32_t mask; /* slots - 1 */
    _Atomic uint32_t count;
    struct np_span *names;   /* max of them, each NUL-terminated and ours */
    _Atomic uint32_t *slots; /* a number + 1; 0: free */
};

struct np_intern *np_intern_new(uint32_t max)
{
    np_require(max <= MOST_NAMES);
    uint32_t slots = 2;
    while (slots < 2 * max) {
        slots *= 2;
    }
    struct np_intern *t = calloc(1, sizeof *t);
    if (!t) {
        return NULL;
    }
    t->max = max;
    t->mask = slots - 1;
    t->names = calloc(max ? max : 1, sizeof *t->names);
    if (!t->names) {
        goto free_t;
    }
    t->slots = calloc(slots, sizeof *t->slots);
    if (!t->slots) {
        goto free_names;
    }
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
        goto free_slots;
    }
    return t;

free_slots:
    free(t->slots);
free_names:
    free(t->names);
free_t:
    free(t);
    return NULL;
}

void np_intern_free(struct np_intern *t)
{
    if (!t) {
        return;
    }
    uint32_t count = np_intern_count(t);
    for (uint32_t i = 0; i < count; i++) {
        free((char *)t->names[i].p);
    }
    pthread_mutex_destroy(&t->lock);
    free(t->slots);
    free(t->names);
    free(t);
}

/* Whether the name has a number; *slot is its place in the table, or the one where it would go. */
static bool find(const struct np_intern *t, struct np_span name, uint32_t *slot, uint32_t *number)
{
    *slot = (uint32_t)np_fnv1a(name.p, name.n) & t->mask;
    for (;; *slot = (*slot + 1) & t->mask) {
        uint32_t found = atomic_load_explicit(&t->slots[*slot], memory_order_acquire);
        if (found == 0) {
            return false;
        }
        if (np_span_eq(t->names[found - 1], name)) {
            *number = found - 1;
            return true;
        }
    }
}

/* The lock is held and the name has no number. */
static enum np_err append(struct np_intern *t, struct np_span name, uint32_t slot, uint32_t *out)
{
    uint32_t number = atomic_load_explicit(&t->count, memory_order_relaxed);
    if (number == t->max) {
        return NP_E_FULL;
    }
    char *copy = malloc(name.n + 1);
    if (!copy) {
        return NP_E_NOMEM;
    }
    if (name.n > 0) {
        memcpy(copy, name.p, name.n);
    }
    copy[name.n] = '\0';
    t->names[number] = np_span_make(copy, name.n);
    /* The count first: who finds the slot without the lock must find its number counted too. */
    atomic_store_explicit(&t->count, number + 1, memory_order_release);
    atomic_store_explicit(&t->slots[slot], number + 1, memory_order_release);
    *out = number;
    return NP_OK;
}

/* Names with a NUL in them are refused (NP_E_INVALID), as np_intern_name could not give them back. */
enum np_err np_intern_add(struct np_intern *t, struct np_span name, uint32_t *out)
{
    uint32_t slot;
    if (name.n > 0 && memchr(name.p, '\0', name.n)) {
        return NP_E_INVALID;
    }
    if (find(t, name, &slot, out)) {
        return NP_OK;
    }
    pthread_mutex_lock(&t->lock);
    enum np_err err = find(t, name, &slot, out) ? NP_OK : append(t, name, slot, out);
    pthread_mutex_unlock(&t->lock);
    return err;
}

const char *np_intern_name(const struct np_intern *t, uint32_t number)
{
    np_require(number < np_intern_count(t));
    return t->names[number].p;
}

uint32_t np_intern_count(const struct np_intern *t)
{
    return atomic_load_explicit(&t->count, memory_order_acquire);
}
