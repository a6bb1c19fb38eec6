/* Files by their path. The page itself is at "/" alone, so that it has one address. */
#include "engine/dashboard.h"

#include "script/embedded.h"

#define FOLDER "/dashboard/"
#define PAGE "index.html"

extern const struct np_embedded_file
    np_dashboard_files[]; /* made by the build; a NULL name ends it */

static const struct {
    const char *ending, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
};

static const char *type_of(struct np_span name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t n = strlen(types[i].ending);
        if (name.n > n && memcmp(name.p + name.n - n, types[i].ending, n) == 0)
            return types[i].type;
    }
    return NULL;
}

bool np_dashboard_find(struct np_span path, struct np_span *bytes, const char **content_type)
{
    size_t n = sizeof FOLDER - 1;
    struct np_span name = np_span_of(PAGE);
    if (np_span_starts(path, FOLDER))
        name = np_span_make(path.p + n, path.n - n);
    else if (!np_span_is(path, "/"))
        return false;
    if (path.n > n && np_span_is(name, PAGE))
        return false;
    *content_type = type_of(name);
    for (const struct np_embedded_file *f = np_dashboard_files; *content_type && f->name; f++) {
        if (np_span_is(name, f->name)) {
            *bytes = np_span_make((const char *)f->bytes, f->size);
            return true;
        }
    }
    return false;
}
