/* The writer thread: drains the workers' rings into the log, the file of decision records and the
 * records that are kept in memory, so that no worker ever waits for a disk. Files that pass --log-max-mb begin anew; five old ones are kept. */
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/otel.h"
#include "engine/recent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BATCH_BYTES (1u << 20)
#define WRITE_BYTES \
    (256u << 10) /* at once: the kernel's cost is by the call and its pages more than by the byte */
#define PAUSE_NS (20 * NP_NS_PER_MS)
#define GATHER_NS (100 * NP_NS_PER_MS) /* what one who asks waits at the most */

struct np_writer {
    struct neap_engine *engine;
    pthread_t thread;
    bool running;
    const char *path; /* of the decision records; NULL: none */
    int fd;
    struct np_buf log, decisions; /* gathered in this round */
    struct np_recent *recent;
    bool keeps; /* records are added to it */
    _Atomic bool stop, reopen;
    uint64_t dropped; /* told so far */
    bool failing;     /* the last write failed; told once */
    bool torn;        /* the file ends in half a line */
    uint64_t lost_told;
    pthread_mutex_t lock; /* of the two numbers; held by nobody who reads or writes */
    pthread_cond_t asked_for, gathered;
    uint64_t asked, done; /* rounds */
    uint64_t max_bytes;
    bool stuck; /* a file could not be rotated: told once, tried again after the next reopening */
};

static int open_decisions(const char *path)
{
    return np_log_file(path, 0600);
}

struct np_writer *np_writer_new(struct neap_engine *e, const char *decisions, char *why,
                                size_t size)
{
    struct np_writer *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->engine = e;
    w->path = decisions;
    w->fd = -1;
    w->max_bytes = (uint64_t)e->options.log_max_mb << 20;
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->asked_for, &monotonic);
    (void)pthread_cond_init(&w->gathered, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    np_buf_init(&w->log, BATCH_BYTES);
    np_buf_init(&w->decisions, BATCH_BYTES * 8);
    w->keeps = e->options.keep_records > 0;
    w->recent = np_recent_new(w->keeps ? e->options.keep_records : 1, NP_RECENT_BYTES);
    if (!w->recent) {
        (void)snprintf(why, size, "no memory");
        free(w);
        return NULL;
    }
    if (decisions && (w->fd = open_decisions(decisions)) < 0) {
        (void)snprintf(why, size, "--decisions %s: %s", decisions, np_log_fault());
        np_recent_free(w->recent);
        free(w);
        return NULL;
    }
    return w;
}

static uint64_t lines_in(struct np_span s)
{
    uint64_t n = 0;
    for (const char *p = s.p; s.n > 0 && (p = memchr(p, '\n', (size_t)(s.p + s.n - p))); p++)
        n++;
    return n;
}

/* The writing of records has failed (told once), or goes on again. */
static void note_failing(struct np_writer *w, bool failing)
{
    uint64_t lost = atomic_load(&w->engine->records_lost);
    if (failing && !w->failing)
        np_log(NP_LOG_ERROR, "decision records are lost", NP_KVS("file", w->path),
               NP_KVS("error", strerror(errno)));
    else if (!failing && w->failing)
        np_log(NP_LOG_INFO, "decision records are written again", NP_KVS("file", w->path),
               NP_KVI("lost", lost - w->lost_told));
    if (!failing)
        w->lost_told = lost;
    w->failing = failing;
}

