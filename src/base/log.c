/* The log. Its state is the process's: one file, one level, and for each thread the ring that it
 * may have. A line is made on the stack, at most LINE_MAX_BYTES long, and leaves in one write(2) on a
 * descriptor that appends, so lines of several threads never mix and no lock is needed. Reopening
 * puts the new file under the old descriptor's number, which writers see as one step.
 *
 *     2026-11-24T17:20:44.123Z info reply sent id=req_01 model=gpt-4.1 cost=0.00318
 *
 * A line that would be longer ends in cut=true. Values are made harmless for terminals and for
 * readers of lines: what is not plain text is quoted and escaped as in JSON. */
#include "base/log.h"

#include "base/clock.h"
#include "base/copy.h"
#include "base/decimal.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096 /* PIPE_BUF: a pipe takes it as one, too */
#define CUT_MARK " cut=true"
#define TEXT_MAX_BYTES (LINE_MAX_BYTES - (sizeof("\"" CUT_MARK "\n") - 1))

static struct {
    _Atomic int fd;
    _Atomic int least;
    _Atomic uint64_t lost; /* lines */
    char path[PATH_MAX];   /* "": standard error. Of the thread that opens and closes. */
} state = {.fd = STDERR_FILENO, .least = NP_LOG_INFO};

static _Thread_local struct np_ring *thread_ring;

/* -------------------------------------------------------------------------------------- the file */

/* Only opening must not wait: what is written waits for a reader as it would in a pipe. */
int np_log_file(const char *path, unsigned mode)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

const char *np_log_fault(void)
{
    return errno == ENXIO ? "nobody reads there: it is a FIFO or a socket" : strerror(errno);
}

/* Makes the open file fd (or standard error) the log's. */
static enum np_err install(int fd)
{
    int old = atomic_load(&state.fd);
    if (old == STDERR_FILENO || fd == STDERR_FILENO) {
        atomic_store(&state.fd, fd);
        if (old != STDERR_FILENO) {
            close(old);
        }
        return NP_OK;
    }
    int got = dup3(fd, old, O_CLOEXEC);
    close(fd);
    return got == old ? NP_OK : NP_E_IO;
}

/* One thread opens, reopens and closes. A file that can't be opened leaves the log as it was. */
enum np_err np_log_open(const char *path)
{
    if (!path || path[0] == '\0' || strlen(path) >= sizeof state.path) {
        return NP_E_INVALID;
    }
    bool to_stderr = strcmp(path, "-") == 0;
    int fd = to_stderr ? STDERR_FILENO : np_log_file(path, 0640);
    if (fd < 0) {
        return NP_E_IO;
    }
    enum np_err err = install(fd);
    if (err == NP_OK) {
        memmove(state.path, to_stderr ? "" : path, to_stderr ? 1 : strlen(path) + 1);
    }
    return err;
}

enum np_err np_log_reopen(void)
{
    return state.path[0] == '\0' ? NP_OK : np_log_open(state.path);
}

int np_log_fd(void)
{
    return atomic_load(&state.fd);
}

bool np_log_is_full(int fd, uint64_t max_bytes)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size >= max_bytes;
}

/* Gaps are no fault: a file that is not there has nothing to keep. */
enum np_err np_log_shift(const char *path)
{
    char from[PATH_MAX + 4], to[PATH_MAX + 4];
    if (strlen(path) >= PATH_MAX) {
        return NP_E_INVALID;
    }
    for (int i = NP_LOG_KEPT; i > 0; i--) {
        snprintf(to, sizeof to, "%s.%d", path, i);
        if (i > 1) {
            snprintf(from, sizeof from, "%s.%d", path, i - 1);
        } else {
            snprintf(from, sizeof from, "%s", path);
        }
        if (rename(from, to) != 0 && errno != ENOENT) {
            return NP_E_IO;
        }
    }
    return NP_OK;
}

