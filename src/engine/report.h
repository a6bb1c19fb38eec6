/* What a day was like, from the daybook: for people, for programs, for the log. */
#ifndef NP_ENGINE_REPORT_H
#define NP_ENGINE_REPORT_H

#include "base/json.h"
#include "engine/daybook.h"

#define NP_REPORT_ROWS 20 /* of each kind; "more" counts the rest */

/* "2026-11-29" */
void np_report_day(int64_t day, char out[16]);
/* {"report":"daily","day":…}, as a member-less object. */
void np_report_json(const struct np_daybook *b, int64_t day, struct np_json_w *w);
/* Some lines. */
void np_report_text(const struct np_daybook *b, int64_t day, struct np_buf *out);
void np_report_log(const struct np_daybook *b, int64_t day);

#endif
