/* Holds on a provider's keys. Picking and a good report are atomic loads; a report that holds a key
 * takes one short lock. Holds only ever grow: a call that began before a key was held does not free
 * it by ending well. */
#include "guard/guard_impl.h"

#include "base/clock.h"
#include "base/err.h"

#define CREDENTIAL_HOLD_NS (60 * NP_NS_PER_S)
#define CREDENTIAL_DOUBLINGS 6 /* 64 minutes, cut to the hour */
#define HOLD_MAX_NS (3600 * NP_NS_PER_S)
#define QUOTA_HOLD_NS (300 * NP_NS_PER_S)

static uint64_t held_until(struct np_guard *g, const struct np_secret *key)
{
    return key->slot < NP_GUARD_KEYS
               ? atomic_load_explicit(&g->key[key->slot].until_ns, memory_order_relaxed)
               : 0;
}

bool np_key_refused(struct np_guard *g, const struct np_secret *key, uint64_t now_ns)
{
    return key->slot < NP_GUARD_KEYS && held_until(g, key) > now_ns &&
           atomic_load_explicit(&g->key[key->slot].strikes, memory_order_relaxed) > 0;
}

size_t np_key_pick(struct np_guard *g, const struct np_provider *p, uint32_t tried, uint64_t now_ns,
                   uint64_t *wait_ns)
{
    np_require(p->slot < NP_MAX_PROVIDERS && p->n_keys <= NP_MAX_KEYS);
    *wait_ns = 0;
    if (p->n_keys == 0) {
        return 0;
    }
    uint32_t turn = p->n_keys == 1 ? 0
                                   : atomic_fetch_add_explicit(&g->provider[p->slot].turn, 1,
                                                               memory_order_relaxed);
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < p->n_keys; i++) {
        size_t at = (turn + i) % p->n_keys;
        uint64_t until = held_until(g, &p->keys[at]);
        if (until <= now_ns && !(tried & UINT32_C(1) << at)) {
            return at;
        }
        if (until > now_ns && until < first) {
            first = until;
        }
    }
    *wait_ns = first == UINT64_MAX ? 0 : first - now_ns;
    return p->n_keys;
}

/* Until when a report holds the key; 0: it does not. Many calls with a bad key fail at once: only
 * one that comes when no strike is in force is a further strike. */
static uint64_t hold_of(struct np_key_hold *k, size_t n_keys, uint64_t now_ns, enum np_class c,
                        int64_t retry_after_ms)
{
    uint64_t advice = np_guard_advice_ns(retry_after_ms);
    uint32_t strikes = atomic_load_explicit(&k->strikes, memory_order_relaxed);
    uint64_t hold = 0;
    switch (c) {
    case NP_CLASS_credential:
        if (k->strike_until_ns > now_ns) {
            return 0;
        }
        hold =
            CREDENTIAL_HOLD_NS << (strikes < CREDENTIAL_DOUBLINGS ? strikes : CREDENTIAL_DOUBLINGS);
        hold = hold < HOLD_MAX_NS ? hold : HOLD_MAX_NS;
        atomic_store_explicit(&k->strikes, strikes + 1, memory_order_relaxed);
        k->strike_until_ns = np_guard_later(now_ns, hold);
        break;
    case NP_CLASS_quota:
        hold = advice > QUOTA_HOLD_NS ? advice : QUOTA_HOLD_NS;
        break;
    case NP_CLASS_rate_limited:
        hold = n_keys > 1 ? advice : 0;
        break;
    default:
        break;
    }
    return hold == 0 ? 0 : np_guard_later(now_ns, hold);
}

void np_key_report(struct np_guard *g, const struct np_provider *p, size_t key, uint64_t now_ns,
                   enum np_class c, int64_t retry_after_ms)
{
    if (key >= p->n_keys || p->keys[key].slot >= NP_GUARD_KEYS) {
        return;
    }
    struct np_key_hold *k = &g->key[p->keys[key].slot];
    if (c == NP_CLASS_ok) {
        if (atomic_load_explicit(&k->strikes, memory_order_relaxed) > 0) {
            pthread_mutex_lock(&g->keys_lock);
            atomic_store_explicit(&k->strikes, 0, memory_order_relaxed);
            pthread_mutex_unlock(&g->keys_lock);
        }
        return;
    }
    if (c != NP_CLASS_credential && c != NP_CLASS_quota && c != NP_CLASS_rate_limited) {
        return;
    }
    pthread_mutex_lock(&g->keys_lock);
    uint64_t until = hold_of(k, p->n_keys, now_ns, c, retry_after_ms);
    if (until > atomic_load_explicit(&k->until_ns, memory_order_relaxed)) {
        atomic_store_explicit(&k->until_ns, until, memory_order_relaxed);
    }
    pthread_mutex_unlock(&g->keys_lock);
}
