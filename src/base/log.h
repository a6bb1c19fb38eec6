/* The log: one line an event, a fixed message, then key=value pairs. Values are quoted and escaped
 * where they hold blanks, quotes, control bytes or U+2028/9. Never a body, a key or a prompt.
 *
 * A thread that owns a ring (np_log_use_ring) never touches the file: its lines go to the ring and
 * the writer thread drains it. Other threads write directly. */
#ifndef NP_BASE_LOG_H
#define NP_BASE_LOG_H

#include "base/err.h"
#include "base/ring.h"
#include "base/span.h"

#include <stdint.h>

enum np_log_level { NP_LOG_DEBUG, NP_LOG_INFO, NP_LOG_WARN, NP_LOG_ERROR };

enum { NP_RING_TAG_LOG = 1, NP_RING_TAG_DECISION = 2 };

/* One pair of a line. */
struct np_kv {
    struct np_span key;
    enum { NP_KV_SPAN, NP_KV_I64, NP_KV_NUSD, NP_KV_BOOL } kind;
    struct np_span span;
    int64_t i64;
};

#define NP_KVS(k, s) \
    ((struct np_kv){.key = np_span_of(k), .kind = NP_KV_SPAN, .span = np_span_of(s)})
#define NP_KVV(k, s) ((struct np_kv){.key = np_span_of(k), .kind = NP_KV_SPAN, .span = (s)})
#define NP_KVI(k, v) ((struct np_kv){.key = np_span_of(k), .kind = NP_KV_I64, .i64 = (int64_t)(v)})
#define NP_KVM(k, v) \
    ((struct np_kv){.key = np_span_of(k), .kind = NP_KV_NUSD, .i64 = (v)}) /* nano-dollars */
#define NP_KVB(k, v) ((struct np_kv){.key = np_span_of(k), .kind = NP_KV_BOOL, .i64 = (v)})

/* Opens the log: a file to append to, or "-" for standard error (the default). */
enum np_err np_log_open(const char *path) NP_MUST_CHECK;
/* Opens a file to append to, made with this mode where it is not there. Never waits: a FIFO that nobody
 * reads can't be opened. -1: np_log_fault says why. */
int np_log_file(const char *path, unsigned mode);
/* Why the calling thread's last file could not be opened. */
const char *np_log_fault(void);
/* Closes and opens the file again (SIGUSR1). */
enum np_err np_log_reopen(void) NP_MUST_CHECK;
void np_log_close(void);
/* The log file begins anew, its old contents are kept as FILE.1 (see np_log_shift). Of the thread that
 * reopens. NP_E_IO: it goes on as it was. Nothing happens on standard error. */
enum np_err np_log_rotate(void) NP_MUST_CHECK;
/* Whether a file is a regular one of at least so many bytes. */
bool np_log_is_full(int fd, uint64_t max_bytes);
/* The descriptor of the log, for np_log_is_full. */
int np_log_fd(void);
#define NP_LOG_KEPT 5
/* Renames FILE.4 to FILE.5, … FILE to FILE.1; what was FILE.5 is gone. */
enum np_err np_log_shift(const char *path) NP_MUST_CHECK;
void np_log_level(enum np_log_level least);
/* Lines of the calling thread go to this ring from now on; NULL: directly again. */
void np_log_use_ring(struct np_ring *ring);
/* Lines that no file took, since the start. */
uint64_t np_log_lost(void);
/* Writes finished lines; for the thread that drains rings. */
void np_log_write(struct np_span lines);

void np_log_line(enum np_log_level level, const char *message, const struct np_kv *kv, size_t n);

#define np_log(level, message, ...)                                      \
    np_log_line((level), (message), (const struct np_kv[]){__VA_ARGS__}, \
                sizeof((const struct np_kv[]){__VA_ARGS__}) / sizeof(struct np_kv))

#endif
