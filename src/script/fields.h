/* Inside of script/ only: names of fields as numbers. A short string of Lua's has one address as long
 * as it lives, so that a name is found by its address in a small table. */
#ifndef NP_SCRIPT_FIELDS_H
#define NP_SCRIPT_FIELDS_H

#include <lua.h>

#include <stdint.h>

/* clang-format off */
#define NP_FIELDS(X)                                                                               \
    X(id) X(endpoint) X(tenant) X(messages) X(system) X(context) X(prompt_tokens) X(max_tokens)    \
    X(temperature) X(stream) X(model) X(metadata) X(tags) X(elapsed_ms) X(remaining_ms)            \
    X(spent_usd) X(attempts) X(provider) X(tier) X(estimated_usd) X(worst_usd) X(timeout_ms)       \
    X(number) X(class) X(status) X(error) X(retry_after_ms) X(latency_ms) X(cost_usd) X(emitted)   \
    X(text) X(finish_reason) X(usage)
/* clang-format on */

enum np_field {
    NP_FIELD_none,
#define NP_FIELD_ENUM(name) NP_FIELD_##name,
    NP_FIELDS(NP_FIELD_ENUM)
#undef NP_FIELD_ENUM
        NP_FIELD_COUNT
};

#define NP_FIELD_PLACES 128

struct np_field_map {
    const char *name[NP_FIELD_PLACES];
    uint8_t field[NP_FIELD_PLACES];
};

/* Fills the map and keeps its names alive in the state; once a state. Raises. */
void np_fields_open(lua_State *L, struct np_field_map *map);
const char *np_field_name(enum np_field f);

static inline unsigned np_field_place(const char *p)
{
    uintptr_t v = (uintptr_t)p;
    return (unsigned)((v >> 4) ^ (v >> 11)) % NP_FIELD_PLACES;
}

/* The field of a key on the stack; none for other names and kinds. */
static inline enum np_field np_field_of(lua_State *L, const struct np_field_map *map, int idx)
{
    if (lua_type(L, idx) != LUA_TSTRING)
        return NP_FIELD_none;
    const char *p = lua_tostring(L, idx);
    for (unsigned i = np_field_place(p); map->name[i]; i = (i + 1) % NP_FIELD_PLACES)
        if (map->name[i] == p)
            return (enum np_field)map->field[i];
    return NP_FIELD_none;
}

#endif
