/* Data files of operators: a set loads, or is refused with a problem that has a code and a line; looking
 * into its code and telling what is wrong bear whatever it holds. The first byte says which file it is. */
#include "fuzz/fuzz.h"

#include "fuzz/set.h"
#include "model/catalog.h"

FUZZ_SEEDS(
    SEED("0" SET_PROVIDERS), SEED("1" SET_MODELS), SEED("2" SET_ENDPOINTS),
    SEED(
        "3return { acme = { keys = { 'sha256:"
        "0123456789abcdef0123456789abcdef"
        "0123456789abcdef0123456789abcdef' }, requests_per_minute = 6, expires = '2027-06-30' } }"),
    SEED("4return { { account = 'tenant', window = 'day', limit_usd = 5, unknown = 'worst' } }"),
    SEED("5return { budget = { 0.8, 1.0 }, p95_jump = 2.0, burn = true, daily_report = '08:00' }"),
    SEED("6return function(req) return { 'big', { model = 'small', timeout_ms = 5 } }, 'why' end"),
    SEED(
        "6-- neap: allow N301 it is meant\nlocal x = require 'lib.x'\nreturn function(req, room)\n"
        "  for i = 1, 10 do x = x .. tostring(req.id) end\n  goto done\n  ::done:: return nil\nend"),
    SEED("7Sorry {{requestId}}, {{reason}}: {{nobody}} {{"), SEED("0\x1bLua\x54\x00\x19\x93"));

static const char *const names[] = {"providers.lua", "models.lua",        "endpoints.lua",
                                    "tenants.lua",   "budgets.lua",       "alerts.lua",
                                    "route.lua",     "templates/busy.txt"};
static const struct np_span usual[] = {
    SEED(SET_PROVIDERS), SEED(SET_MODELS), SEED(SET_ENDPOINTS), {NULL, 0}, SEED(SET_BUDGETS)};

static struct np_slots slots;

static void begin(void)
{
    char path[128];
    set_make();
    (void)snprintf(path, sizeof path, "%s/templates", set_dir);
    np_require(mkdir(path, 0700) == 0 && np_slots_init(&slots) == NP_OK);
}

/* The file is as it was before, or gone. */
static void restore(unsigned which)
{
    char path[256];
    if (which < sizeof usual / sizeof usual[0] && usual[which].p) {
        set_put(names[which], usual[which]);
        return;
    }
    (void)snprintf(path, sizeof path, "%s/%s", set_dir, names[which]);
    np_require(unlink(path) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!set_dir[0])
        begin();
    struct np_span in = np_span_make((const char *)data, n);
    unsigned which = fuzz_byte(&in) % (sizeof names / sizeof names[0]);
    struct np_problems problems;
    struct np_buf text;
    set_put(names[which], in);
    struct np_policyset *set = set_load(&slots, &problems);
    np_require(set ? problems.errors == 0 : problems.errors > 0);
    if (set) {
        (void)!np_policyset_inspect(set, &problems);
        np_policyset_place(set, &problems);
        np_policyset_drop(set);
    }
    np_problems_settle(&problems);
    np_buf_init(&text, (size_t)4 << 20);
    np_problems_print(&problems, &text);
    for (size_t i = 0; i < problems.n; i++)
        np_require(strlen(problems.list[i].code) == 4 && problems.list[i].text[0]);
    np_buf_free(&text);
    np_problems_free(&problems);
    restore(which);
    return 0;
}
