/* Inside of script/ only: JSON from and to Lua values, bounded.
 *
 * Out: raw access only (no metamethods run), locked views are seen through, at most 64 levels and the
 * buffer's maximum; keys in byte order; integers stay integers; NaN, infinities, functions and mixed
 * keys are errors. A light userdata is a `const struct np_span *` of raw JSON that is put in verbatim
 * (NULL is null); code of policies can make none but json.null.
 * In: text that np_json_check has taken. Whole numbers that fit become integers. A member that is null
 * is left out; a null in an array is json.null. Arrays carry a marker, so that [] stays []. */
#ifndef NP_SCRIPT_JSON_H
#define NP_SCRIPT_JSON_H

#include <lua.h>

#include "base/buf.h"

#define NP_JSON_POLICY_IN_BYTES ((size_t)256 << 10)
#define NP_JSON_TRUSTED_IN_BYTES ((size_t)16 << 20)
#define NP_JSON_OUT_BYTES ((size_t)4 << 20)

/* Appends the value at idx. On failure returns false and pushes a text that says why, else pushes
 * nothing. May raise (stop, memory); out must outlive that, so not be a local. */
bool np_ljson_encode(lua_State *L, int idx, struct np_buf *out, unsigned max_depth);
/* Pushes the value of checked text. */
void np_ljson_push(lua_State *L, struct np_span value);
/* Pushes the text of a raw JSON string, decoded. */
void np_ljson_push_string(lua_State *L, struct np_span string_value);
/* Marks the table on the top as an array. */
void np_ljson_mark_array(lua_State *L);
/* Whether the table at idx carries the marker. */
bool np_ljson_is_array(lua_State *L, int idx);

/* Pushes the library. trusted: decode takes up to 16 MiB, and there are `array(t)` (marks and returns
 * t) and `null`; else `encode` and `decode` within the policies' bounds. */
void np_ljson_push_lib(lua_State *L, bool trusted);
/* Makes the marker; once a state. */
void np_ljson_open(lua_State *L);

#endif
