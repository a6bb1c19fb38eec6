/* What the files of the journal share. */
#ifndef NP_LEDGER_JOURNAL_IMPL_H
#define NP_LEDGER_JOURNAL_IMPL_H

#include "base/clock.h"
#include "ledger/journal.h"

#include <sqlite3.h>
#include <string.h>

enum np_sql {
    NP_SQL_BEGIN,
    NP_SQL_BOOT,
    NP_SQL_COMMIT,
    NP_SQL_ROLLBACK,
    NP_SQL_GET,
    NP_SQL_OTHERS,
    NP_SQL_PUT,
    NP_SQL_ROW,
    NP_SQL_TOTAL,
    NP_SQL_PEERS,
    NP_SQL_KNOWN,
    NP_SQL_KNOW,
    NP_SQL_PRUNE_ROWS,
    NP_SQL_PRUNE_VECTORS,
    NP_SQL_PRUNE_KNOWN,
    NP_SQL_COUNT
};

struct np_journal {
    char *path;
    int lock_fd;
    struct np_journal_id id;
    sqlite3 *db; /* NULL: closed after a failure */
    sqlite3_stmt *sql[NP_SQL_COUNT];
    int failed; /* the first code that went wrong in this transaction */
    bool told;  /* the failure was logged */
};

#define NP_JOURNAL_LOCK 4200
/* The name of a file's lock: the same one, whichever name of the file is used. */
void np_journal_lock_name(const char *path, char out[NP_JOURNAL_LOCK]);
/* Takes the lock of the file, which is there already, for as long as this process lives. NP_E_BUSY: another
 * one has it. */
enum np_err np_journal_lock(struct np_journal *j, char *why, size_t size) NP_MUST_CHECK;
/* Opens the connection; *why says what failed. */
enum np_err np_journal_connect(struct np_journal *j, char *why, size_t size) NP_MUST_CHECK;
/* Opens it again after a failure. */
enum np_err np_journal_reconnect(struct np_journal *j, char *why, size_t size) NP_MUST_CHECK;
void np_journal_disconnect(struct np_journal *j);
/* Makes the statements; a code of SQLite's. */
int np_journal_prepare(struct np_journal *j);

#endif
