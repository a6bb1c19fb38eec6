/* Slots, the index of keys, and the lookups. */
#include "model/catalog.h"

#include <stdlib.h>

/* Over the life of the process. */
#define MAX_TENANTS 16384
#define MAX_SECRETS 2048
/* Enough of a secret's hash to tell it from another one of the same label. */
#define SECRET_HASH_BYTES 8

static const char *const hook_names[NP_HOOK_COUNT] = {
#define NAME(name) #name,
    NP_HOOKS(NAME)
#undef NAME
};

const char *np_hook_name(enum np_hook h)
{
    np_require(h < NP_HOOK_COUNT);
    return hook_names[h];
}

enum np_err np_slots_init(struct np_slots *s)
{
    *s = (struct np_slots){
        .providers = np_intern_new(NP_MAX_PROVIDERS),
        .pairs = np_intern_new(NP_MAX_PAIRS),
        .endpoints = np_intern_new(NP_MAX_ENDPOINTS),
        .tenants = np_intern_new(MAX_TENANTS),
        .secrets = np_intern_new(MAX_SECRETS),
    };
    if (s->providers && s->pairs && s->endpoints && s->tenants && s->secrets)
        return NP_OK;
    np_slots_free(s);
    return NP_E_NOMEM;
}

void np_slots_free(struct np_slots *s)
{
    struct np_intern *tables[] = {s->providers, s->pairs, s->endpoints, s->tenants, s->secrets};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (tables[i])
            np_intern_free(tables[i]);
    *s = (struct np_slots){0};
}

/* The same key sent to another address is another one: what one host says of it is not said of the other. */
static enum np_err secret_slot(struct np_catalog *c, const struct np_slots *slots,
                               const struct np_provider *p, struct np_secret *secret)
{
    uint8_t hash[NP_SHA256_BYTES];
    char hex[2 * SECRET_HASH_BYTES + 1];
    np_sha256(secret->value, strlen(secret->value), hash);
    np_hex(hash, SECRET_HASH_BYTES, hex);
    const char *name = np_arena_printf(c->arena, "%s#%s@%s", secret->label, hex, p->base_url);
    if (!name)
        return NP_E_NOMEM;
    return np_intern_add(slots->secrets, np_span_of(name), &secret->slot);
}

static enum np_err provider_slots(struct np_catalog *c, const struct np_slots *slots,
                                  struct np_provider *p)
{
    enum np_err err = np_intern_add(slots->providers, np_span_of(p->name), &p->slot);
    struct np_secret *keys = (struct np_secret *)p->keys;
    for (size_t i = 0; !err && i < p->n_keys; i++)
        err = secret_slot(c, slots, p, &keys[i]);
    return err;
}

static enum np_err model_slot(struct np_catalog *c, const struct np_slots *slots,
                              struct np_model *m)
{
    const char *pair = np_arena_printf(c->arena, "%s/%s", m->provider->name, m->name);
    if (!pair)
        return NP_E_NOMEM;
    return np_intern_add(slots->pairs, np_span_of(pair), &m->slot);
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const struct np_key_entry *)a)->hash, ((const struct np_key_entry *)b)->hash,
                  NP_SHA256_BYTES);
}

/* NP_E_EXISTS when two tenants have the same key. */
static enum np_err make_key_index(struct np_catalog *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_tenants; i++)
        n += c->tenants[i].n_keys;
    c->n_key_index = n;
    if (n == 0)
        return NP_OK;
    struct np_key_entry *index = np_arena_array(c->arena, n, sizeof *index);
    if (!index)
        return NP_E_NOMEM;
    struct np_key_entry *e = index;
    for (size_t i = 0; i < c->n_tenants; i++) {
        const struct np_tenant *t = &c->tenants[i];
        for (size_t k = 0; k < t->n_keys; k++, e++) {
            memcpy(e->hash, t->key_hashes[k], NP_SHA256_BYTES);
            e->tenant = t;
        }
    }
    qsort(index, n, sizeof *index, by_hash);
    c->key_index = index;
    for (size_t i = 1; i < n; i++)
        if (by_hash(&index[i - 1], &index[i]) == 0 && index[i - 1].tenant != index[i].tenant)
            return NP_E_EXISTS;
    return NP_OK;
}

