/* Request ids. Their layout stands in the header. */
#include "base/id.h"

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* no i, l, o, u */

/* The low 5·width bits of v; returns where it ends. */
static char *put_base32(char *p, uint64_t v, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        p[i] = alphabet[v & 31];
        v >>= 5;
    }
    return p + width;
}

void np_id_make(struct np_rng *rng, int64_t wall_ms, char out[NP_ID_BYTES])
{
    memcpy(out, "req_", 4);
    char *p = put_base32(out + 4, (uint64_t)wall_ms & UINT64_C(0xffffffffffff), 10);
    p = put_base32(p, np_rng_u64(rng) >> 24, 8);
    p = put_base32(p, np_rng_u64(rng) >> 24, 8);
    *p = '\0';
}

static bool letter_valid(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool np_id_valid(struct np_span id)
{
    if (id.n == 0 || id.n > NP_ID_CLIENT_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.n; i++) {
        if (!letter_valid(id.p[i])) {
            return false;
        }
    }
    return true;
}
