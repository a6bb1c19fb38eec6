/* The OTEL_* variables of the environment, as OpenTelemetry's specification has them. What is not
 * understood is told and left out: a start never fails for it. */
#include "engine/otel_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define TEXTS_BYTES (256u << 10)
#define VALUE_MAX 16384

struct source {
    const struct np_otel_env *env;
    struct np_otel_config *c;
    bool no_memory;
};

/* Empty counts as not set. */
static const char *get(struct source *s, const char *name)
{
    const char *value = s->env->get(s->env->ctx, name);
    if (!value || !value[0])
        return NULL;
    if (strlen(value) > VALUE_MAX) {
        s->env->warn(s->env->ctx, name, "is too long");
        return NULL;
    }
    return value;
}

static const char *keep(struct source *s, struct np_span text)
{
    char *copy = np_arena_printf(s->c->texts, "%.*s", (int)text.n, text.p);
    s->no_memory |= !copy;
    return copy ? copy : "";
}

static bool is(const char *value, const char *word)
{
    return value && strcasecmp(value, word) == 0;
}

static uint32_t read_number(struct source *s, const char *name, uint32_t fallback, uint32_t most)
{
    const char *value = get(s, name);
    unsigned long long n;
    if (!value)
        return fallback;
    if (np_span_to_u64(np_span_of(value), &n) && n >= 1 && n <= most)
        return (uint32_t)n;
    s->env->warn(s->env->ctx, name, "is no number that can be taken; the default counts");
    return fallback;
}

/* --- lists of key=value ---------------------------------------------------------------------------- */

static struct np_span trim(struct np_span t)
{
    while (t.n > 0 && isspace((unsigned char)t.p[0]))
        t = np_span_make(t.p + 1, t.n - 1);
    while (t.n > 0 && isspace((unsigned char)t.p[t.n - 1]))
        t.n--;
    return t;
}

static int hex(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

/* Takes back what was written as %41; a % that is none stays. */
static const char *decode(struct source *s, struct np_span text)
{
    char *out = (char *)np_arena_alloc(s->c->texts, text.n + 1);
    size_t n = 0;
    if (!out) {
        s->no_memory = true;
        return "";
    }
    for (size_t i = 0; i < text.n; i++) {
        bool coded = text.p[i] == '%' && i + 2 < text.n && hex(text.p[i + 1]) >= 0 &&
                     hex(text.p[i + 2]) >= 0;
        out[n++] = coded ? (char)(hex(text.p[i + 1]) * 16 + hex(text.p[i + 2])) : text.p[i];
        i += coded ? 2 : 0;
    }
    out[n] = '\0';
    return out;
}

/* The next pair of "a=1,b=2". False at the end; *ok false for what is no pair. */
static bool next_pair(struct np_span *rest, struct np_span *key, struct np_span *value, bool *ok)
{
    if (rest->n == 0)
        return false;
    const char *comma = memchr(rest->p, ',', rest->n);
    struct np_span pair = np_span_make(rest->p, comma ? (size_t)(comma - rest->p) : rest->n);
    size_t n = pair.n + (comma != NULL);
    *rest = np_span_make(rest->p + n, rest->n - n);
    const char *equals = pair.n > 0 ? memchr(pair.p, '=', pair.n) : NULL;
    size_t at = equals ? (size_t)(equals - pair.p) : pair.n;
    *key = trim(np_span_make(pair.p, at));
    *value = trim(np_span_make(pair.p + at + (equals != NULL), pair.n - at - (equals != NULL)));
    *ok = equals && key->n > 0;
    return true;
}

static void put_attr(struct source *s, const char *key, const char *value)
{
    struct np_otel_config *c = s->c;
    for (size_t i = 0; i < c->n_attrs; i++) {
        if (strcmp(c->attrs[i].key, key) == 0)
            return; /* what was said first counts */
    }
    if (c->n_attrs < NP_OTEL_ATTRS)
        c->attrs[c->n_attrs++] = (struct np_otel_attr){key, value};
}

/* All of the variable counts, or nothing. */
static void read_attrs(struct source *s)
{
    const char *name = "OTEL_RESOURCE_ATTRIBUTES", *value = get(s, name);
    struct np_span key, text;
    bool ok = true;
    for (struct np_span rest = np_span_of(value); next_pair(&rest, &key, &text, &ok);) {
        if (!ok) {
            s->env->warn(s->env->ctx, name, "is no list of key=value; none of it is taken");
            return;
        }
    }
    for (struct np_span rest = np_span_of(value); next_pair(&rest, &key, &text, &ok);)
        put_attr(s, keep(s, key), decode(s, text));
}

static void read_resource(struct source *s)
{
    char host[256] = "";
    const char *service = get(s, "OTEL_SERVICE_NAME");
    if (service)
        put_attr(s, "service.name", keep(s, np_span_of(service)));
    read_attrs(s);
    put_attr(s, "service.name", "neap");
    put_attr(s, "service.version", neap_version());
    uint8_t r[16];
    np_random_bytes(r, sizeof r);
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    char id[37];
    (void)snprintf(id, sizeof id,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0],
                   r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13],
                   r[14], r[15]);
    put_attr(s, "service.instance.id", keep(s, np_span_of(id)));
    if (gethostname(host, sizeof host - 1) == 0 && host[0])
        put_attr(s, "host.name", keep(s, np_span_of(host)));
}

