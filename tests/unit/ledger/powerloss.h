/* A file system for SQLite that lives in memory and loses power: what was not synced is then there in
 * part, in another order, or torn in the middle of a write. */
#ifndef NP_TEST_LEDGER_POWERLOSS_H
#define NP_TEST_LEDGER_POWERLOSS_H

#include "base/err.h"
#include "base/rng.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define POWER_FILES 4
#define POWER_OPS 16384
#define POWER_SHM 64

/* Bytes that grow as they are written. */
struct image {
    unsigned char *p;
    size_t n, room;
};

/* A write that was not synced; of no bytes: a truncation to `at`. */
struct power_op {
    size_t at, n;
    unsigned char *p;
};

struct power_disk_file {
    char name[64];
    bool there, was_there; /* now; after the last sync of it */
    struct image live, durable;
    struct power_op op[POWER_OPS];
    size_t n_ops;
};

static struct power_disk_file power_file[POWER_FILES];
static struct np_rng power_rng;
static long power_left; /* writes and syncs until the power fails; below 0: it does not */
static bool power_off, power_lies;
static void *power_shm[POWER_SHM];

struct power_handle {
    sqlite3_file base;
    struct power_disk_file *f;
};

static void image_write(struct image *i, size_t at, const void *p, size_t n)
{
    if (at + n > i->room) {
        i->room = (at + n) * 2;
        i->p = realloc(i->p, i->room);
        np_require(i->p);
    }
    if (at > i->n) {
        memset(i->p + i->n, 0, at - i->n);
    }
    memcpy(i->p + at, p, n);
    i->n = at + n > i->n ? at + n : i->n;
}

static void image_copy(struct image *to, const struct image *from)
{
    to->n = 0;
    if (from->n > 0) {
        image_write(to, 0, from->p, from->n);
    }
}

/* Whether this call is one that the power no longer lasts for. */
static bool power_fails(void)
{
    if (power_left >= 0 && power_left-- == 0) {
        power_off = true;
    }
    return power_off;
}

static void forget_ops(struct power_disk_file *f)
{
    for (size_t i = 0; i < f->n_ops; i++) {
        free(f->op[i].p);
    }
    f->n_ops = 0;
}

static void apply(struct image *i, const struct power_op *op, size_t from, size_t n)
{
    if (op->n == 0) {
        i->n = op->at < i->n ? op->at : i->n;
    } else if (n > 0) {
        image_write(i, op->at + from, op->p + from, n);
    }
}

/* What a disk may make of writes that it was not told to keep: each is lost, whole, or torn, and they come
 * in any order. */
static void lose_power(struct power_disk_file *f)
{
    for (size_t i = f->n_ops; i > 1; i--) {
        size_t other = np_rng_below(&power_rng, i);
        struct power_op op = f->op[i - 1];
        f->op[i - 1] = f->op[other];
        f->op[other] = op;
    }
    for (size_t i = 0; i < f->n_ops; i++) {
        const struct power_op *op = &f->op[i];
        size_t part = op->n > 0 ? np_rng_below(&power_rng, op->n) : 0;
        switch (np_rng_below(&power_rng, 4)) {
        case 0:
            break;
        case 1:
            apply(&f->durable, op, 0, part);
            break;
        case 2:
            apply(&f->durable, op, part, op->n - part);
            break;
        default:
            apply(&f->durable, op, 0, op->n);
        }
    }
    /* A file that was made, or deleted, and whose folder was not synced may be there or not. */
    if (f->there != f->was_there) {
        f->there = np_rng_below(&power_rng, 2) == 1;
    }
    f->was_there = f->there;
    if (!f->there) {
        f->durable.n = 0;
    }
    image_copy(&f->live, &f->durable);
    forget_ops(f);
}

static void power_shm_free(void)
{
    for (size_t i = 0; i < POWER_SHM; i++) {
        free(power_shm[i]);
        power_shm[i] = NULL;
    }
}

