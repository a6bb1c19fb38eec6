/* neap check: what the gate says of a folder, as text, as JSON or as workflow commands. */
#include <neap/neap.h>

#include "base/json.h"
#include "engine/gate.h"

#include <stdio.h>
#include <stdlib.h>

#define OUT_BYTES ((size_t)8 << 20)

/* What was found. */
struct finding {
    const char *dir, *version; /* version NULL: the folder can't be read */
    const struct np_problems *problems;
    bool bad;
};

static size_t warnings_of(const struct finding *f)
{
    size_t all = f->problems->n + f->problems->left_out;
    return all > f->problems->errors ? all - f->problems->errors : 0;
}

static void put_text(const struct finding *f, struct np_buf *out)
{
    size_t errors = f->problems->errors, warnings = warnings_of(f);
    np_problems_print(f->problems, out);
    np_buf_printf(out, "%s: ", f->dir);
    if (f->version)
        np_buf_printf(out, "version %s, ", f->version);
    if (errors > 0)
        np_buf_printf(out, "%s%zu error%s", f->problems->left_out > 0 ? "at least " : "", errors,
                      errors == 1 ? "" : "s");
    else
        np_buf_puts(out, "no errors");
    if (warnings > 0)
        np_buf_printf(out, ", %zu warning%s", warnings, warnings == 1 ? "" : "s");
    if (f->problems->left_out > 0)
        np_buf_puts(out, "; 1,000 of them are shown");
    np_buf_puts(out, f->problems->n > 0 ? " (neap check --explain CODE says more)\n" : "\n");
}

static void put_json(const struct finding *f, struct np_buf *out)
{
    struct np_json_w w;
    np_json_w_init(&w, out);
    np_json_w_begin(&w, '{');
    np_json_w_cstr(&w, "version", f->version);
    np_json_w_bool(&w, "valid", !f->bad);
    np_json_w_i64(&w, "errors", (int64_t)f->problems->errors);
    np_json_w_i64(&w, "warnings", (int64_t)warnings_of(f));
    np_json_w_begin_key(&w, "problems", '[');
    for (size_t i = 0; i < f->problems->n; i++) {
        const struct np_problem *q = &f->problems->list[i];
        np_json_w_begin(&w, '{');
        np_json_w_cstr(&w, "file", q->file);
        np_json_w_i64(&w, "line", q->line);
        np_json_w_i64(&w, "column", q->column);
        np_json_w_cstr(&w, "code", q->code);
        np_json_w_cstr(&w, "severity", q->warning ? "warning" : "error");
        np_json_w_cstr(&w, "text", q->text);
        np_json_w_end(&w, '}');
    }
    np_json_w_end(&w, ']');
    np_json_w_end(&w, '}');
    np_buf_char(out, '\n');
}

/* A value of a workflow command: what ends it is written in hexadecimal. */
static void put_escaped(const char *text, bool property, struct np_buf *out)
{
    for (const char *p = text; *p; p++) {
        bool special =
            *p == '%' || *p == '\r' || *p == '\n' || (property && (*p == ':' || *p == ','));
        if (special)
            np_buf_printf(out, "%%%02X", (unsigned char)*p);
        else
            np_buf_char(out, *p);
    }
}

static void put_github(const struct finding *f, struct np_buf *out)
{
    size_t n = strlen(f->dir);
    while (n > 1 && f->dir[n - 1] == '/')
        n--;
    for (size_t i = 0; i < f->problems->n; i++) {
        const struct np_problem *q = &f->problems->list[i];
        char file[512];
        (void)snprintf(file, sizeof file, "%.*s%s%s", (int)n, f->dir, q->file[0] ? "/" : "",
                       q->file);
        np_buf_printf(out, "::%s file=", q->warning ? "warning" : "error");
        put_escaped(file, true, out);
        np_buf_printf(out, ",line=%u,col=%u,title=%s::", q->line ? q->line : 1,
                      q->column ? q->column : 1, q->code);
        put_escaped(q->text, false, out);
        np_buf_char(out, '\n');
    }
}

static const struct {
    const char *name;
    void (*put)(const struct finding *f, struct np_buf *out);
} formats[] = {{"text", put_text}, {"json", put_json}, {"github", put_github}};

#define N_FORMATS (sizeof formats / sizeof formats[0])

/* The text of a buffer, ended by NUL; frees the buffer. */
static char *take_text(struct np_buf *b)
{
    char *text = np_buf_failed(b) ? NULL : malloc(b->n + 1);
    if (text) {
        memcpy(text, b->n ? b->p : "", b->n);
        text[b->n] = '\0';
    }
    np_buf_free(b);
    return text;
}

static enum neap_status judge(const char *dir, const struct neap_check_options *options,
                              size_t format, struct np_slots *slots, char **out)
{
    struct np_problems problems;
    struct np_policyset *set = NULL;
    struct np_buf text;
    np_problems_init(&problems);
    np_buf_init(&text, OUT_BYTES);
    struct np_load_options load = {.slots = slots, .simulated = true};
    enum np_err err = np_policyset_read(dir, &set, &problems);
    if (!err)
        err = np_gate_check(set, &load, &problems);
    struct finding f = {.dir = dir,
                        .version = set ? np_policyset_version(set) : NULL,
                        .problems = &problems,
                        .bad = err || problems.errors > 0 ||
                               (options->deny_warnings && problems.n > 0)};
    formats[format].put(&f, &text);
    *out = take_text(&text);
    bool unread = np_problems_have(&problems, NP_UNREADABLE);
    np_policyset_drop(set);
    np_problems_free(&problems);
    if (err == NP_E_NOMEM || !*out || unread)
        return NEAP_FAILED;
    return f.bad ? NEAP_NO : NEAP_GOOD;
}

enum neap_status neap_check(const char *dir, const struct neap_check_options *options, char **out)
{
    struct np_slots slots;
    size_t format = 0;
    *out = NULL;
    while (options->format && format < N_FORMATS &&
           strcmp(options->format, formats[format].name) != 0)
        format++;
    if (format == N_FORMATS)
        return NEAP_USAGE;
    if (np_slots_init(&slots) != NP_OK)
        return NEAP_FAILED;
    enum neap_status status = judge(dir, options, format, &slots, out);
    np_slots_free(&slots);
    return status;
}

enum neap_status neap_explain(const char *code, char **out)
{
    struct np_buf text;
    np_buf_init(&text, OUT_BYTES);
    enum np_err err = np_problems_explain(code, &text);
    *out = take_text(&text);
    if (!*out || (err && err != NP_E_NOTFOUND))
        return NEAP_FAILED;
    return err ? NEAP_USAGE : NEAP_GOOD;
}
