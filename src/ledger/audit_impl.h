/* What the files of the audit share. */
#ifndef NP_LEDGER_AUDIT_IMPL_H
#define NP_LEDGER_AUDIT_IMPL_H

#include "ledger/audit.h"

#include <sqlite3.h>

struct np_audit {
    char path[4096];
    sqlite3 *db;
    sqlite3_stmt *record, *paid;
};

/* The accounts that are of money; what else is leased is not looked at. */
#define NP_AUDIT_MONEY                                                                 \
    "(account GLOB 'global/*' OR account GLOB 'tenant:*' OR account GLOB 'endpoint:*'" \
    " OR account GLOB 'model:*' OR account GLOB 'provider:*')"

#endif