enum np_err np_log_rotate(void)
{
    if (state.path[0] == '\0') {
        return NP_OK;
    }
    enum np_err err = np_log_shift(state.path);
    return err ? err : np_log_open(state.path);
}

/* Back to standard error. No other thread may be writing directly. */
void np_log_close(void)
{
    (void)install(STDERR_FILENO);
    state.path[0] = '\0';
}

void np_log_level(enum np_log_level least)
{
    atomic_store_explicit(&state.least, (int)least, memory_order_relaxed);
}

void np_log_use_ring(struct np_ring *ring)
{
    thread_ring = ring;
}

uint64_t np_log_lost(void)
{
    return atomic_load_explicit(&state.lost, memory_order_relaxed);
}

static void count_lost(struct np_span lines)
{
    uint64_t n = 0;
    for (size_t i = 0; i < lines.n; i++) {
        n += lines.p[i] == '\n';
    }
    (void)atomic_fetch_add_explicit(&state.lost, n, memory_order_relaxed);
}

/* What the file does not take is lost, and counted: there is nobody to tell. */
void np_log_write(struct np_span lines)
{
    int fd = atomic_load_explicit(&state.fd, memory_order_acquire);
    int saved = errno;
    while (lines.n > 0) {
        ssize_t n = write(fd, lines.p, lines.n);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            count_lost(lines);
            break;
        }
        lines = np_span_make(lines.p + n, lines.n - (size_t)n);
    }
    errno = saved;
}

/* -------------------------------------------------------------------------------------- one line */

struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
    bool cut; /* something did not fit; nothing is added after it */
};

static bool fits(const struct line *l, size_t n)
{
    return !l->cut && n <= TEXT_MAX_BYTES && l->n <= TEXT_MAX_BYTES - n;
}

