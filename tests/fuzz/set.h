/* A policy set in a folder of its own, for targets that need one. */
#ifndef NP_TEST_FUZZ_SET_H
#define NP_TEST_FUZZ_SET_H

#include "base/log.h"
#include "script/policyset.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SET_PROVIDERS                                                                              \
    "local off = { failures = 0, rate = 0 }\n"                                                     \
    "return { openai = { adapter = 'openai', base_url = 'http://127.0.0.1:1/v1', breaker = off }," \
    " anthropic = { adapter = 'anthropic', base_url = 'http://127.0.0.1:1', breaker = off } }"
#define SET_MODELS                                                             \
    "return { big = { provider = 'openai', context = 8000, max_output = 4096," \
    " usd_per_million = { input = 2, output = 8 } },"                          \
    " small = { provider = 'anthropic', usd_per_million = { input = 0.4, output = 1.6 } } }"
#define SET_ENDPOINTS                                                            \
    "return { ['/api/big/reply'] = { models = { 'big' }, deadline_ms = 10000 }," \
    " ['/api/small/reply'] = { models = { 'small', 'big' }, max_cost_usd = 0.02 } }"
#define SET_BUDGETS "return { { account = 'global', window = 'none', limit_usd = 1 } }"

static char set_dir[64];

static int set_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void set_tidy(void)
{
    nftw(set_dir, set_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void set_put(const char *name, struct np_span text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", set_dir, name);
    FILE *f = fopen(path, "w");
    np_require(f && fwrite(text.p, 1, text.n, f) == text.n && fclose(f) == 0);
}

/* Makes the folder, which goes with the process. */
static void set_make(void)
{
    (void)snprintf(set_dir, sizeof set_dir, "/tmp/neap-fuzz-XXXXXX");
    np_require(mkdtemp(set_dir));
    (void)atexit(set_tidy);
    np_log_level(NP_LOG_ERROR);
    set_put("providers.lua", NP_SPAN(SET_PROVIDERS));
    set_put("models.lua", NP_SPAN(SET_MODELS));
    set_put("endpoints.lua", NP_SPAN(SET_ENDPOINTS));
    set_put("budgets.lua", NP_SPAN(SET_BUDGETS));
}

/* Reads and loads it; NULL where it is not valid. The problems are the caller's to free. */
static struct np_policyset *set_load(const struct np_slots *slots, struct np_problems *problems)
{
    struct np_load_options options = {.slots = slots, .simulated = true, .trust_folder = true};
    struct np_policyset *set = NULL;
    np_problems_init(problems);
    enum np_err err = np_policyset_read(set_dir, &set, problems);
    if (!err)
        err = np_policyset_load(set, &options, problems);
    if (err) {
        np_policyset_drop(set);
        return NULL;
    }
    return set;
}

#endif