/* True when all of it is written; else rest is what is not, of which the first line may be a rest. */
static bool write_decisions(const struct np_writer *w, struct np_span *rest)
{
    while (rest->n > 0) {
        ssize_t n = write(w->fd, rest->p, rest->n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        *rest = np_span_make(rest->p + n, rest->n - (size_t)n);
    }
    return true;
}

/* Writes what was gathered; what can't be written is lost and counted. Half a line is ended before the next
 * one is written, so that it spoils no other. */
static void flush_decisions(struct np_writer *w)
{
    struct np_span all = np_buf_view(&w->decisions), rest = all, end = NP_SPAN("\n");
    if (all.n == 0)
        return;
    bool good = !w->torn || write_decisions(w, &end);
    if (good)
        w->torn = false;
    good = good && write_decisions(w, &rest);
    if (!good) {
        w->torn = w->torn || (rest.p != all.p && rest.p[-1] != '\n');
        (void)atomic_fetch_add(&w->engine->records_lost, lines_in(rest));
    }
    note_failing(w, !good);
    np_buf_reset(&w->decisions);
}

static void flush_log(struct np_writer *w)
{
    if (w->log.n > 0)
        np_log_write(np_buf_view(&w->log));
    np_buf_reset(&w->log);
}

static void flush(struct np_writer *w, const struct np_buf *b)
{
    if (b == &w->log)
        flush_log(w);
    else
        flush_decisions(w);
}

/* Takes what a ring holds now. */
static void drain_ring(struct np_writer *w, struct np_ring *r)
{
    uint32_t tag;
    struct np_span record;
    while (np_ring_peek(r, &tag, &record)) {
        struct np_buf *b = tag == NP_RING_TAG_DECISION ? &w->decisions : &w->log;
        if (b->n >= WRITE_BYTES || b->n + record.n > b->max)
            flush(w, b);
        if (tag == NP_RING_TAG_DECISION && w->keeps)
            np_recent_add(w->recent, record);
        if (tag != NP_RING_TAG_DECISION || w->fd >= 0)
            (void)np_buf_span(b, record);
        np_ring_pop(r);
    }
}

static void drain_all(struct np_writer *w)
{
    uint64_t dropped = 0;
    for (size_t i = 0; i < w->engine->n_workers; i++) {
        struct np_ring *r = np_worker_ring(w->engine->workers[i]);
        drain_ring(w, r);
        np_otel_drain(w->engine->otel, np_worker_spans(w->engine->workers[i]));
        dropped += np_ring_dropped(r);
    }
    flush_log(w);
    flush_decisions(w);
    if (dropped > w->dropped)
        np_log(NP_LOG_WARN, "log lines and records were dropped, the disk is too slow",
               NP_KVI("count", dropped - w->dropped));
    w->dropped = dropped;
}

static void reopen_decisions(struct np_writer *w)
{
    int fd = open_decisions(w->path);
    if (fd < 0) {
        np_log(NP_LOG_ERROR, "the decision file can't be opened again", NP_KVS("file", w->path),
               NP_KVS("error", np_log_fault()));
        return;
    }
    (void)close(w->fd);
    w->fd = fd;
}

static void reopen_files(struct np_writer *w)
{
    w->stuck = false;
    if (np_log_reopen() != NP_OK)
        np_log(NP_LOG_ERROR, "the log file can't be opened again", NP_KVS("error", np_log_fault()));
    if (w->path)
        reopen_decisions(w);
}

static void rotate_files(struct np_writer *w)
{
    if (w->stuck)
        return;
    if (np_log_is_full(np_log_fd(), w->max_bytes) && np_log_rotate() != NP_OK)
        w->stuck = true;
    if (w->path && np_log_is_full(w->fd, w->max_bytes)) {
        if (np_log_shift(w->path) == NP_OK)
            reopen_decisions(w);
        else
            w->stuck = true;
    }
    if (w->stuck)
        np_log(NP_LOG_ERROR, "a full file can't be renamed, it grows on",
               NP_KVS("error", strerror(errno)));
}

static struct timespec in_ns(uint64_t ns)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    ns += (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / NP_NS_PER_S);
    t.tv_nsec = (long)(ns % NP_NS_PER_S);
    return t;
}

/* Ends the round that was asked for, and waits for the next: until it is due, or somebody asks. */
static uint64_t next_round(struct np_writer *w, uint64_t round)
{
    struct timespec due = in_ns(PAUSE_NS);
    (void)pthread_mutex_lock(&w->lock);
    w->done = round;
    (void)pthread_cond_broadcast(&w->gathered);
    while (w->asked == round && !atomic_load(&w->stop) &&
           pthread_cond_timedwait(&w->asked_for, &w->lock, &due) == 0)
        ;
    round = w->asked;
    (void)pthread_mutex_unlock(&w->lock);
    return round;
}

static void *thread_main(void *arg)
{
    struct np_writer *w = arg;
    uint64_t round = 0;
    while (!atomic_load(&w->stop)) {
        if (atomic_exchange(&w->reopen, false))
            reopen_files(w);
        drain_all(w);
        rotate_files(w);
        round = next_round(w, round);
    }
    return NULL;
}

void np_writer_gather(struct np_writer *w)
{
    struct timespec due = in_ns(GATHER_NS);
    (void)pthread_mutex_lock(&w->lock);
    uint64_t round = ++w->asked;
    (void)pthread_cond_signal(&w->asked_for);
    while (w->running && w->done < round &&
           pthread_cond_timedwait(&w->gathered, &w->lock, &due) == 0)
        ;
    (void)pthread_mutex_unlock(&w->lock);
}

enum np_err np_writer_start(struct np_writer *w)
{
    w->running = pthread_create(&w->thread, NULL, thread_main, w) == 0;
    return w->running ? NP_OK : NP_E_NOMEM;
}

struct np_recent *np_writer_recent(struct np_writer *w)
{
    return w->recent;
}

void np_writer_reopen(struct np_writer *w)
{
    atomic_store(&w->reopen, true);
}

void np_writer_stop(struct np_writer *w)
{
    if (!w)
        return;
    if (w->running) {
        (void)pthread_mutex_lock(&w->lock);
        atomic_store(&w->stop, true);
        (void)pthread_cond_signal(&w->asked_for);
        (void)pthread_mutex_unlock(&w->lock);
        (void)pthread_join(w->thread, NULL);
        drain_all(w);
    }
    if (w->fd >= 0)
        (void)close(w->fd);
    np_buf_free(&w->log);
    np_buf_free(&w->decisions);
    np_recent_free(w->recent);
    (void)pthread_cond_destroy(&w->asked_for);
    (void)pthread_cond_destroy(&w->gathered);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
