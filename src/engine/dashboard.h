/* The dashboard's own files, as the build put them into the binary: src/dashboard/. */
#ifndef NP_ENGINE_DASHBOARD_H
#define NP_ENGINE_DASHBOARD_H

#include "base/span.h"

#include <stdbool.h>

/* What is served at a path: "/" and what the page asks for below "/dashboard/". False: nothing is. The
 * bytes live as long as the process. */
bool np_dashboard_find(struct np_span path, struct np_span *bytes, const char **content_type);

#endif
