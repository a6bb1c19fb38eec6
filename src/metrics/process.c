/* process_* metrics, from /proc and the kernel's own counts. What can't be read is left out. */
#include "metrics/meters.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct process_stat {
    uint64_t start_ticks; /* since boot */
    uint64_t virtual_bytes, resident_pages;
};

/* Reads /proc/self/stat; the fields are counted after the name, which may hold anything. */
static bool read_stat(struct process_stat *out)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f) {
        return false;
    }
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')');
    return p && sscanf(p + 1,
                       " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                       " %*s %" SCNu64 " %" SCNu64 " %" SCNu64,
                       &out->start_ticks, &out->virtual_bytes, &out->resident_pages) == 3;
}

static int64_t ms_of(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Wall milliseconds at which the process began; worked out once, so that a clock that is set later
 * does not make it look like a restart. */
static int64_t start_ms(uint64_t start_ticks)
{
    static _Atomic int64_t known;
    int64_t ms = atomic_load_explicit(&known, memory_order_relaxed);
    if (ms == 0) {
        int64_t age =
            ms_of(CLOCK_BOOTTIME) - (int64_t)start_ticks * 1000 / (int64_t)sysconf(_SC_CLK_TCK);
        int64_t expected = 0;
        ms = ms_of(CLOCK_REALTIME) - age;
        if (!atomic_compare_exchange_strong(&known, &expected, ms)) {
            ms = expected;
        }
    }
    return ms;
}

/* Newer kernels (6.2) tell the number as the folder's size; else it is read. -1: unknown. */
static int64_t open_fds(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
        return st.st_size;
    }
    DIR *d = opendir("/proc/self/fd");
    if (!d) {
        return -1;
    }
    int64_t n = -1; /* its own does not count */
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

static void gauge(struct np_buf *out, const char *name, const char *help, double v)
{
    np_prom_head(out, name, "gauge", help);
    np_prom_f64(out, name, NULL, v);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void np_prom_process(struct np_buf *out)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        np_prom_head(out, "process_cpu_seconds_total", "counter",
                     "User and system CPU time of the process.");
        np_prom_f64(out, "process_cpu_seconds_total", NULL,
                    seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    }
    struct process_stat stat;
    if (read_stat(&stat)) {
        gauge(out, "process_resident_memory_bytes", "Memory of the process that is in RAM.",
              (double)stat.resident_pages * (double)sysconf(_SC_PAGESIZE));
        gauge(out, "process_virtual_memory_bytes", "Address space of the process.",
              (double)stat.virtual_bytes);
        gauge(out, "process_start_time_seconds", "When the process began, since 1970 UTC.",
              (double)start_ms(stat.start_ticks) / 1000);
    }
    int64_t fds = open_fds();
    if (fds >= 0) {
        gauge(out, "process_open_fds", "Open file descriptors.", (double)fds);
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        gauge(out, "process_max_fds", "File descriptors that may be open.", (double)limit.rlim_cur);
    }
}
