/* Time, replaceable: the live clock reads the kernel, the simulated one is set by its ground.
 * Monotonic time is in nanoseconds from an unnamed start and orders events; wall time is in
 * milliseconds since 1970 UTC and is for people and budget windows only. */
#ifndef NP_BASE_CLOCK_H
#define NP_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define NP_NS_PER_MS UINT64_C(1000000)
#define NP_NS_PER_S UINT64_C(1000000000)

struct np_clock {
    uint64_t (*mono_ns)(void *ctx);
    int64_t (*wall_ms)(void *ctx);
    void *ctx;
};

/* The machine's clocks. */
extern const struct np_clock np_clock_live;

static inline uint64_t np_clock_mono_ns(const struct np_clock *c)
{
    return c->mono_ns(c->ctx);
}

static inline int64_t np_clock_wall_ms(const struct np_clock *c)
{
    return c->wall_ms(c->ctx);
}

/* What is added to a monotonic time of the live clock to have it in nanoseconds since 1970 UTC, as the
 * wall clock stands now. */
int64_t np_clock_unix_offset_ns(void);

/* "2026-11-24T17:20:44.123Z" into out (at least 25 bytes). */
void np_clock_format_utc(int64_t wall_ms, char *out, size_t size);
/* Reads "2027-06-30" (midnight UTC) or a full RFC 3339 time in Z; -1 when it is neither. */
int64_t np_clock_parse_utc(const char *text);
/* Reads an HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT"); -1 when it is none. Milliseconds. */
int64_t np_clock_parse_http_date(const char *text);

#endif
