/* The stores that keep something. */
#ifndef NP_LEDGER_STORE_KINDS_H
#define NP_LEDGER_STORE_KINDS_H

#include "ledger/journal.h"
#include "ledger/redis_link.h"
#include "ledger/store.h"

/* Takes the journal, also when NULL comes back. */
struct np_store *np_store_sqlite_new(struct np_journal *journal);

/* A Redis server that instances share, with the journal of this one; as above. */
struct np_store *np_store_redis_new(struct np_journal *journal, const struct np_redis_url *url);

/* Inside a transaction: fills in what earlier lives left (where the lease is not opened) and what was
 * granted to this instance as far as the journal knows. */
enum np_err np_journal_own(struct np_journal *j, struct np_lease *lease) NP_MUST_CHECK;

#endif
