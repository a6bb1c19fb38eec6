/* For tests of policy sets: a folder of its own that lives as long as the test, and what came of
 * reading and loading it. */
#ifndef NP_TEST_SCRIPT_SETKIT_H
#define NP_TEST_SCRIPT_SETKIT_H

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script/policyset.h"

#define SETKIT_PROVIDERS                                                                    \
    "return { openai = { adapter = \"openai\", base_url = \"https://api.openai.com/v1\" }," \
    " anthropic = { adapter = \"anthropic\", base_url = \"https://api.anthropic.com\" } }"
#define SETKIT_MODELS                                                                       \
    "return { [\"gpt-4.1\"] = { provider = \"openai\", tier = \"premium\", context = 1000," \
    " usd_per_million = { input = 2.00, cached_input = 0.50, output = 8.00 } },\n"          \
    " claude = { provider = \"anthropic\", id = \"claude-sonnet\","                         \
    " usd_per_million = { input = 3, output = 15 } } }"
#define SETKIT_ENDPOINTS \
    "return { [\"/api/assistant/reply\"] = { models = { \"gpt-4.1\", \"claude\" } } }"

struct setkit {
    char dir[64];
    struct np_slots slots;
    struct np_problems problems;
    struct np_policyset *set;
    const struct np_catalog *catalog;
    bool simulated;
};

static inline void setkit_write(const struct setkit *k, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    char *slash = strrchr(path + strlen(k->dir) + 1, '/');
    if (slash) {
        *slash = '\0';
        ck_assert(mkdir(path, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(path, 0644), 0);
}

/* A folder with the three files that each set has. */
static inline void setkit_open(struct setkit *k)
{
    memset(k, 0, sizeof *k);
    snprintf(k->dir, sizeof k->dir, "/tmp/neap-set-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(k->dir));
    setkit_write(k, "providers.lua", SETKIT_PROVIDERS);
    setkit_write(k, "models.lua", SETKIT_MODELS);
    setkit_write(k, "endpoints.lua", SETKIT_ENDPOINTS);
    ck_assert_int_eq(np_slots_init(&k->slots), NP_OK);
    np_problems_init(&k->problems);
}

static inline int setkit_remove_one(const char *path, const struct stat *st, int type,
                                    struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void setkit_drop(struct setkit *k)
{
    np_policyset_drop(k->set);
    np_problems_free(&k->problems);
    k->set = NULL;
    k->catalog = NULL;
}

static inline void setkit_close(struct setkit *k)
{
    setkit_drop(k);
    np_slots_free(&k->slots);
    nftw(k->dir, setkit_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Reads and loads it; k->problems says what was wrong. */
static inline enum np_err setkit_load(struct setkit *k)
{
    setkit_drop(k);
    struct np_load_options options = {.slots = &k->slots, .simulated = k->simulated};
    enum np_err err = np_policyset_read(k->dir, &k->set, &k->problems);
    if (!err)
        err = np_policyset_load(k->set, &options, &k->problems);
    if (!err)
        k->catalog = np_policyset_catalog(k->set);
    return err;
}

/* All problems as they are printed; static. */
static inline const char *setkit_text(const struct setkit *k)
{
    static char text[65536];
    struct np_buf b;
    np_buf_init(&b, sizeof text - 1);
    np_problems_print(&k->problems, &b);
    memcpy(text, b.n ? b.p : "", b.n);
    text[b.n] = '\0';
    np_buf_free(&b);
    return text;
}

#define setkit_assert_loads(k) ck_assert_msg(setkit_load(k) == NP_OK, "%s", setkit_text(k))

/* It must not load, and this must be one of the lines that say why. */
#define setkit_assert_refused(k, line)                                                            \
    do {                                                                                          \
        ck_assert_msg(setkit_load(k) != NP_OK, "it loads");                                       \
        ck_assert_msg(strstr(setkit_text(k), line), "wanted: %s\ngot: %s", line, setkit_text(k)); \
    } while (0)

/* It must load, with this warning. */
#define setkit_assert_warns(k, line)                                                              \
    do {                                                                                          \
        setkit_assert_loads(k);                                                                   \
        ck_assert_msg(strstr(setkit_text(k), line), "wanted: %s\ngot: %s", line, setkit_text(k)); \
    } while (0)

#endif
