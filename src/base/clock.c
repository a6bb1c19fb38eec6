/* The machine's clocks, and the three ways in which times are written where neap meets them: RFC 3339
 * in its logs, records and policies, HTTP dates in Retry-After. The C library's own readers are not
 * used, as they follow the locale. The calendar is Howard Hinnant's days_from_civil and its inverse
 * (https://howardhinnant.github.io/date_algorithms.html). */
#include "base/clock.h"

#include "base/err.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#define MS_PER_DAY INT64_C(86400000)
#define FIRST_MS (INT64_C(-719528) * MS_PER_DAY)    /* 0000-01-01 */
#define LAST_MS (INT64_C(2932897) * MS_PER_DAY - 1) /* 9999-12-31T23:59:59.999 */
#define S_PER_DAY (MS_PER_DAY / 1000)
#define UTC_BYTES 25    /* with its NUL */
#define SECOND_BYTES 20 /* of them, to the point */

static uint64_t live_mono_ns(void *ctx)
{
    (void)ctx;
    struct timespec t;
    np_require(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * NP_NS_PER_S + (uint64_t)t.tv_nsec;
}

static int64_t live_wall_ms(void *ctx)
{
    (void)ctx;
    struct timespec t;
    np_require(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return (int64_t)t.tv_sec * 1000 + (int64_t)t.tv_nsec / (int64_t)NP_NS_PER_MS;
}

int64_t np_clock_unix_offset_ns(void)
{
    struct timespec t;
    np_require(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return (int64_t)t.tv_sec * (int64_t)NP_NS_PER_S + (int64_t)t.tv_nsec -
           (int64_t)live_mono_ns(NULL);
}

const struct np_clock np_clock_live = {live_mono_ns, live_wall_ms, NULL};

/* ------------------------------------------------------------------------------------- calendar */

struct date {
    int year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
};

static int64_t days_of(struct date d)
{
    int64_t y = d.month <= 2 ? d.year - 1 : d.year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static struct date date_of(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    int year = (int)(yoe + era * 400) + (month <= 2 ? 1 : 0);
    return (struct date){year, month, (int)(doy - (153 * mp + 2) / 5 + 1)};
}

static bool date_valid(struct date d)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (d.year < 1970 || d.month < 1 || d.month > 12 || d.day < 1) {
        return false;
    }
    bool leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);
    return d.day <= days[d.month - 1] + (d.month == 2 && leap ? 1 : 0);
}

/* ------------------------------------------------------------------------------------- writing */

/* v in decimal with leading zeros; returns where it ends. */
static char *put_digits(char *p, int v, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        p[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return p + width;
}

/* "2026-11-24T17:20:44." */
static void put_second(char *out, int64_t second)
{
    int64_t days = (second >= 0 ? second : second - (S_PER_DAY - 1)) / S_PER_DAY;
    int s = (int)(second - days * S_PER_DAY);
    struct date d = date_of(days);
    char *p = put_digits(out, d.year, 4);
    *p++ = '-';
    p = put_digits(p, d.month, 2);
    *p++ = '-';
    p = put_digits(p, d.day, 2);
    *p++ = 'T';
    p = put_digits(p, s / 3600, 2);
    *p++ = ':';
    p = put_digits(p, s / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, s % 60, 2);
    *p = '.';
}

/* Times outside the years 0 to 9999 are written as the nearest in them. Each thread keeps the last second
 * that it wrote, as most come in the same. */
void np_clock_format_utc(int64_t wall_ms, char *out, size_t size)
{
    static _Thread_local struct {
        int64_t second;
        char text[SECOND_BYTES];
    } last = {.second = INT64_MIN};
    np_require(size >= UTC_BYTES);
    wall_ms = wall_ms < FIRST_MS ? FIRST_MS : wall_ms > LAST_MS ? LAST_MS : wall_ms;
    int64_t second = (wall_ms >= 0 ? wall_ms : wall_ms - 999) / 1000;
    if (second != last.second)
        put_second(last.text, second);
    last.second = second;
    memcpy(out, last.text, sizeof last.text);
    char *p = put_digits(out + sizeof last.text, (int)(wall_ms - second * 1000), 3);
    *p++ = 'Z';
    *p = '\0';
}

/* ------------------------------------------------------------------------------------- reading */

/* Each reader moves *p past what it read and says whether it was there. */
static bool read_digits(const char **p, int width, int *out)
{
    int v = 0;
    for (int i = 0; i < width; i++) {
        if ((*p)[i] < '0' || (*p)[i] > '9') {
            return false;
        }
        v = v * 10 + ((*p)[i] - '0');
    }
    *p += width;
    *out = v;
    return true;
}

static bool read_text(const char **p, const char *text)
{
    size_t n = strlen(text);
    if (strncasecmp(*p, text, n) != 0) {
        return false;
    }
    *p += n;
    return true;
}

/* "08:49:37" in seconds; 60 is a leap second. */
static bool read_time(const char **p, int *seconds)
{
    int h, m, s;
    if (!read_digits(p, 2, &h) || !read_text(p, ":") || !read_digits(p, 2, &m) ||
        !read_text(p, ":") || !read_digits(p, 2, &s) || h > 23 || m > 59 || s > 60) {
        return false;
    }
    *seconds = h * 3600 + m * 60 + s;
    return true;
}

/* ".5" and longer in milliseconds, rounded down; nothing is 0. */
static bool read_fraction(const char **p, int *ms)
{
    *ms = 0;
    if (**p != '.') {
        return true;
    }
    (*p)++;
    int scale = 100, digit;
    if (!read_digits(p, 1, &digit)) {
        return false;
    }
    do {
        *ms += digit * scale;
        scale /= 10;
    } while (read_digits(p, 1, &digit));
    return true;
}

/* Times before 1970 are refused: none that neap reads can lie there. */
int64_t np_clock_parse_utc(const char *text)
{
    const char *p = text;
    struct date d;
    int seconds = 0, ms = 0;
    if (!read_digits(&p, 4, &d.year) || !read_text(&p, "-") || !read_digits(&p, 2, &d.month) ||
        !read_text(&p, "-") || !read_digits(&p, 2, &d.day) || !date_valid(d)) {
        return -1;
    }
    if (*p != '\0' && (!read_text(&p, "T") || !read_time(&p, &seconds) || !read_fraction(&p, &ms) ||
                       !read_text(&p, "Z") || *p != '\0')) {
        return -1;
    }
    return days_of(d) * MS_PER_DAY + (int64_t)seconds * 1000 + ms;
}

/* "Sun" or "Sunday"; that it is the day's own name is not checked. */
static bool read_weekday(const char **p)
{
    static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (read_text(p, names[i])) {
            return true;
        }
        if (strncasecmp(*p, names[i], 3) == 0) {
            *p += 3;
            return true;
        }
    }
    return false;
}

static bool read_month(const char **p, int *out)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (int i = 0; i < 12; i++) {
        if (read_text(p, names[i])) {
            *out = i + 1;
            return true;
        }
    }
    return false;
}

/* "06 Nov 1994 08:49:37 GMT", or "06-Nov-94 08:49:37 GMT" with a year from 1970 to 2069. */
static bool read_day_first(const char **p, struct date *d, int *seconds)
{
    if (!read_digits(p, 2, &d->day)) {
        return false;
    }
    bool old = **p == '-';
    const char *between = old ? "-" : " ";
    if (!read_text(p, between) || !read_month(p, &d->month) || !read_text(p, between) ||
        !read_digits(p, old ? 2 : 4, &d->year)) {
        return false;
    }
    if (old) {
        d->year += d->year < 70 ? 2000 : 1900;
    }
    return read_text(p, " ") && read_time(p, seconds) && read_text(p, " GMT");
}

/* "Nov  6 08:49:37 1994", as asctime writes. */
static bool read_month_first(const char **p, struct date *d, int *seconds)
{
    if (!read_month(p, &d->month) || !read_text(p, " ")) {
        return false;
    }
    bool one_digit = read_text(p, " ");
    return read_digits(p, one_digit ? 1 : 2, &d->day) && read_text(p, " ") &&
           read_time(p, seconds) && read_text(p, " ") && read_digits(p, 4, &d->year);
}

/* All three forms that RFC 9110, 5.6.7 asks a recipient to read. */
int64_t np_clock_parse_http_date(const char *text)
{
    const char *p = text;
    struct date d;
    int seconds;
    if (!read_weekday(&p)) {
        return -1;
    }
    bool read = read_text(&p, ", ") ? read_day_first(&p, &d, &seconds)
                                    : read_text(&p, " ") && read_month_first(&p, &d, &seconds);
    if (!read || *p != '\0' || !date_valid(d)) {
        return -1;
    }
    return days_of(d) * MS_PER_DAY + (int64_t)seconds * 1000;
}