/* --- one signal ------------------------------------------------------------------------------------ */

/* A variable of the signal's own counts before the one for both: "OTEL_EXPORTER_OTLP_", signal, rest. */
static const char *get_either(struct source *s, const char *signal, const char *rest, char name[64])
{
    (void)snprintf(name, 64, "OTEL_EXPORTER_OTLP_%s_%s", signal, rest);
    const char *value = get(s, name);
    if (value)
        return value;
    (void)snprintf(name, 64, "OTEL_EXPORTER_OTLP_%s", rest);
    return get(s, name);
}

static void read_headers(struct source *s, const char *signal, struct np_otel_signal_config *out)
{
    char name[64];
    const char *value = get_either(s, signal, "HEADERS", name);
    struct np_span key, text;
    bool ok = true;
    out->fields[out->n_fields++] = (struct np_call_field){
        NP_SPAN("content-type"),
        out->json ? NP_SPAN("application/json") : NP_SPAN("application/x-protobuf")};
    out->fields[out->n_fields++] =
        (struct np_call_field){NP_SPAN("user-agent"), NP_SPAN("neap/" NEAP_VERSION)};
    for (struct np_span rest = np_span_of(value); next_pair(&rest, &key, &text, &ok);) {
        if (!ok || out->n_fields == NP_OTEL_FIELDS) {
            s->env->warn(s->env->ctx, name, ok ? "has too many" : "is no list of key=value");
            return;
        }
        out->fields[out->n_fields++] =
            (struct np_call_field){np_span_of(keep(s, key)), np_span_of(decode(s, text))};
    }
}

/* False: it can't be sent so. */
static bool read_protocol(struct source *s, const char *signal, struct np_otel_signal_config *out)
{
    char name[64];
    const char *value = get_either(s, signal, "PROTOCOL", name);
    out->json = is(value, "http/json");
    if (!value || out->json || is(value, "http/protobuf"))
        return true;
    s->env->warn(s->env->ctx, name,
                 "is neither http/protobuf nor http/json; nothing is sent of what it is for");
    return false;
}

/* The address: the signal's own as it is, or the one for both and the signal's path. */
static bool read_url(struct source *s, const char *signal, const char *path,
                     struct np_otel_signal_config *out)
{
    char name[64];
    const char *why;
    (void)snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_ENDPOINT", signal);
    const char *own = get(s, name), *both = get(s, "OTEL_EXPORTER_OTLP_ENDPOINT");
    const char *base = own ? own : both;
    if (!base)
        return false;
    size_t n = strlen(base);
    const char *slash = own ? "" : n > 0 && base[n - 1] == '/' ? "" : "/";
    int all = snprintf(out->url, sizeof out->url, "%s%s%s", base, slash, own ? "" : path);
    if (all < 0 || (size_t)all >= sizeof out->url ||
        !np_upstream_url_ok(np_span_of(out->url), &why)) {
        s->env->warn(s->env->ctx, own ? name : "OTEL_EXPORTER_OTLP_ENDPOINT",
                     "is no address that can be called (http or https, no user, no query)");
        return false;
    }
    return true;
}

