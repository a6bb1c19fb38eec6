/* Reading a policy set's folder: every file of it, once, into memory, and the version over them.
 *
 * What is no part of a set is passed over (dot files, what editors leave) or told (a .lua file that
 * nothing would ever run). Links may lead about inside the folder, as in a mounted ConfigMap, but not
 * out of it. A folder that changes while it is read is read again. */
#include "script/policyset_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "script/load.h"

#define MAX_FILES 10000
#define MAX_FILE_BYTES ((size_t)4 << 20) /* tenants.lua with 20,000 tenants */
#define MAX_SET_BYTES ((size_t)64 << 20)
#define ARENA_BYTES (2 * MAX_SET_BYTES)
#define MAX_NAME_BYTES 200
#define TRIES 5

struct reader {
    struct np_policyset *set;
    struct np_problems *problems;
    char root[PATH_MAX]; /* resolved */
    size_t cap;
    size_t bytes;
    uint64_t seen; /* over names, sizes and times: tells whether the folder has changed meanwhile */
    bool incomplete;
    bool too_large; /* reading it again would help nobody */
};

const char *const np_data_files[NP_DATA_COUNT] = {"providers.lua", "models.lua",  "endpoints.lua",
                                                  "tenants.lua",   "budgets.lua", "alerts.lua"};

