/* neap explain: where the record of an id is found: in files, the newest first, or in the memory of a
 * running instance. */
#include <neap/neap.h>

#include "engine/admin_url.h"
#include "engine/explain.h"
#include "engine/fields.h"
#include "provider/fetch.h"

#include "base/json.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_BYTES ((size_t)8 << 20)
#define OPENING "{\"requestId\":\""

/* What was found of an id or of its beginning. */
struct found {
    struct np_span id;
    struct np_buf record; /* the newest of the best */
    struct np_buf other;  /* another id that begins so; empty: there is none */
    bool whole;           /* the id itself was found, not only its beginning */
    size_t lines;         /* records in all the files */
};

/* The id of a line of a decision file; n 0: it is none. */
static struct np_span id_of(struct np_span line)
{
    size_t n = sizeof OPENING - 1;
    if (!np_span_starts(line, OPENING))
        return NP_SPAN_NONE;
    const char *end = memchr(line.p + n, '"', line.n - n);
    return end ? np_span_make(line.p + n, (size_t)(end - line.p) - n) : NP_SPAN_NONE;
}

/* Lines come from the newest to the oldest. */
static void look_at(struct found *f, struct np_span line)
{
    struct np_span id = id_of(line);
    f->lines += id.n > 0;
    if (id.n < f->id.n || memcmp(id.p, f->id.p, f->id.n) != 0 || f->whole)
        return;
    f->whole = id.n == f->id.n;
    if (f->record.n == 0 || f->whole) {
        np_buf_reset(&f->record);
        (void)np_buf_span(&f->record, line);
    } else if (f->other.n == 0 && !np_span_eq(id, id_of(np_buf_view(&f->record)))) {
        (void)np_buf_span(&f->other, id);
    }
}

static void search_text(struct found *f, struct np_span text)
{
    while (text.n > 0 && !f->whole) {
        size_t end = text.n - (text.p[text.n - 1] == '\n');
        const char *before = end > 0 ? memrchr(text.p, '\n', end) : NULL;
        size_t from = before ? (size_t)(before - text.p) + 1 : 0;
        look_at(f, np_span_make(text.p + from, end - from));
        text.n = from;
    }
}

/* False: errno says why it can't be read. A file that is rotated meanwhile keeps its contents. */
static bool search_file(struct found *f, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool good = fstat(fd, &st) == 0;
    if (good && !S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        good = false;
    }
    if (good && st.st_size > 0) {
        size_t n = (size_t)st.st_size;
        void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
        good = p != MAP_FAILED;
        if (good) {
            search_text(f, np_span_make(p, n));
            (void)munmap(p, n);
        }
    }
    int err = errno;
    (void)close(fd);
    errno = err;
    return good;
}

static enum neap_status in_files(struct found *f, const char *path, char why[NEAP_WHY])
{
    if (!search_file(f, path)) {
        (void)snprintf(why, NEAP_WHY, "%s can't be read: %s", path, strerror(errno));
        return NEAP_FAILED;
    }
    for (unsigned i = 1; i <= NP_LOG_KEPT && !f->whole; i++) {
        char older[4096];
        (void)snprintf(older, sizeof older, "%s.%u", path, i);
        if (!search_file(f, older))
            break;
    }
    if (f->record.n > 0)
        return NEAP_GOOD;
    if (f->lines == 0)
        (void)snprintf(why, NEAP_WHY,
                       "%s has no decision records: they are one JSON object a line, as neap serve "
                       "--decisions writes them",
                       path);
    else
        (void)snprintf(why, NEAP_WHY, "no id of the %zu records in %s begins with %.*s", f->lines,
                       path, (int)f->id.n, f->id.p);
    return NEAP_NO;
}

/* --- a running instance -------------------------------------------------------------------------- */

