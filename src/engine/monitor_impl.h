/* Inside the monitor. */
#ifndef NP_ENGINE_MONITOR_IMPL_H
#define NP_ENGINE_MONITOR_IMPL_H

#include "engine/alert_hook.h"
#include "engine/monitor.h"
#include "engine/sinks.h"

#define NP_DAILY_REPORT "daily_report" /* the name under which a report goes to the sinks */

struct np_monitor {
    struct neap_engine *engine;
    pthread_t thread;
    bool running;
    struct np_loop *loop;
    struct np_timer look, save, sample;
    bool kept;         /* on disk */
    char folder[4096]; /* with a slash at its end; "": here */
    /* Of this thread. */
    bool begun;
    bool alerts_changed;
    size_t days_bytes; /* of the daybook as it was last written */
    unsigned days_skipped;
    struct np_alert_memory memory;
    struct np_alert_facts facts;
    struct np_alerts table;
    struct np_alert_hook hook;
    struct np_sinks *sinks;
    const struct np_alert_rules *rules; /* of the look that is under way */
    struct np_account_view accounts[NP_ALERT_ACCOUNTS];
    /* What others see; this thread alone writes, under the lock. */
    pthread_mutex_t lock;
    struct np_alerts shown;
    struct np_daybook *days;
};

#endif
