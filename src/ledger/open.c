/* Which store, from what the operator wrote, and starting on it. */
#include "ledger/ledger_impl.h"
#include "ledger/store_kinds.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PATH_BYTES 4096

/* The file of a store: below --state where its path is relative. The folder is made if need be. */
static enum np_err file_of(const struct np_ledger_config *c, const char *path, char out[PATH_BYTES],
                           char *why, size_t size)
{
    int n = path[0] == '/' || !c->state ? snprintf(out, PATH_BYTES, "%s", path)
                                        : snprintf(out, PATH_BYTES, "%s/%s", c->state, path);
    if (n < 0 || n >= PATH_BYTES) {
        (void)snprintf(why, size, "--store: the path is longer than %d bytes", PATH_BYTES - 1);
        return NP_E_INVALID;
    }
    if (c->state && mkdir(c->state, 0700) != 0 && errno != EEXIST) {
        (void)snprintf(why, size, "--state %s: %s", c->state, strerror(errno));
        return NP_E_IO;
    }
    return NP_OK;
}

/* The path as people find it, whatever the working directory is later. */
static void name_file(struct np_ledger *l, const char *scheme, const char *path)
{
    char real[PATH_BYTES];
    (void)snprintf(l->store_name, sizeof l->store_name, "%s%s", scheme,
                   realpath(path, real) ? real : path);
}

static enum np_err start_on(const struct np_ledger_config *c, struct np_store *store,
                            struct np_ledger **out)
{
    struct np_ledger *l = np_ledger_on(store, c->clock);
    if (!l) {
        return NP_E_NOMEM;
    }
    l->share = c->share;
    *out = l;
    return NP_OK;
}

/* The journal in `path`, and what it had to make good. */
static enum np_err open_journal(const struct np_ledger_config *c, const char *path,
                                struct np_journal **out, char *why, size_t size)
{
    int64_t recovered = 0;
    enum np_err err = np_journal_open(path, np_clock_wall_ms(c->clock), out, &recovered, why, size);
    if (!err && recovered > 0) {
        np_log(NP_LOG_WARN,
               "the last life of the ledger crashed; what it had leased counts as spent",
               NP_KVS("file", path), NP_KVM("presumed_usd", recovered));
    }
    return err;
}

static enum np_err open_redis(const struct np_ledger_config *c, struct np_ledger **out, char *why,
                              size_t size)
{
    char path[PATH_BYTES];
    struct np_redis_url url;
    struct np_journal *journal = NULL;
    enum np_err err = np_redis_url_read(c->store, &url, why, size);
    err = err ? err : file_of(c, "neap-journal.db", path, why, size);
    err = err ? err : open_journal(c, path, &journal, why, size);
    if (err) {
        return err;
    }
    np_log(NP_LOG_INFO, "the shared ledger knows this process by the name in its journal",
           NP_KVS("instance", np_journal_id(journal)->instance), NP_KVS("file", path));
    err = start_on(c, np_store_redis_new(journal, &url), out);
    if (err) {
        return err;
    }
    (void)snprintf((*out)->store_name, sizeof(*out)->store_name, "redis%s://%s:%u/%u",
                   url.tls ? "s" : "", url.host, url.port, url.db);
    return NP_OK;
}

static enum np_err open_sqlite(const struct np_ledger_config *c, struct np_ledger **out, char *why,
                               size_t size)
{
    char path[PATH_BYTES];
    struct np_journal *journal = NULL;
    enum np_err err = file_of(c, c->store + strlen("sqlite:"), path, why, size);
    err = err ? err : open_journal(c, path, &journal, why, size);
    err = err ? err : start_on(c, np_store_sqlite_new(journal), out);
    if (!err) {
        name_file(*out, "sqlite:", path);
    }
    return err;
}

const char *np_ledger_version(void)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "sqlite %s\nhiredis %s", np_journal_version(),
                   np_redis_version);
    return text;
}

enum np_err np_ledger_check(const char *store, char *why, size_t size)
{
    struct np_redis_url url;
    if (strcmp(store, "memory:") == 0 || (strncmp(store, "sqlite:", 7) == 0 && store[7])) {
        return NP_OK;
    }
    if (strncmp(store, "redis://", 8) == 0 || strncmp(store, "rediss://", 9) == 0) {
        return np_redis_url_read(store, &url, why, size);
    }
    (void)snprintf(why, size, "--store: memory:, sqlite:PATH or redis://HOST:PORT/DB is wanted");
    return NP_E_INVALID;
}

enum np_err np_ledger_open(const struct np_ledger_config *config, struct np_ledger **out, char *why,
                           size_t size)
{
    struct np_ledger *l = NULL;
    enum np_err err = np_ledger_check(config->store, why, size);
    if (err) {
        return err;
    }
    (void)snprintf(why, size, "no memory for the ledger");
    if (strcmp(config->store, "memory:") == 0) {
        err = start_on(config, np_store_memory_new(), &l);
    } else if (strncmp(config->store, "sqlite:", 7) == 0) {
        err = open_sqlite(config, &l, why, size);
    } else {
        err = open_redis(config, &l, why, size);
    }
    if (!err && !l->store->ops->immediate) {
        err = np_thread_start(l);
    }
    if (err) {
        np_ledger_free(l);
        return err;
    }
    *out = l;
    return NP_OK;
}
