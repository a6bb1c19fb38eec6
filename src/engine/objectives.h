/* Objectives and how they burn, as metrics and as JSON: one reading for all who ask. */
#ifndef NP_ENGINE_OBJECTIVES_H
#define NP_ENGINE_OBJECTIVES_H

#include "base/json.h"
#include "engine/engine_impl.h"

/* neap_slo_objective and neap_slo_burn_rate. */
void np_objectives_metrics(struct neap_engine *e, const struct np_catalog *c, struct np_buf *out);
/* The member "endpoints" of /api/status. */
void np_objectives_json(struct neap_engine *e, const struct np_catalog *c, struct np_json_w *w);
/* /api/slo: each window with what its burn rates stand on. */
void np_status_slo(struct neap_engine *e, struct np_buf *out);

#endif