/* The machine comes up again. */
static void power_cycle(void)
{
    for (size_t i = 0; i < POWER_FILES; i++) {
        lose_power(&power_file[i]);
    }
    power_shm_free();
    power_off = false;
    power_left = -1;
}

/* An empty disk. */
static void power_begin(uint64_t seed)
{
    np_rng_seed(&power_rng, seed);
    for (size_t i = 0; i < POWER_FILES; i++) {
        forget_ops(&power_file[i]);
        free(power_file[i].live.p);
        free(power_file[i].durable.p);
        power_file[i] = (struct power_disk_file){0};
    }
    power_shm_free();
    power_off = false;
    power_left = -1;
}

/* --- what SQLite calls ---------------------------------------------------------------------------- */

static struct power_disk_file *on_disk(sqlite3_file *h)
{
    return ((struct power_handle *)h)->f;
}

static void note(struct power_disk_file *f, size_t at, const void *p, size_t n)
{
    np_require(f->n_ops < POWER_OPS);
    struct power_op *op = &f->op[f->n_ops++];
    *op = (struct power_op){.at = at, .n = n, .p = n > 0 ? malloc(n) : NULL};
    if (n > 0) {
        np_require(op->p);
        memcpy(op->p, p, n);
    }
}

static int power_close(sqlite3_file *h)
{
    (void)h;
    return SQLITE_OK;
}