/* What it says of an error; "" without. */
static void put_refusal(const struct np_buf *body, char why[NEAP_WHY])
{
    struct np_json_fault fault;
    struct np_span error, whole = np_buf_view(body);
    if (np_json_check(whole, NP_JSON_DEPTH, &fault) || np_json_kind(whole) != NP_JSON_OBJECT ||
        !np_json_get(whole, "error", &error) || np_json_kind(error) != NP_JSON_OBJECT)
        return;
    struct np_span message = np_text_of(error, "message");
    if (message.n > 0)
        (void)snprintf(why, NEAP_WHY, "%.*s", (int)message.n, message.p);
}

static enum neap_status in_instance(struct found *f, const struct neap_request_options *o,
                                    char why[NEAP_WHY])
{
    char url[1024], path[160];
    unsigned status = 0;
    (void)snprintf(path, sizeof path, "/api/requests/%s", o->id);
    enum neap_status known = np_admin_url(o->admin, path, url, sizeof url, why);
    if (known)
        return known;
    if (np_fetch_get(url, o->token, &f->record, &status, why, NEAP_WHY)) {
        while (f->record.n > 0 && f->record.p[f->record.n - 1] == '\n')
            f->record.n--;
        return NEAP_GOOD;
    }
    if (status != 404 && status != 409)
        return NEAP_FAILED;
    put_refusal(&f->record, why);
    return NEAP_NO;
}

/* --- the answer ---------------------------------------------------------------------------------- */

/* Only ids that may be one go into a URL. */
static bool is_id(const char *id)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return id[0] && strlen(id) <= 128 && strspn(id, letters) == strlen(id);
}

/* The record as text for people, or as it stands. */
static enum neap_status tell(const struct found *f, bool json, char **out, char why[NEAP_WHY])
{
    struct np_span record = np_buf_view(&f->record);
    struct np_json_fault fault;
    struct np_buf text;
    if (np_json_check(record, NP_JSON_DEPTH, &fault) != NP_OK) {
        (void)snprintf(why, NEAP_WHY, "the record is damaged at byte %zu: %s", fault.offset,
                       fault.what);
        return NEAP_FAILED;
    }
    if (np_json_kind(record) != NP_JSON_OBJECT) {
        (void)snprintf(why, NEAP_WHY, "what answers there is no neap");
        return NEAP_FAILED;
    }
    np_buf_init(&text, TEXT_BYTES);
    if (json) {
        (void)np_buf_span(&text, record);
        (void)np_buf_char(&text, '\n');
    } else {
        np_explain_tell(&text, record);
    }
    (void)np_buf_char(&text, '\0');
    *out = np_buf_failed(&text) ? NULL : strdup(text.p);
    if (!*out)
        (void)snprintf(why, NEAP_WHY, "no memory");
    np_buf_free(&text);
    return *out ? NEAP_GOOD : NEAP_FAILED;
}

enum neap_status neap_request_explain(const struct neap_request_options *o, char **out,
                                      char why[NEAP_WHY])
{
    struct found f = {.id = np_span_of(o->id)};
    *out = NULL;
    np_buf_init(&f.record, TEXT_BYTES);
    np_buf_init(&f.other, 256);
    if (!is_id(o->id)) {
        (void)snprintf(why, NEAP_WHY, "an id has 1 to 128 letters, digits, dots, - and _");
        return NEAP_USAGE;
    }
    enum neap_status status =
        o->decisions ? in_files(&f, o->decisions, why) : in_instance(&f, o, why);
    if (status == NEAP_GOOD && !f.whole && f.other.n > 0) {
        struct np_span one = id_of(np_buf_view(&f.record));
        (void)snprintf(why, NEAP_WHY,
                       "more than one id begins with %s: %.*s, %.*s, …; give more of it", o->id,
                       (int)one.n, one.p, (int)f.other.n, f.other.p);
        status = NEAP_NO;
    }
    if (status == NEAP_GOOD)
        status = tell(&f, o->json, out, why);
    np_buf_free(&f.record);
    np_buf_free(&f.other);
    return status;
}
