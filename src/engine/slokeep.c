/* The file of the burn rates' minutes. */
#include "engine/slokeep.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD "neap-slo 1\n"
#define LINE_MAX_BYTES 512
/* Of all endpoints at their fullest, with room. */
#define LINES_MAX (NP_MAX_ENDPOINTS * NP_SLO_MINUTES)

/* One line: path, minute, counts, nano-dollars. */
static bool parse_line(const char *line, char path[LINE_MAX_BYTES], struct np_slo_minute *m)
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

static void load_lines(FILE *f, const char *path, struct np_guard *g, const struct np_catalog *c,
                       uint64_t now_ns, int64_t wall_ms)
{
    char line[LINE_MAX_BYTES], endpoint[LINE_MAX_BYTES];
    size_t odd = 0;
    for (size_t i = 0; i < LINES_MAX && fgets(line, sizeof line, f); i++) {
        struct np_slo_minute m;
        if (!parse_line(line, endpoint, &m)) {
            odd++;
            continue;
        }
        const struct np_endpoint *e = np_catalog_endpoint(c, np_span_of(endpoint));
        if (e)
            np_slo_import(g, e->slot, now_ns, wall_ms, &m, 1);
    }
    if (odd > 0)
        np_log(NP_LOG_WARN, "lines of the objectives' file could not be read", NP_KVS("file", path),
               NP_KVI("lines", odd));
}

void np_slokeep_load(const char *path, struct np_guard *g, const struct np_catalog *c,
                     uint64_t now_ns, int64_t wall_ms)
{
    char head[sizeof HEAD];
    FILE *f = fopen(path, "re");
    if (!f) {
        if (errno != ENOENT)
            np_log(NP_LOG_WARN, "the objectives' file can't be read, burn rates begin anew",
                   NP_KVS("file", path), NP_KVS("error", strerror(errno)));
        return;
    }
    if (fgets(head, sizeof head, f) && strcmp(head, HEAD) == 0)
        load_lines(f, path, g, c, now_ns, wall_ms);
    else
        np_log(NP_LOG_WARN, "the objectives' file is of another kind, burn rates begin anew",
               NP_KVS("file", path));
    (void)fclose(f);
}

static bool save_endpoint(FILE *f, struct np_guard *g, const struct np_endpoint *e, uint64_t now_ns,
                          int64_t wall_ms, struct np_slo_minute *minutes)
{
    size_t n = np_slo_export(g, e->slot, now_ns, wall_ms, minutes, NP_SLO_MINUTES);
    for (size_t i = 0; i < n; i++) {
        const struct np_slo_minute *m = &minutes[i];
        if (fprintf(f,
                    "%s %" PRId64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32
                    " %" PRId64 "\n",
                    e->path, m->wall_minute, m->total, m->counted, m->slow, m->bad, m->degraded,
                    m->cost_nusd) < 0)
            return false;
    }
    return true;
}

static bool save_to(FILE *f, struct np_guard *g, const struct np_catalog *c, uint64_t now_ns,
                    int64_t wall_ms)
{
    struct np_slo_minute *minutes = malloc(NP_SLO_MINUTES * sizeof *minutes);
    bool good = minutes && fputs(HEAD, f) >= 0;
    for (size_t i = 0; good && i < c->n_endpoints; i++)
        good = save_endpoint(f, g, &c->endpoints[i], now_ns, wall_ms, minutes);
    free(minutes);
    return good && fflush(f) == 0 && fsync(fileno(f)) == 0;
}

enum np_err np_slokeep_save(const char *path, struct np_guard *g, const struct np_catalog *c,
                            uint64_t now_ns, int64_t wall_ms)
{
    char beside[4096];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return NP_E_RANGE;
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool good = f && save_to(f, g, c, now_ns, wall_ms);
    int error = errno;
    if (f)
        good = fclose(f) == 0 && good;
    else if (fd >= 0)
        (void)close(fd);
    if (good && rename(beside, path) == 0)
        return NP_OK;
    np_log(NP_LOG_ERROR, "the objectives' file can't be written", NP_KVS("file", path),
           NP_KVS("error", strerror(good ? errno : error)));
    (void)unlink(beside);
    return NP_E_IO;
}