static int power_read(sqlite3_file *h, void *p, int n, sqlite3_int64 at)
{
    struct image *i = &on_disk(h)->live;
    size_t have = (size_t)at < i->n ? i->n - (size_t)at : 0;
    size_t got = have < (size_t)n ? have : (size_t)n;
    if (power_off) {
        return SQLITE_IOERR_READ;
    }
    memset(p, 0, (size_t)n);
    if (got > 0) {
        memcpy(p, i->p + at, got);
    }
    return got < (size_t)n ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int power_write(sqlite3_file *h, const void *p, int n, sqlite3_int64 at)
{
    struct power_disk_file *f = on_disk(h);
    bool off = power_off, fails = power_fails();
    if (!off) {
        note(f, (size_t)at, p, (size_t)n); /* the last one may arrive in part */
    }
    if (fails) {
        return SQLITE_IOERR_WRITE;
    }
    image_write(&f->live, (size_t)at, p, (size_t)n);
    return SQLITE_OK;
}

static int power_truncate(sqlite3_file *h, sqlite3_int64 n)
{
    struct power_disk_file *f = on_disk(h);
    if (power_fails()) {
        return SQLITE_IOERR_TRUNCATE;
    }
    f->live.n = (size_t)n < f->live.n ? (size_t)n : f->live.n;
    note(f, (size_t)n, NULL, 0);
    return SQLITE_OK;
}

/* SQLite syncs the folder with the first sync of a file that it made: then all names are kept. */
static void sync_folder(const struct power_disk_file *made)
{
    for (size_t i = 0; i < POWER_FILES && made->was_there != made->there; i++) {
        if (&power_file[i] != made) {
            power_file[i].was_there = power_file[i].there;
        }
    }
    power_file[made - power_file].was_there = made->there;
}

static int power_sync(sqlite3_file *h, int flags)
{
    struct power_disk_file *f = on_disk(h);
    (void)flags;
    if (power_fails()) {
        return SQLITE_IOERR_FSYNC;
    }
    if (!power_lies) {
        image_copy(&f->durable, &f->live);
        forget_ops(f);
        sync_folder(f);
    }
    return SQLITE_OK;
}

static int power_size(sqlite3_file *h, sqlite3_int64 *n)
{
    *n = (sqlite3_int64)on_disk(h)->live.n;
    return power_off ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

static int power_lock(sqlite3_file *h, int n)
{
    (void)h;
    (void)n;
    return SQLITE_OK;
}

static int power_reserved(sqlite3_file *h, int *n)
{
    (void)h;
    *n = 0;
    return SQLITE_OK;
}

static int power_control(sqlite3_file *h, int op, void *p)
{
    (void)h;
    (void)op;
    (void)p;
    return SQLITE_NOTFOUND;
}

static int power_sector(sqlite3_file *h)
{
    (void)h;
    return 4096;
}

/* As the real one says: a write damages nothing beside it. */
static int power_traits(sqlite3_file *h)
{
    (void)h;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int power_shm_map(sqlite3_file *h, int region, int bytes, int extend, void volatile **out)
{
    (void)h;
    np_require(region < POWER_SHM);
    if (!power_shm[region] && extend) {
        power_shm[region] = calloc(1, (size_t)bytes);
        np_require(power_shm[region]);
    }
    *out = power_shm[region];
    return SQLITE_OK;
}

static int power_shm_lock(sqlite3_file *h, int at, int n, int flags)
{
    (void)h;
    (void)at;
    (void)n;
    (void)flags;
    return SQLITE_OK;
}

static void power_shm_barrier(sqlite3_file *h)
{
    (void)h;
}

static int power_shm_unmap(sqlite3_file *h, int delete)
{
    (void)h;
    if (delete) {
        power_shm_free();
    }
    return SQLITE_OK;
}

static struct power_disk_file *find_file(const char *path, bool make)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    for (size_t i = 0; i < POWER_FILES; i++) {
        struct power_disk_file *f = &power_file[i];
        if (f->name[0] == '\0' && make) {
            (void)strncpy(f->name, name, sizeof f->name - 1);
        }
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    np_require(!make);
    return NULL;
}

static int power_open(sqlite3_vfs *v, const char *path, sqlite3_file *h, int flags, int *out)
{
    static const sqlite3_io_methods methods = {.iVersion = 2,
                                               .xClose = power_close,
                                               .xRead = power_read,
                                               .xWrite = power_write,
                                               .xTruncate = power_truncate,
                                               .xSync = power_sync,
                                               .xFileSize = power_size,
                                               .xLock = power_lock,
                                               .xUnlock = power_lock,
                                               .xCheckReservedLock = power_reserved,
                                               .xFileControl = power_control,
                                               .xSectorSize = power_sector,
                                               .xDeviceCharacteristics = power_traits,
                                               .xShmMap = power_shm_map,
                                               .xShmLock = power_shm_lock,
                                               .xShmBarrier = power_shm_barrier,
                                               .xShmUnmap = power_shm_unmap};
    (void)v;
    h->pMethods = NULL;
    if (power_off) {
        return SQLITE_CANTOPEN;
    }
    ((struct power_handle *)h)->f = find_file(path, true);
    ((struct power_handle *)h)->f->there = true;
    h->pMethods = &methods;
    if (out) {
        *out = flags;
    }
    return SQLITE_OK;
}

static int power_delete(sqlite3_vfs *v, const char *path, int sync)
{
    struct power_disk_file *f = find_file(path, false);
    (void)v;
    if (power_fails()) {
        return SQLITE_IOERR_DELETE;
    }
    if (f) {
        f->there = false;
        f->live.n = 0;
        forget_ops(f);
        if (sync && !power_lies) {
            f->was_there = false;
            f->durable.n = 0;
        }
    }
    return SQLITE_OK;
}

static int power_access(sqlite3_vfs *v, const char *path, int flags, int *out)
{
    const struct power_disk_file *f = find_file(path, false);
    (void)v;
    (void)flags;
    *out = f && f->there;
    return power_off ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

/* Becomes the default from now on. */
static void power_install(void)
{
    static sqlite3_vfs vfs;
    vfs = *sqlite3_vfs_find(NULL);
    vfs.zName = "powerloss";
    vfs.szOsFile = (int)sizeof(struct power_handle);
    vfs.xOpen = power_open;
    vfs.xDelete = power_delete;
    vfs.xAccess = power_access;
    (void)sqlite3_vfs_register(&vfs, 1);
}

#endif
