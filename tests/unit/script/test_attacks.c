/* Every attack of tests/hostile/attacks*.lua in one hook on one thread, by its own CPU clock, which a busy
 * machine cannot falsify: how long after the limit of 5 ms is each stopped? */
#include "script/kit.h"

#include <lauxlib.h>
#include <time.h>

#include "script/script.h"

#define ATTACKS 400
#define LONGEST_SHOWN 5

/* Stopped by 10 ms on a machine that is idle; one that is busy, its caches cold, takes twice as long, and
 * ASan twice again. */
#if defined(__SANITIZE_ADDRESS__)
#define LONGEST_MS 50.0
#else
#define LONGEST_MS 20.0
#endif

struct attack {
    char kind[16], name[64];
    double ms;
};

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static char *read_library(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/hostile/%s.lua", getenv("NEAP_SOURCE"), name);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    char *text = calloc(1, 200000);
    ck_assert_uint_gt(fread(text, 1, 199999, f), 1000);
    fclose(f);
    return text;
}

static int find_attacks(const char *text, struct attack *out, int n)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        ck_assert_int_lt(n, ATTACKS);
        n += sscanf(line, "%15[a-z][\"%63[^\"]\"] =", out[n].kind, out[n].name) == 2;
    }
    return n;
}

static const char source[] = "local some, more = require 'lib.attacks', require 'lib.attacks_c'\n"
                             "return function(req)\n"
                             "  local m = req.metadata\n"
                             "  local attack = some[m.kind][m.attack] or more[m.kind][m.attack]\n"
                             "  return attack(req)\n"
                             "end";

static void let_loose(struct kit *k, struct attack *a)
{
    char body[512], id[32];
    static unsigned requests;
    snprintf(id, sizeof id, "req_%u", requests++);
    int n = snprintf(body, sizeof body,
                     "{\"prompt\":\"%%bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\","
                     "\"metadata\":{\"kind\":\"%s\",\"attack\":\"%s\"}}",
                     a->kind, a->name);
    ck_assert_int_lt(n, (int)sizeof body);
    np_exchange_free(k->x);
    k->x = kit_exchange(k, body, id);
    double start = cpu_ms();
    np_hook_route(k->s, k->x, &k->rep);
    a->ms = cpu_ms() - start;
    enum np_hook_result wanted = a->kind[0] == 'h' ? NP_HOOK_NOTHING : NP_HOOK_FAILED;
    ck_assert_msg(k->rep.result == wanted, "%s: %d %s", a->name, (int)k->rep.result, k->rep.error);
    if (a->kind[0] == 'e')
        ck_assert_msg(k->rep.failure == KIT_TIME || k->rep.failure == KIT_MEMORY, "%s: %s", a->name,
                      k->rep.error);
    ck_assert_msg(a->ms < LONGEST_MS, "%s took %.1f ms of CPU", a->name, a->ms);
    if (np_script_spoiled(k->s)) {
        np_script_free(k->s);
        ck_assert_ptr_nonnull(kit_script(k));
    }
    np_script_idle(k->s);
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct attack *)a)->ms, y = ((const struct attack *)b)->ms;
    return (x < y) - (x > y);
}

START_TEST(every_attack_is_stopped_in_time)
{
    struct kit k;
    static struct attack attacks[ATTACKS];
    char *some = read_library("attacks"), *more = read_library("attacks_c");
    kit_open(&k, true,
             (const char *const[]){"lib/attacks.lua", some, "lib/attacks_c.lua", more, "route.lua",
                                   source, NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    int n = find_attacks(more, attacks, find_attacks(some, attacks, 0));
    ck_assert_int_gt(n, 200);
    for (int i = 0; i < n; i++)
        let_loose(&k, &attacks[i]);
    qsort(attacks, (size_t)n, sizeof attacks[0], by_time);
    printf("%d attacks, the longest:", n);
    for (int i = 0; i < LONGEST_SHOWN; i++)
        printf(" %.1f ms (%s)", attacks[i].ms, attacks[i].name);
    printf("\n");
    kit_close(&k);
    free(some);
    free(more);
}
END_TEST

static const char keeper[] =
    "local kept = {}\n"
    "return function(req)\n"
    "  if req.metadata.kind == 'harmless' then\n"
    "    for i = 1, 1000 do kept[#kept + 1] = { i } end\n"
    "    return\n"
    "  end\n"
    "  local function f(n) if n > 0 then pcall(f, n - 1) pcall(f, n - 1) end end\n"
    "  f(180)\n"
    "end";

/* Were blocks refused while the levels end, each level would collect the whole heap. */
START_TEST(a_deep_call_ends_as_soon_beside_a_full_heap)
{
    struct kit k;
    kit_open(&k, true, (const char *const[]){"route.lua", keeper, NULL});
    ck_assert_ptr_nonnull(kit_script(&k));
    struct attack fill = {"harmless", "filling", 0}, deep = {"endless", "deep", 0};
    for (int i = 0; i < 100; i++)
        let_loose(&k, &fill);
    ck_assert_uint_gt(np_script_bytes(k.s), 7u << 20);
    let_loose(&k, &deep);
    printf("a deep call beside %zu KiB of kept values: %.1f ms\n", np_script_bytes(k.s) >> 10,
           deep.ms);
    kit_close(&k);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("attacks");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, every_attack_is_stopped_in_time);
    tcase_add_test(tc, a_deep_call_ends_as_soon_beside_a_full_heap);
    return kit_run(tc);
}
