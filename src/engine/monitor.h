/* The thread that watches: alerts, daily reports, and what of them is kept on disk. */
#ifndef NP_ENGINE_MONITOR_H
#define NP_ENGINE_MONITOR_H

#include "base/json.h"
#include "engine/engine_impl.h"

/* Loads what an earlier life has kept. After ledger and keeper, before the workers' threads. NULL
 * without memory. */
struct np_monitor *np_monitor_new(struct neap_engine *e, const struct np_catalog *c);
enum np_err np_monitor_start(struct np_monitor *m) NP_MUST_CHECK;
/* From the admin thread: {"alerts":[…],"resolved":[…]}, and neap_alert_firing. */
void np_monitor_json(struct np_monitor *m, struct np_buf *out);
void np_monitor_metrics(struct np_monitor *m, struct np_buf *out);
/* {"days":[…]}: today so far and the days before, as the daily report has them. */
void np_monitor_days(struct np_monitor *m, struct np_buf *out);
/* What calls of a model have cost today, some seconds late. */
int64_t np_monitor_spent_today(struct np_monitor *m, const struct np_model *of);
/* Ends its thread. */
void np_monitor_join(struct np_monitor *m);
/* Writes what is kept a last time; when every exchange has ended, before workers and keeper are freed. */
void np_monitor_save(struct np_monitor *m);
void np_monitor_free(struct np_monitor *m);

#endif
