/* W3C Trace Context, level 1 with the random flag of level 2 (https://www.w3.org/TR/trace-context/), and
 * the samplers of OpenTelemetry. */
#include "model/trace.h"

#include <string.h>

#define FLAG_SAMPLED 0x01u
#define FLAG_RANDOM 0x02u
#define LENGTH 55 /* "00-" 32 "-" 16 "-" 2 */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *p, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit(p[2 * i]), low = digit(p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static char *put_hex(char *out, const uint8_t *id, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[id[i] >> 4];
        *out++ = digits[id[i] & 15];
    }
    return out;
}

static bool all_zero(const uint8_t *id, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= id[i];
    return any == 0;
}

/* A later version may go on behind what version 00 has. */
static bool read_parent(struct np_span s, struct np_trace *t)
{
    uint8_t version;
    if (s.n < LENGTH || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
        return false;
    if (!read_hex(s.p, &version, 1) || version == 0xff ||
        (s.n > LENGTH && (version == 0 || s.p[LENGTH] != '-')))
        return false;
    if (!read_hex(s.p + 3, t->id, sizeof t->id) ||
        !read_hex(s.p + 36, t->parent, sizeof t->parent) || !read_hex(s.p + 53, &t->flags, 1))
        return false;
    return !all_zero(t->id, sizeof t->id) && !all_zero(t->parent, sizeof t->parent);
}

/* It is passed on as it is: so only what may stand in a header. */
static bool state_ok(struct np_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((s.p[i] < ' ' || s.p[i] > '~') && s.p[i] != '\t')
            return false;
    }
    return s.n <= NP_TRACESTATE_MAX;
}

static void random_id(struct np_rng *rng, uint8_t *id, size_t n)
{
    do {
        for (size_t i = 0; i < n; i += 8) {
            uint64_t v = np_rng_u64(rng);
            memcpy(id + i, &v, 8);
        }
    } while (all_zero(id, n));
}

/* By the last 7 bytes of the trace's id, which are random: all who ask so choose the same traces. */
static bool in_ratio(const struct np_trace *t, double ratio)
{
    uint64_t v = 0;
    for (size_t i = NP_TRACE_ID_BYTES - 7; i < NP_TRACE_ID_BYTES; i++)
        v = v << 8 | t->id[i];
    return (double)v >= (1 - ratio) * 0x1p56;
}

static bool chosen(const struct np_trace *t, const struct np_trace_rule *rule)
{
    if (rule->follow && t->has_parent)
        return t->flags & FLAG_SAMPLED;
    return rule->root == NP_SAMPLE_ALL ||
           (rule->root == NP_SAMPLE_RATIO && in_ratio(t, rule->ratio));
}

void np_trace_begin(struct np_trace *t, const struct np_trace_rule *rule, struct np_rng *rng,
                    struct np_span traceparent, struct np_span tracestate)
{
    *t = (struct np_trace){0};
    t->has_parent = traceparent.p && read_parent(traceparent, t);
    if (!t->has_parent) {
        *t = (struct np_trace){0};
        if (!rule)
            return;
        random_id(rng, t->id, sizeof t->id);
    } else if (tracestate.p && state_ok(tracestate)) {
        t->state = tracestate;
    }
    t->known = true;
    if (!rule)
        return;
    t->own = true;
    random_id(rng, t->span, sizeof t->span);
    t->sampled = chosen(t, rule);
}

void np_trace_attempt_id(const struct np_trace *t, unsigned attempt, uint8_t out[NP_SPAN_ID_BYTES])
{
    uint64_t v;
    memcpy(&v, t->span, sizeof v);
    v += attempt * UINT64_C(0x9e3779b97f4a7c15);
    v = v ? v : 1;
    memcpy(out, &v, sizeof v);
}

void np_trace_header(const struct np_trace *t, unsigned attempt, char out[NP_TRACEPARENT_BYTES])
{
    uint8_t id[NP_SPAN_ID_BYTES], flags = t->flags;
    if (t->own) {
        np_trace_attempt_id(t, attempt, id);
        flags = (uint8_t)((t->flags & FLAG_RANDOM) | (t->sampled ? FLAG_SAMPLED : 0));
    } else {
        memcpy(id, t->parent, sizeof id);
    }
    char *p = out;
    memcpy(p, "00-", 3);
    p = put_hex(p + 3, t->id, sizeof t->id);
    *p++ = '-';
    p = put_hex(p, id, sizeof id);
    *p++ = '-';
    p = put_hex(p, &flags, 1);
    *p = '\0';
}

void np_trace_hex(const struct np_trace *t, char out[2 * NP_TRACE_ID_BYTES + 1])
{
    *put_hex(out, t->id, sizeof t->id) = '\0';
}