/* All of it or nothing. Room for a closing quote and the line's end is always left. */
static void put(struct line *l, const char *p, size_t n)
{
    if (!fits(l, n)) {
        l->cut = true;
        return;
    }
    np_copy_few(l->p + l->n, p, n);
    l->n += n;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* Controls (C0, DEL, C1), line separators and what turns the direction of writing. */
static bool is_harmful(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

static void put_escape(struct line *l, uint32_t c)
{
    char text[8];
    const char *brief = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    if (brief) {
        put_text(l, brief);
    } else {
        snprintf(text, sizeof text, "\\u%04x", c & 0xffffU);
        put(l, text, 6);
    }
}

/* Text with what is harmful escaped; inside quotes, quotes and backslashes too. */
static void put_escaped(struct line *l, struct np_span s, bool quoted)
{
    for (size_t i = 0; i < s.n && !l->cut;) {
        uint32_t c;
        size_t len = np_utf8_next(s.p + i, s.p + s.n, &c);
        if (len == 0 || is_harmful(c)) {
            put_escape(l, len ? c : 0xfffd);
        } else if (quoted && (c == '"' || c == '\\')) {
            char pair[2] = {'\\', (char)c};
            put(l, pair, 2);
        } else {
            put(l, s.p + i, len);
        }
        i += len ? len : 1;
    }
}

#define ONES UINT64_C(0x0101010101010101)

/* Bit 7 of a byte of the result is set where one of w is not ASCII that may stand without quotes; DEL may not.
 * Nothing is set where all are. */
static uint64_t odd_bytes(uint64_t w)
{
    return w | (w + ONES) | (w - ONES * 0x21) | ((w ^ ONES * '"') - ONES) |
           ((w ^ ONES * '\\') - ONES) | ((w ^ ONES * '=') - ONES);
}

static uint64_t odd_8(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return odd_bytes(w);
}

/* Whether all of four bytes and more are such ASCII. */
static bool is_ascii(struct np_span s)
{
    uint64_t odd = 0;
    uint32_t low, high;
    if (s.n >= 8) {
        for (size_t i = 0; i + 8 < s.n; i += 8)
            odd |= odd_8(s.p + i);
        odd |= odd_8(s.p + s.n - 8);
    } else {
        memcpy(&low, s.p, sizeof low);
        memcpy(&high, s.p + s.n - 4, sizeof high);
        odd = odd_bytes((uint64_t)high << 32 | low);
    }
    return (odd & ONES * 0x80) == 0;
}

/* Whether a value may stand without quotes. */
static bool is_plain(struct np_span s)
{
    size_t i = s.n >= 4 && is_ascii(s) ? s.n : 0;
    while (i < s.n) {
        uint32_t c = (unsigned char)s.p[i];
        size_t len = c < 0x80 ? 1 : np_utf8_next(s.p + i, s.p + s.n, &c);
        if (len == 0 || c == ' ' || c == '"' || c == '\\' || c == '=' || is_harmful(c)) {
            return false;
        }
        i += len;
    }
    return s.n > 0;
}

static void put_value(struct line *l, struct np_span s)
{
    if (is_plain(s)) {
        if (fits(l, s.n)) {
            put(l, s.p, s.n);
        } else {
            put_escaped(l, s, false);
        }
        return;
    }
    put_text(l, "\"");
    bool opened = !l->cut;
    put_escaped(l, s, true);
    if (opened) {
        l->p[l->n++] = '"';
    }
}

/* Not printf: a line of a request has four of them. */
static void put_number(struct line *l, const struct np_kv *kv)
{
    char text[NP_DECIMAL_BYTES];
    char *end = kv->kind == NP_KV_NUSD ? np_decimal_put_nano(text, kv->i64)
                                       : np_decimal_put_i64(text, kv->i64);
    put(l, text, (size_t)(end - text));
}

/* " key="; false when it does not fit. */
static bool put_name(struct line *l, struct np_span key)
{
    if (!fits(l, key.n + 2)) {
        l->cut = true;
        return false;
    }
    char *p = l->p + l->n;
    *p++ = ' ';
    np_copy_few(p, key.p, key.n);
    p[key.n] = '=';
    l->n += key.n + 2;
    return true;
}

/* A value that does not fit is shortened if it is text, else the pair is left out. */
static void put_pair(struct line *l, const struct np_kv *kv)
{
    size_t before = l->n;
    bool named = put_name(l, kv->key);
    switch (kv->kind) {
    case NP_KV_SPAN:
        put_value(l, kv->span);
        break;
    case NP_KV_I64:
    case NP_KV_NUSD:
        put_number(l, kv);
        break;
    case NP_KV_BOOL:
        put_text(l, kv->i64 ? "true" : "false");
        break;
    }
    if (l->cut && (!named || kv->kind != NP_KV_SPAN)) {
        l->n = before;
    }
}

void np_log_line(enum np_log_level level, const char *message, const struct np_kv *kv, size_t n)
{
    static const char *const names[] = {" debug ", " info ", " warn ", " error "};
    if ((int)level < atomic_load_explicit(&state.least, memory_order_relaxed)) {
        return;
    }
    struct line l;
    np_clock_format_utc(np_clock_wall_ms(&np_clock_live), l.p, sizeof l.p);
    l.n = strlen(l.p);
    l.cut = false;
    put_text(&l, names[level]);
    struct np_span words = np_span_of(message);
    if (is_plain(words))
        put(&l, words.p, words.n);
    else
        put_escaped(&l, words, false);
    for (size_t i = 0; i < n && !l.cut; i++) {
        put_pair(&l, &kv[i]);
    }
    if (l.cut) {
        memcpy(l.p + l.n, CUT_MARK, sizeof CUT_MARK - 1);
        l.n += sizeof CUT_MARK - 1;
    }
    l.p[l.n++] = '\n';
    if (thread_ring) {
        (void)np_ring_put(thread_ring, NP_RING_TAG_LOG, np_span_make(l.p, l.n));
    } else {
        np_log_write(np_span_make(l.p, l.n));
    }
}
