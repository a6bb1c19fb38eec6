/* Inside of script/ only: what the two halves of the border to the adapters share. */
#ifndef NP_SCRIPT_ADAPTER_IMPL_H
#define NP_SCRIPT_ADAPTER_IMPL_H

#include <lua.h>

#include "script/adapter.h"
#include "script/script.h"

/* Places in the table that np_script.adapters refers to. */
enum {
    NP_AT_CALL = 1,
    NP_AT_REPLY,
    NP_AT_OUT,
    NP_AT_MODULES /* and as many after it: those below of each adapter */
};

enum np_module_part {
    NP_OF_REQUEST,
    NP_OF_ANSWER,
    NP_OF_BODY,
    NP_OF_HEADERS,
    NP_OF_SYSTEM_AS,
    NP_OF_READS,
    NP_OF_STREAM,
    NP_OF_COUNT
};

static inline int np_adapter_place(enum np_adapter a, enum np_module_part part)
{
    return NP_AT_MODULES + (int)a * NP_OF_COUNT + (int)part;
}

/* adapter_stream.c: reads a module's `stream`, at idx, into *f; raises where it is not right. */
void np_adapter_stream_read(lua_State *L, int idx, struct np_stream_form *f);
/* What the state's last fault means for a caller. */
enum np_err np_adapter_fault(const struct np_script *s);

#endif