static void read_signal(struct source *s, const char *signal, const char *path,
                        struct np_otel_signal_config *out)
{
    char name[64];
    (void)snprintf(name, sizeof name, "OTEL_%s_EXPORTER", signal);
    const char *exporter = get(s, name);
    if (is(exporter, "none"))
        return;
    if (exporter && !is(exporter, "otlp"))
        s->env->warn(s->env->ctx, name, "is neither otlp nor none; otlp counts");
    if (!read_url(s, signal, path, out) || !read_protocol(s, signal, out))
        return;
    if (get_either(s, signal, "COMPRESSION", name) &&
        !is(get_either(s, signal, "COMPRESSION", name), "none"))
        s->env->warn(s->env->ctx, name, "is not known; nothing is compressed");
    read_headers(s, signal, out);
    (void)snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_TIMEOUT", signal);
    uint32_t both = read_number(s, "OTEL_EXPORTER_OTLP_TIMEOUT", 10000, 600000);
    out->timeout_ms = read_number(s, name, both, 600000);
    out->on = true;
}

/* --- the rest -------------------------------------------------------------------------------------- */

static double read_ratio(struct source *s)
{
    const char *name = "OTEL_TRACES_SAMPLER_ARG", *value = get(s, name);
    char *end;
    double ratio = value ? strtod(value, &end) : 1;
    if (!value || (*end == '\0' && ratio >= 0 && ratio <= 1))
        return ratio;
    s->env->warn(s->env->ctx, name, "is no number from 0 to 1; 1 counts");
    return 1;
}

static void read_sampler(struct source *s)
{
    static const struct {
        const char *name;
        struct np_trace_rule rule;
    } known[] = {
        {"parentbased_always_on", {NP_SAMPLE_ALL, true, 1}},
        {"parentbased_always_off", {NP_SAMPLE_NONE, true, 1}},
        {"parentbased_traceidratio", {NP_SAMPLE_RATIO, true, 1}},
        {"always_on", {NP_SAMPLE_ALL, false, 1}},
        {"always_off", {NP_SAMPLE_NONE, false, 1}},
        {"traceidratio", {NP_SAMPLE_RATIO, false, 1}},
    };
    const char *name = "OTEL_TRACES_SAMPLER", *value = get(s, name);
    s->c->rule = known[0].rule;
    bool found = !value;
    for (size_t i = 0; !found && i < sizeof known / sizeof *known; i++) {
        found = is(value, known[i].name);
        if (found)
            s->c->rule = known[i].rule;
    }
    if (!found)
        s->env->warn(s->env->ctx, name,
                     "is no sampler that is known; parentbased_always_on counts");
    if (s->c->rule.root == NP_SAMPLE_RATIO)
        s->c->rule.ratio = read_ratio(s);
}

static void read_batches(struct source *s)
{
    struct np_otel_config *c = s->c;
    c->queue = read_number(s, "OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1u << 20);
    c->batch = read_number(s, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1u << 16);
    c->batch = c->batch < c->queue ? c->batch : c->queue;
    c->delay_ms = read_number(s, "OTEL_BSP_SCHEDULE_DELAY", 5000, 3600000);
    c->interval_ms = read_number(s, "OTEL_METRIC_EXPORT_INTERVAL", 60000, 86400000);
}

enum np_err np_otel_config_read(struct np_otel_config *out, const struct np_otel_env *env)
{
    *out = (struct np_otel_config){0};
    struct source s = {.env = env, .c = out};
    if (is(get(&s, "OTEL_SDK_DISABLED"), "true"))
        return NP_OK;
    out->texts = np_arena_new(TEXTS_BYTES);
    if (!out->texts)
        return NP_E_NOMEM;
    read_signal(&s, "TRACES", "v1/traces", &out->traces);
    read_signal(&s, "METRICS", "v1/metrics", &out->metrics);
    if (!out->traces.on && !out->metrics.on)
        return s.no_memory ? NP_E_NOMEM : NP_OK;
    read_sampler(&s);
    read_batches(&s);
    read_resource(&s);
    const char *ca_file = get(&s, "OTEL_EXPORTER_OTLP_CERTIFICATE");
    out->ca_file = ca_file ? keep(&s, np_span_of(ca_file)) : NULL;
    return s.no_memory ? NP_E_NOMEM : NP_OK;
}

void np_otel_config_free(struct np_otel_config *c)
{
    np_arena_free(c->texts);
    *c = (struct np_otel_config){0};
}
