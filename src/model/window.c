/* The windows of budgets: calendar spans in UTC. */
#include "model/catalog.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

const char *np_window_name(enum np_window w)
{
    static const char *const names[] = {"minute", "hour", "day", "week", "month", "none"};
    np_require((size_t)w < sizeof names / sizeof names[0]);
    return names[w];
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days from 1970-01-01 to the first of a month; month may be 13. Howard Hinnant's days_from_civil. */
static int64_t days_to_month(int64_t year, unsigned month)
{
    year += (month - 1) / 12;
    month = (month - 1) % 12 + 1;
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* The month that holds a day; Howard Hinnant's civil_from_days. */
static void month_of_day(int64_t day, int64_t *year, unsigned *month)
{
    day += 719468;
    int64_t era = floor_div(day, 146097);
    int64_t day_of_era = day - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int64_t length_ms(enum np_window w)
{
    switch (w) {
    case NP_WINDOW_MINUTE:
        return MINUTE_MS;
    case NP_WINDOW_HOUR:
        return HOUR_MS;
    case NP_WINDOW_WEEK:
        return 7 * DAY_MS;
    default:
        return DAY_MS;
    }
}

/* The start of the month that lies `ahead` after the one that holds wall_ms. */
static int64_t month_start(int64_t wall_ms, unsigned ahead)
{
    int64_t year;
    unsigned month;
    month_of_day(floor_div(wall_ms, DAY_MS), &year, &month);
    return days_to_month(year, month + ahead) * DAY_MS;
}

int64_t np_window_start(enum np_window w, int64_t wall_ms)
{
    if (w == NP_WINDOW_NONE)
        return 0;
    if (w == NP_WINDOW_MONTH)
        return month_start(wall_ms, 0);
    int64_t length = length_ms(w);
    /* 1970-01-01 was a Thursday, three days after a Monday. */
    int64_t shift = w == NP_WINDOW_WEEK ? 3 * DAY_MS : 0;
    return floor_div(wall_ms + shift, length) * length - shift;
}

int64_t np_window_end(enum np_window w, int64_t wall_ms)
{
    if (w == NP_WINDOW_NONE)
        return INT64_MAX;
    if (w == NP_WINDOW_MONTH)
        return month_start(wall_ms, 1);
    return np_window_start(w, wall_ms) + length_ms(w);
}
