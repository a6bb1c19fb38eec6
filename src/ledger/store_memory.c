/* The store in memory: one instance, nothing kept. It grants at once, just what is asked for. */
#include "ledger/store.h"

#include <stdlib.h>

static void ask_round(struct np_store *s, struct np_round *round)
{
    (void)s;
    for (size_t i = 0; i < round->n; i++) {
        struct np_lease *lease = &round->leases[i];
        int64_t left = lease->limit - np_vector_held(&lease->own);
        left = left > 0 ? left : 0;
        lease->granted = lease->own.granted + (lease->need < left ? lease->need : left);
        lease->answered = lease->durable = true;
    }
    round->rows_durable = round->store_ok = true;
    if (round->done) {
        round->done(round->ctx, round);
    }
}

static void release(struct np_store *s)
{
    free(s);
}

static const struct np_store_ops ops = {
    .name = "memory:", .round = ask_round, .free = release, .immediate = true};

struct np_store *np_store_memory_new(void)
{
    struct np_store *s = calloc(1, sizeof *s);
    if (s) {
        s->ops = &ops;
    }
    return s;
}