static enum np_err make_anonymous(struct np_catalog *c, const struct np_slots *slots)
{
    struct np_tenant *t = np_arena_alloc(c->arena, sizeof *t);
    if (!t)
        return NP_E_NOMEM;
    t->name = "anonymous";
    c->anonymous = t;
    return np_intern_add(slots->tenants, np_span_of(t->name), &t->slot);
}

/* This is the last step of making a catalogue, and belongs to the maker: nobody else reads it yet.
 * Hence the casts of arrays that are read-only for everybody afterwards. */
enum np_err np_catalog_index(struct np_catalog *c, const struct np_slots *slots)
{
    struct np_provider *providers = (struct np_provider *)c->providers;
    struct np_model *models = (struct np_model *)c->models;
    struct np_endpoint *endpoints = (struct np_endpoint *)c->endpoints;
    struct np_tenant *tenants = (struct np_tenant *)c->tenants;
    enum np_err err = NP_OK;
    for (size_t i = 0; !err && i < c->n_providers; i++)
        err = provider_slots(c, slots, &providers[i]);
    for (size_t i = 0; !err && i < c->n_models; i++)
        err = model_slot(c, slots, &models[i]);
    for (size_t i = 0; !err && i < c->n_endpoints; i++)
        err = np_intern_add(slots->endpoints, np_span_of(endpoints[i].path), &endpoints[i].slot);
    for (size_t i = 0; !err && i < c->n_tenants; i++)
        err = np_intern_add(slots->tenants, np_span_of(tenants[i].name), &tenants[i].slot);
    if (!err)
        err = make_anonymous(c, slots);
    if (!err)
        err = make_key_index(c);
    return err;
}

const struct np_model *np_catalog_model(const struct np_catalog *c, struct np_span name)
{
    for (size_t i = 0; i < c->n_models; i++)
        if (np_span_is(name, c->models[i].name))
            return &c->models[i];
    return NULL;
}

const struct np_endpoint *np_catalog_endpoint(const struct np_catalog *c, struct np_span path)
{
    for (size_t i = 0; i < c->n_endpoints; i++)
        if (np_span_is(path, c->endpoints[i].path))
            return &c->endpoints[i];
    return NULL;
}

const struct np_template *np_catalog_template(const struct np_catalog *c, struct np_span name)
{
    for (size_t i = 0; i < c->n_templates; i++)
        if (np_span_is(name, c->templates[i].name))
            return &c->templates[i];
    return NULL;
}

static uint64_t hash_prefix(const uint8_t *hash)
{
    uint64_t v = 0;
    for (size_t i = 0; i < sizeof v; i++)
        v = v << 8 | hash[i];
    return v;
}

/* The search goes by the first eight bytes, whose timing tells nothing that helps: they are of a
 * hash, and whoever can choose a hash's prefix has searched through 2^64 keys for it. */
const struct np_tenant *np_catalog_tenant(const struct np_catalog *c,
                                          const uint8_t hash[NP_SHA256_BYTES])
{
    uint64_t want = hash_prefix(hash);
    size_t low = 0, high = c->n_key_index;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (hash_prefix(c->key_index[mid].hash) < want)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < c->n_key_index && hash_prefix(c->key_index[low].hash) == want; low++)
        if (np_equal_ct(c->key_index[low].hash, hash, NP_SHA256_BYTES))
            return c->key_index[low].tenant;
    return NULL;
}

bool np_tenant_may_use_endpoint(const struct np_tenant *t, const struct np_endpoint *e)
{
    for (size_t i = 0; i < t->n_endpoints; i++)
        if (t->endpoints[i] == e)
            return true;
    return t->n_endpoints == 0;
}

bool np_tenant_may_use_model(const struct np_tenant *t, const struct np_model *m)
{
    for (size_t i = 0; i < t->n_models; i++)
        if (t->models[i] == m)
            return true;
    return t->n_models == 0;
}