static bool has_end(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* What editors leave behind: name~, .name.swp, #name#, name.tmp, vim's 4913. Dot files too. */
static bool is_passed_over(const char *name)
{
    static const char *const ends[] = {"~",    ".swp",  ".swo", ".swx",
                                       ".tmp", ".orig", ".rej", ".bak"};
    if (name[0] == '.' || name[0] == '#' || strcmp(name, "4913") == 0)
        return true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (has_end(name, ends[i]))
            return true;
    return false;
}

static bool is_hook_file(const char *name)
{
    char stem[32];
    if (!has_end(name, ".lua") || strlen(name) - 4 >= sizeof stem)
        return false;
    snprintf(stem, sizeof stem, "%.*s", (int)strlen(name) - 4, name);
    for (int h = 0; h < NP_HOOK_COUNT; h++)
        if (strcmp(stem, np_hook_name((enum np_hook)h)) == 0)
            return true;
    return false;
}

static bool is_word(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(p[i] == '_' || p[i] == '-' || (p[i] >= '0' && p[i] <= '9') ||
              (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z')))
            return false;
    return n > 0 && n < 60;
}

static bool is_data_file(const char *name)
{
    for (size_t i = 0; i < NP_DATA_COUNT; i++)
        if (strcmp(name, np_data_files[i]) == 0)
            return true;
    return false;
}

/* In a folder, a file of this end whose name is a word. */
static bool is_word_in(const char *name, const char *folder, const char *end)
{
    const char *last = strchr(name, '/') + 1;
    return np_span_starts(np_span_of(name), folder) && has_end(last, end) &&
           is_word(last, strlen(last) - strlen(end));
}

enum np_set_kind np_set_file_kind(const char *name)
{
    const char *slash = strchr(name, '/');
    if (strcmp(slash ? slash + 1 : name, "README.md") == 0)
        return NP_SET_OTHER;
    if (has_end(name, "_test.lua"))
        return NP_SET_TEST;
    if (!slash)
        return is_data_file(name) ? NP_SET_DATA : is_hook_file(name) ? NP_SET_HOOK : NP_SET_UNKNOWN;
    if (is_word_in(name, "lib/", ".lua"))
        return NP_SET_LIBRARY;
    if (is_word_in(name, "templates/", ".txt"))
        return NP_SET_TEMPLATE;
    return is_word_in(name, "cases/", ".json") ? NP_SET_OTHER : NP_SET_UNKNOWN;
}

/* ---------------------------------------------------------------------------------- problems */

static void fail(struct reader *r, const char *name, const char *code, const char *text)
{
    r->incomplete = true;
    np_problems_add(r->problems, name, 0, 0, code, false, "%s", text);
}

static void tell_unknown(struct reader *r, const char *name)
{
    static const char *const known[] = {
        "providers.lua", "models.lua",  "endpoints.lua", "tenants.lua",  "budgets.lua",
        "alerts.lua",    "admit.lua",   "route.lua",     "truncate.lua", "budget.lua",
        "retry.lua",     "respond.lua", "degrade.lua",   "alert.lua",    "README.md"};
    bool lua = has_end(name, ".lua");
    if (lua && np_span_starts(np_span_of(name), "lib/")) {
        np_problems_add(r->problems, name, 0, 0, "N103", false,
                        "no `require` can name this file: letters, digits, _ and - make a name");
        return;
    }
    const char *guess = np_span_guess(np_span_of(name), known, sizeof known / sizeof known[0]);
    if (lua)
        np_problems_add(r->problems, name, 0, 0, "N103", false,
                        "no file of a policy set has this name, nothing would run it%s%s%s",
                        guess ? "; did you mean "
                              : " (shared code goes to lib/, tests end in _test.lua)",
                        guess ? guess : "", guess ? "?" : "");
    else
        np_problems_add(r->problems, name, 0, 0, "N110", true,
                        "is no part of a policy set and is passed over%s%s%s",
                        guess ? "; did you mean " : "", guess ? guess : "", guess ? "?" : "");
}

/* ----------------------------------------------------------------------------------- one file */

static void note(struct reader *r, const char *name, const struct stat *st)
{
    const uint64_t facts[] = {np_fnv1a(name, strlen(name)), (uint64_t)st->st_size,
                              (uint64_t)st->st_ino, (uint64_t)st->st_mtim.tv_sec,
                              (uint64_t)st->st_mtim.tv_nsec};
    r->seen ^= np_fnv1a(facts, sizeof facts);
}

static bool is_inside(const struct reader *r, const char *path)
{
    size_t n = strlen(r->root);
    return strncmp(path, r->root, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* Opens a name below the folder; what is no link needs no look at where it leads. -1: told. */
static int open_entry(struct reader *r, const char *name)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
    char path[PATH_MAX], real[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", r->root, name);
    int fd = -1;
    errno = ENAMETOOLONG;
    if (n > 0 && (size_t)n < sizeof path)
        fd = open(path, flags);
    if (fd < 0 && errno == ELOOP && realpath(path, real)) {
        if (!is_inside(r, real)) {
            fail(r, name, "N102", "is a link that leads out of the folder of the policy set");
            return -1;
        }
        fd = open(real, flags);
    }
    if (fd < 0)
        fail(r, name, "N102", strerror(errno));
    return fd;
}

/* Reads to the end; the size that stat told is a guess. p NULL on failure (told). */
static struct np_span read_all(struct reader *r, const char *name, int fd, size_t guess)
{
    struct np_span none = NP_SPAN_NONE;
    struct np_buf b;
    np_buf_init(&b, MAX_FILE_BYTES + 1);
    if (np_buf_reserve(&b, guess + 1))
        goto memory;
    for (;;) {
        if (b.n > MAX_FILE_BYTES) {
            fail(r, name, "N102", "is larger than 4 MiB");
            goto out;
        }
        size_t room = MAX_FILE_BYTES + 1 - b.n < 65536 ? MAX_FILE_BYTES + 1 - b.n : 65536;
        if (np_buf_reserve(&b, room))
            goto memory;
        ssize_t got = read(fd, b.p + b.n, room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            fail(r, name, "N102", strerror(errno));
            goto out;
        }
        if (got == 0)
            break;
        b.n += (size_t)got;
    }
    r->bytes += b.n;
    none = np_arena_dup(r->set->arena, np_span_make(b.p, b.n));
    if (!none.p)
        goto memory;
    goto out;

memory:
    fail(r, name, "N102", np_err_text(NP_E_NOMEM));
out:
    np_buf_free(&b);
    return none;
}

static struct np_set_file *new_file(struct reader *r)
{
    struct np_policyset *set = r->set;
    if (set->n_files == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        struct np_set_file *files = np_arena_array(set->arena, cap, sizeof *files);
        if (!files)
            return NULL;
        if (set->n_files > 0)
            memcpy(files, set->files, set->n_files * sizeof *files);
        set->files = files;
        r->cap = cap;
    }
    return &set->files[set->n_files];
}

/* Whether somebody else may write it: everybody, or a group. A file of our own user in our own group is
 * as a private group's umask of 002 makes it. */
static bool is_loose(const struct stat *st)
{
    bool own = st->st_uid == geteuid() && st->st_gid == getegid();
    return (st->st_mode & S_IWOTH) || ((st->st_mode & S_IWGRP) && !own);
}

static void take_file(struct reader *r, const char *name, int fd, const struct stat *st)
{
    if (r->set->n_files >= MAX_FILES || r->bytes > MAX_SET_BYTES) {
        if (!r->too_large)
            fail(r, name, "N109", "the set is too large: at most 10,000 files and 64 MiB in all");
        r->too_large = true;
        return;
    }
    struct np_set_file *f = new_file(r);
    const char *kept = np_arena_strdup(r->set->arena, name);
    if (!f || !kept) {
        fail(r, name, "N102", np_err_text(NP_E_NOMEM));
        return;
    }
    size_t guess = (size_t)st->st_size < MAX_FILE_BYTES ? (size_t)st->st_size : MAX_FILE_BYTES;
    *f = (struct np_set_file){.name = kept, .loose = is_loose(st)};
    f->source = read_all(r, name, fd, guess);
    if (f->source.p)
        r->set->n_files++;
}

/* ------------------------------------------------------------------------------------ folders */

static void read_folder(struct reader *r, const char *below);

static void read_entry(struct reader *r, const char *below, const char *entry)
{
    char name[MAX_NAME_BYTES];
    struct stat st;
    int n = snprintf(name, sizeof name, "%s%s%s", below, below[0] ? "/" : "", entry);
    if (n < 0 || (size_t)n >= sizeof name) {
        fail(r, entry, "N102", "has too long a name");
        return;
    }
    int fd = open_entry(r, name);
    if (fd < 0)
        return;
    if (fstat(fd, &st) != 0) {
        fail(r, name, "N102", strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        bool known = !below[0] && (strcmp(entry, "lib") == 0 || strcmp(entry, "templates") == 0 ||
                                   strcmp(entry, "cases") == 0);
        if (known)
            read_folder(r, name);
        else
            np_problems_add(
                r->problems, name, 0, 0, "N110", true,
                "is no folder of a policy set (lib, templates, cases) and is passed over");
    } else if (np_set_file_kind(name) == NP_SET_UNKNOWN) {
        tell_unknown(r, name);
    } else if (!S_ISREG(st.st_mode)) {
        fail(r, name, "N102", "is not a file");
    } else {
        note(r, name, &st);
        take_file(r, name, fd, &st);
    }
    close(fd);
}

static void read_folder(struct reader *r, const char *below)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s", r->root, below[0] ? "/" : "", below);
    DIR *dir = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    if (!dir) {
        fail(r, below, "N101", strerror(errno));
        return;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (!is_passed_over(e->d_name) && r->set->n_files <= MAX_FILES)
            read_entry(r, below, e->d_name);
    closedir(dir);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct np_set_file *)a)->name, ((const struct np_set_file *)b)->name);
}

/* SHA-256 over each file's name, NUL, size in decimal, NUL, content, in the order of names. */
static enum np_err find_version(struct np_policyset *set)
{
    uint8_t digest[NP_SHA256_BYTES];
    struct np_sha256 *h = np_sha256_new();
    if (!h)
        return NP_E_NOMEM;
    for (size_t i = 0; i < set->n_files; i++) {
        const struct np_set_file *f = &set->files[i];
        char size[24];
        int n = snprintf(size, sizeof size, "%zu", f->source.n);
        np_sha256_add(h, f->name, strlen(f->name) + 1);
        np_sha256_add(h, size, (size_t)n + 1);
        np_sha256_add(h, f->source.p, f->source.n);
    }
    np_sha256_end(h, digest);
    np_hex(digest, 6, set->version);
    return NP_OK;
}

/* The same facts again, without reading contents. */
static void look_again(struct reader *r, uint64_t *seen)
{
    struct reader second = {.set = r->set};
    for (size_t i = 0; i < r->set->n_files; i++) {
        char path[PATH_MAX];
        struct stat st;
        int n = snprintf(path, sizeof path, "%s/%s", r->root, r->set->files[i].name);
        if (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0)
            note(&second, r->set->files[i].name, &st);
    }
    *seen = second.seen;
}

static enum np_err read_once(struct reader *r, const char *dir)
{
    struct np_policyset *set = calloc(1, sizeof *set);
    r->set = set;
    if (!set)
        return NP_E_NOMEM;
    atomic_init(&set->holds, 1);
    set->arena = np_arena_new(ARENA_BYTES);
    if (!set->arena)
        return NP_E_NOMEM;
    set->dir = np_arena_strdup(set->arena, dir);
    if (!set->dir)
        return NP_E_NOMEM;
    read_folder(r, "");
    if (r->incomplete)
        return NP_E_IO;
    if (set->n_files > 0)
        qsort(set->files, set->n_files, sizeof *set->files, by_name);
    return find_version(set);
}

enum np_err np_policyset_read(const char *dir, struct np_policyset **out,
                              struct np_problems *problems)
{
    *out = NULL;
    size_t n = problems->n, errors = problems->errors;
    for (int i = 0; i < TRIES; i++) {
        struct reader r = {.problems = problems};
        /* What an earlier try told, it told of a folder that has changed since. */
        problems->n = n;
        problems->errors = errors;
        if (!realpath(dir, r.root)) {
            np_problems_add(problems, "", 0, 0, "N101", false, "%s: %s", dir, strerror(errno));
            return NP_E_IO;
        }
        enum np_err err = read_once(&r, dir);
        uint64_t seen = 0;
        if (!err)
            look_again(&r, &seen);
        if (!err && seen == r.seen) {
            r.set->flawed = problems->errors > errors;
            *out = r.set;
            return NP_OK;
        }
        np_policyset_drop(r.set);
        if (err == NP_E_NOMEM) {
            np_problems_add(problems, "", 0, 0, "N101", false, "%s", np_err_text(err));
            return err;
        }
        if (err && (i == TRIES - 1 || r.too_large))
            return err;
    }
    np_problems_add(problems, "", 0, 0, "N101", false, "%s changes while it is read", dir);
    return NP_E_IO;
}

static bool copy_files(struct np_policyset *to, const struct np_policyset *from)
{
    to->files = np_arena_array(to->arena, from->n_files ? from->n_files : 1, sizeof *to->files);
    if (!to->files)
        return false;
    for (size_t i = 0; i < from->n_files; i++) {
        const struct np_set_file *f = &from->files[i];
        to->files[i] = (struct np_set_file){.name = np_arena_strdup(to->arena, f->name),
                                            .source = np_arena_dup(to->arena, f->source),
                                            .loose = f->loose};
        if (!to->files[i].name || !to->files[i].source.p)
            return false;
        to->n_files++;
    }
    return true;
}

struct np_policyset *np_policyset_again(const struct np_policyset *set)
{
    struct np_policyset *again = calloc(1, sizeof *again);
    if (!again)
        return NULL;
    atomic_init(&again->holds, 1);
    again->flawed = set->flawed;
    memcpy(again->version, set->version, sizeof again->version);
    again->arena = np_arena_new(ARENA_BYTES);
    again->dir = again->arena ? np_arena_strdup(again->arena, set->dir) : NULL;
    if (!again->dir || !copy_files(again, set)) {
        np_policyset_drop(again);
        return NULL;
    }
    return again;
}

/* ------------------------------------------------------------------------------------- access */

const char *np_policyset_version(const struct np_policyset *set)
{
    return set->version;
}

size_t np_policyset_files(const struct np_policyset *set)
{
    return set->n_files;
}

const char *np_policyset_dir(const struct np_policyset *set)
{
    return set->dir;
}

const struct np_catalog *np_policyset_catalog(const struct np_policyset *set)
{
    return set->catalog;
}

const struct np_set_file *np_set_file_find(const struct np_policyset *set, const char *name)
{
    size_t low = 0, high = set->n_files;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(set->files[mid].name, name);
        if (order == 0)
            return &set->files[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

bool np_policyset_has_hook(const struct np_policyset *set, enum np_hook hook)
{
    char name[40];
    snprintf(name, sizeof name, "%s.lua", np_hook_name(hook));
    return np_set_file_find(set, name) != NULL;
}

struct np_policyset *np_policyset_hold(struct np_policyset *set)
{
    atomic_fetch_add_explicit(&set->holds, 1, memory_order_relaxed);
    return set;
}

/* Keys don't stay in memory that is free for others. */
static void wipe_secrets(const struct np_catalog *c)
{
    for (size_t i = 0; i < c->n_providers; i++)
        for (size_t k = 0; k < c->providers[i].n_keys; k++) {
            char *value = (char *)(uintptr_t)c->providers[i].keys[k].value;
            explicit_bzero(value, strlen(value));
        }
}

void np_policyset_drop(struct np_policyset *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->holds, 1, memory_order_acq_rel) != 1)
        return;
    if (set->catalog) {
        struct np_arena *arena = set->catalog->arena;
        wipe_secrets(set->catalog);
        np_arena_free(arena);
    }
    if (set->arena)
        np_arena_free(set->arena);
    free(set);
}
