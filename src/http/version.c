/* The version of the library of this room. */
#include "http/front.h"

#include <microhttpd.h>

const char *np_front_version(void)
{
    return MHD_get_version();
}
