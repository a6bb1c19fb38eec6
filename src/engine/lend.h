/* What the engine lends to policies (script/powers.h), made from guards, ledger and a clock. */
#ifndef NP_ENGINE_LEND_H
#define NP_ENGINE_LEND_H

#include "guard/guard.h"
#include "ledger/ledger.h"
#include "script/powers.h"

/* Lives as long as the powers that are made from it. */
struct np_lender {
    struct np_guard *guard;
    struct np_ledger *ledger;
    const struct np_catalog *catalog;
    const struct np_clock *clock;
};

struct np_powers np_lend(struct np_lender *l, struct np_rng *rng, struct np_shared *shared);

#endif
