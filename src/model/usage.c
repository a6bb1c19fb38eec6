/* What usage can be true. */
#include "model/usage.h"

static bool count_possible(int64_t n)
{
    return n >= 0 && n <= NP_USAGE_MAX;
}

bool np_usage_possible(const struct np_usage *u)
{
    if (!count_possible(u->prompt) || !count_possible(u->completion) ||
        !count_possible(u->cached) || !count_possible(u->cache_write) ||
        !count_possible(u->cache_write_1h) || !count_possible(u->reasoning))
        return false;
    return u->cached + u->cache_write + u->cache_write_1h <= u->prompt &&
           u->reasoning <= u->completion;
}
