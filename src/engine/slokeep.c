/* The file of the burn rates' minutes: path, minute, counts, nano-dollars, a line each. */
#include "engine/slokeep.h"

#include "engine/keepfile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD "neap-slo 1"
#define NAME_BYTES 512
#define TEXT_BYTES ((size_t)64 << 20) /* all endpoints at their fullest have less */

struct loading {
    struct np_guard *guard;
    const struct np_catalog *catalog;
    uint64_t now_ns;
    int64_t wall_ms;
};

static bool parse_line(const char *line, char path[NAME_BYTES], struct np_slo_minute *m)
{
    int end = 0;
    int n = sscanf(line,
                   "%511s %" SCNd64 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32
                   " %" SCNd64 " %n",
                   path, &m->wall_minute, &m->total, &m->counted, &m->slow, &m->bad, &m->degraded,
                   &m->cost_nusd, &end);
    return n == 8 && line[end] == '\0' && m->counted <= m->total && m->slow <= m->counted &&
           m->bad <= m->counted && m->degraded <= m->counted && m->cost_nusd >= 0;
}

static bool load_line(void *ctx, char *text)
{
    struct loading *l = ctx;
    char path[NAME_BYTES];
    struct np_slo_minute m;
    if (!parse_line(text, path, &m))
        return false;
    const struct np_endpoint *e = np_catalog_endpoint(l->catalog, np_span_of(path));
    if (e)
        np_slo_import(l->guard, e->slot, l->now_ns, l->wall_ms, &m, 1);
    return true;
}

void np_slokeep_load(const char *path, struct np_guard *g, const struct np_catalog *c,
                     uint64_t now_ns, int64_t wall_ms)
{
    struct loading l = {g, c, now_ns, wall_ms};
    np_keep_load(path, HEAD, load_line, &l);
}

static void put_endpoint(struct np_buf *out, struct np_guard *g, const struct np_endpoint *e,
                         uint64_t now_ns, int64_t wall_ms, struct np_slo_minute *minutes)
{
    size_t n = np_slo_export(g, e->slot, now_ns, wall_ms, minutes, NP_SLO_MINUTES);
    for (size_t i = 0; i < n; i++) {
        const struct np_slo_minute *m = &minutes[i];
        (void)np_buf_printf(out,
                            "%s %" PRId64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32
                            " %" PRIu32 " %" PRId64 "\n",
                            e->path, m->wall_minute, m->total, m->counted, m->slow, m->bad,
                            m->degraded, m->cost_nusd);
    }
}

enum np_err np_slokeep_save(const char *path, struct np_guard *g, const struct np_catalog *c,
                            uint64_t now_ns, int64_t wall_ms)
{
    struct np_buf text;
    struct np_slo_minute *minutes = malloc(NP_SLO_MINUTES * sizeof *minutes);
    if (!minutes)
        return NP_E_NOMEM;
    np_buf_init(&text, TEXT_BYTES);
    for (size_t i = 0; i < c->n_endpoints; i++)
        put_endpoint(&text, g, &c->endpoints[i], now_ns, wall_ms, minutes);
    free(minutes);
    enum np_err err = np_keep_save(path, HEAD, &text);
    np_buf_free(&text);
    return err;
}
