/* A file system for SQLite that fails when it is told to: the default one, with a counter before each
 * read, write and sync. */
#ifndef NP_TEST_LEDGER_FAULTS_H
#define NP_TEST_LEDGER_FAULTS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum fault_kind { FAULT_READ, FAULT_WRITE, FAULT_SYNC };

static sqlite3_vfs *fault_below;
static struct {
    enum fault_kind kind;
    int code;
    long left; /* calls that still succeed; below 0: none fails */
    bool happened;
} fault = {.left = -1};

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this */
};

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct fault_file *)f)->real;
}

/* The code of this call's failure; SQLITE_OK: it may go on. */
static int fault_due(enum fault_kind kind)
{
    if (fault.left < 0 || fault.kind != kind || fault.left-- > 0) {
        return SQLITE_OK;
    }
    fault.happened = true;
    return fault.code;
}

#define PASS(name, params, args)                \
    static int fault_##name params              \
    {                                           \
        return real_of(f)->pMethods->name args; \
    }

PASS(xClose, (sqlite3_file * f), (real_of(f)))
PASS(xFileSize, (sqlite3_file * f, sqlite3_int64 *n), (real_of(f), n))
PASS(xLock, (sqlite3_file * f, int n), (real_of(f), n))
PASS(xUnlock, (sqlite3_file * f, int n), (real_of(f), n))
PASS(xCheckReservedLock, (sqlite3_file * f, int *n), (real_of(f), n))
PASS(xFileControl, (sqlite3_file * f, int op, void *p), (real_of(f), op, p))
PASS(xSectorSize, (sqlite3_file * f), (real_of(f)))
PASS(xDeviceCharacteristics, (sqlite3_file * f), (real_of(f)))
PASS(xShmMap, (sqlite3_file * f, int a, int b, int c, void volatile **p), (real_of(f), a, b, c, p))
PASS(xShmLock, (sqlite3_file * f, int a, int n, int flags), (real_of(f), a, n, flags))
PASS(xShmUnmap, (sqlite3_file * f, int n), (real_of(f), n))

static void fault_xShmBarrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int fault_xRead(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    int rc = fault_due(FAULT_READ);
    return rc ? rc : real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int fault_xWrite(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    int rc = fault_due(FAULT_WRITE);
    return rc ? rc : real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

static int fault_xTruncate(sqlite3_file *f, sqlite3_int64 n)
{
    int rc = fault_due(FAULT_WRITE);
    return rc ? rc : real_of(f)->pMethods->xTruncate(real_of(f), n);
}

static int fault_xSync(sqlite3_file *f, int flags)
{
    int rc = fault_due(FAULT_SYNC);
    return rc ? rc : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_xClose,
    .xRead = fault_xRead,
    .xWrite = fault_xWrite,
    .xTruncate = fault_xTruncate,
    .xSync = fault_xSync,
    .xFileSize = fault_xFileSize,
    .xLock = fault_xLock,
    .xUnlock = fault_xUnlock,
    .xCheckReservedLock = fault_xCheckReservedLock,
    .xFileControl = fault_xFileControl,
    .xSectorSize = fault_xSectorSize,
    .xDeviceCharacteristics = fault_xDeviceCharacteristics,
    .xShmMap = fault_xShmMap,
    .xShmLock = fault_xShmLock,
    .xShmBarrier = fault_xShmBarrier,
    .xShmUnmap = fault_xShmUnmap,
};

static int fault_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *out)
{
    struct fault_file *mine = (struct fault_file *)f;
    (void)v;
    mine->real = (sqlite3_file *)&mine[1];
    mine->base.pMethods = NULL;
    int rc = fault_below->xOpen(fault_below, path, mine->real, flags, out);
    if (mine->real->pMethods) {
        mine->base.pMethods = &fault_methods;
    }
    return rc;
}

/* Becomes the default from now on. */
static void faults_install(void)
{
    static sqlite3_vfs vfs;
    fault_below = sqlite3_vfs_find(NULL);
    vfs = *fault_below;
    vfs.zName = "faults";
    vfs.szOsFile += (int)sizeof(struct fault_file);
    vfs.xOpen = fault_open;
    (void)sqlite3_vfs_register(&vfs, 1);
}

/* The n-th call of this kind from now on, counted from 0, fails with this code, once. */
static void fault_nth(enum fault_kind kind, long n, int code)
{
    fault.kind = kind;
    fault.left = n;
    fault.code = code;
    fault.happened = false;
}

static void fault_never(void)
{
    fault.left = -1;
}

#endif
