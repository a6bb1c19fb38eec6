/* XML 1.0: what may not stand in it at all, even escaped, becomes U+FFFD. */
#include "engine/test_junit.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "engine/put_file.h"

#include <stdio.h>
#include <stdlib.h>

#define XML_BYTES ((size_t)64 << 20)
#define FILE_BYTES 256
#define HEAD_BYTES 200 /* of a message in an attribute */

struct np_junit {
    struct np_buf suites, cases; /* finished files; the cases of the one that runs */
    char file[FILE_BYTES];       /* "": none yet */
    size_t tests, failures, all_tests, all_failures;
    uint64_t ns, all_ns;
};

static bool is_allowed(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0xfffd) || c >= 0x10000;
}

/* Blanks that parsers make plain ones in attributes are escaped everywhere. */
static void put_text(struct np_buf *b, struct np_span s)
{
    static const char special[] = "&<>\"'\t\n\r";
    for (const char *p = s.p, *end = p + s.n; s.n > 0 && p < end;) {
        uint32_t c = 0;
        size_t n = np_utf8_next(p, end, &c);
        if (n == 0 || !is_allowed(c))
            np_buf_puts(b, "\xef\xbf\xbd");
        else if (c < 0x80 && strchr(special, (int)c))
            np_buf_printf(b, "&#%u;", c);
        else
            np_buf_put(b, p, n);
        p += n ? n : 1;
    }
}

static void put_attribute(struct np_buf *b, const char *name, struct np_span value)
{
    np_buf_printf(b, " %s=\"", name);
    put_text(b, value);
    np_buf_char(b, '"');
}

static void put_seconds(struct np_buf *b, uint64_t ns)
{
    np_buf_printf(b, " time=\"%llu.%06llu\"", (unsigned long long)(ns / NP_NS_PER_S),
                  (unsigned long long)(ns % NP_NS_PER_S / 1000));
}

static void put_counts(struct np_buf *b, size_t tests, size_t failures, uint64_t ns)
{
    np_buf_printf(b, " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"0\"", tests, failures);
    put_seconds(b, ns);
}

static void end_suite(struct np_junit *j)
{
    if (!j->file[0])
        return;
    np_buf_puts(&j->suites, "  <testsuite");
    put_attribute(&j->suites, "name", np_span_of(j->file));
    put_counts(&j->suites, j->tests, j->failures, j->ns);
    np_buf_puts(&j->suites, ">\n");
    np_buf_span(&j->suites, np_buf_view(&j->cases));
    np_buf_puts(&j->suites, "  </testsuite>\n");
    np_buf_reset(&j->cases);
    j->all_tests += j->tests;
    j->all_failures += j->failures;
    j->all_ns += j->ns;
    j->tests = j->failures = 0;
    j->ns = 0;
    j->file[0] = '\0';
}

static void begin_case(struct np_junit *j, const char *file, struct np_span name, unsigned line,
                       uint64_t ns)
{
    struct np_buf *b = &j->cases;
    if (strcmp(j->file, file) != 0) {
        end_suite(j);
        (void)snprintf(j->file, sizeof j->file, "%s", file);
    }
    j->tests++;
    j->ns += ns;
    np_buf_puts(b, "    <testcase");
    put_attribute(b, "classname", np_span_of(file));
    put_attribute(b, "name", name.n ? name : np_span_of(file));
    put_attribute(b, "file", np_span_of(file));
    if (line)
        np_buf_printf(b, " line=\"%u\"", line);
    put_seconds(b, ns);
}

static struct np_span first_line(struct np_span s)
{
    const char *end = s.n ? memchr(s.p, '\n', s.n) : NULL;
    s.n = end ? (size_t)(end - s.p) : s.n;
    if (s.n > HEAD_BYTES)
        for (s.n = HEAD_BYTES; s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80;)
            s.n--;
    return s;
}

void np_junit_add(struct np_junit *j, const struct np_test_result *r, uint64_t ns)
{
    struct np_buf *b = &j->cases;
    begin_case(j, r->file, np_span_of(r->name), r->line, ns);
    if (r->passed) {
        np_buf_puts(b, "/>\n");
        return;
    }
    j->failures++;
    np_buf_puts(b, ">\n      <failure type=\"failure\"");
    put_attribute(b, "message", first_line(r->message));
    np_buf_char(b, '>');
    if (r->source.n) {
        put_text(b, np_span_of(r->at_file));
        np_buf_printf(b, ":%u:  ", r->at_line);
        put_text(b, r->source);
        np_buf_char(b, '\n');
    }
    put_text(b, r->message);
    if (r->run.n) {
        np_buf_puts(b, "\nthe last run:\n");
        put_text(b, r->run);
    }
    np_buf_puts(b, "</failure>\n    </testcase>\n");
}

void np_junit_fault(struct np_junit *j, struct np_span problems)
{
    begin_case(j, "policies", NP_SPAN("the set loads"), 0, 0);
    j->failures++;
    np_buf_puts(&j->cases, ">\n      <failure type=\"failure\"");
    put_attribute(&j->cases, "message", first_line(problems));
    np_buf_char(&j->cases, '>');
    put_text(&j->cases, problems);
    np_buf_puts(&j->cases, "</failure>\n    </testcase>\n");
}

bool np_junit_write(struct np_junit *j, const char *path, struct np_buf *why)
{
    struct np_buf b;
    end_suite(j);
    np_buf_init(&b, 2 * XML_BYTES);
    np_buf_puts(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"neap test\"");
    put_counts(&b, j->all_tests, j->all_failures, j->all_ns);
    np_buf_puts(&b, ">\n");
    np_buf_span(&b, np_buf_view(&j->suites));
    np_buf_puts(&b, "</testsuites>\n");
    bool failed = np_buf_failed(&b) || np_buf_failed(&j->cases) || np_buf_failed(&j->suites);
    if (failed)
        np_buf_puts(why, np_err_text(NP_E_NOMEM));
    bool ok = !failed && np_put_file(path, np_buf_view(&b), why);
    np_buf_free(&b);
    return ok;
}

struct np_junit *np_junit_new(void)
{
    struct np_junit *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    np_buf_init(&j->suites, XML_BYTES);
    np_buf_init(&j->cases, XML_BYTES);
    return j;
}

void np_junit_free(struct np_junit *j)
{
    if (!j)
        return;
    np_buf_free(&j->cases);
    np_buf_free(&j->suites);
    free(j);
}
