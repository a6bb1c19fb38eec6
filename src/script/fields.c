/* The table of names of fields. */
#include "script/fields.h"

#include "base/err.h"

static const char *const names[NP_FIELD_COUNT] = {"",
#define NP_FIELD_TEXT(name) #name,
                                                  NP_FIELDS(NP_FIELD_TEXT)
#undef NP_FIELD_TEXT
};

const char *np_field_name(enum np_field f)
{
    np_require(f < NP_FIELD_COUNT);
    return names[f];
}

void np_fields_open(lua_State *L, struct np_field_map *map)
{
    lua_createtable(L, NP_FIELD_COUNT, 0);
    for (int f = 1; f < NP_FIELD_COUNT; f++) {
        const char *p = lua_pushstring(L, names[f]);
        lua_rawseti(L, -2, f);
        unsigned i = np_field_place(p);
        while (map->name[i])
            i = (i + 1) % NP_FIELD_PLACES;
        map->name[i] = p;
        map->field[i] = (uint8_t)f;
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, map);
}
