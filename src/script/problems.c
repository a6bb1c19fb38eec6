/* The list of what is wrong with a policy set. */
#include "script/policyset.h"

#include "base/utf8.h"

#include <stdlib.h>

#define MAX_PROBLEMS 1000
#define ARENA_BYTES ((size_t)4 << 20)

void np_problems_init(struct np_problems *p)
{
    *p = (struct np_problems){0};
}

void np_problems_free(struct np_problems *p)
{
    if (p->arena)
        np_arena_free(p->arena);
    free(p->list);
    free(p->allowed);
    *p = (struct np_problems){0};
}

bool np_problems_have(const struct np_problems *p, const char *code)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->list[i].code, code) == 0)
            return true;
    }
    return false;
}

static bool make_room(struct np_problems *p)
{
    if (!p->arena)
        p->arena = np_arena_new(ARENA_BYTES);
    if (!p->arena)
        return false;
    if (p->n < p->cap)
        return true;
    size_t cap = p->cap ? 2 * p->cap : 16;
    struct np_problem *list = realloc(p->list, cap * sizeof *list);
    if (!list)
        return false;
    p->list = list;
    p->cap = cap;
    return true;
}

/* One line of UTF-8, whatever was quoted in it. */
static void make_plain(char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t length = np_utf8_next(p + i, p + n, &cp);
        if (length == 0 || cp < 0x20 || cp == 0x7f)
            p[i] = '?';
        i += length ? length : 1;
    }
}

/* Where the next one goes: behind the others, or, where the list is full, an error in the place of the last
 * warning. NULL when it is left out. */
static struct np_problem *place_for(struct np_problems *p, bool warning)
{
    if (p->n < MAX_PROBLEMS)
        return make_room(p) ? &p->list[p->n] : NULL;
    p->left_out++;
    for (size_t i = p->n; !warning && i > 0; i--)
        if (p->list[i - 1].warning)
            return &p->list[i - 1];
    return NULL;
}

/* Errors are counted even when there is no memory to keep their words. */
void np_problems_add(struct np_problems *p, const char *file, unsigned line, unsigned column,
                     const char *code, bool warning, const char *fmt, ...)
{
    if (!warning)
        p->errors++;
    struct np_problem *place = place_for(p, warning);
    if (!place)
        return;
    struct np_problem q = {.line = line, .column = column, .warning = warning};
    q.file = np_arena_strdup(p->arena, file);
    q.code = np_arena_strdup(p->arena, code);
    struct np_buf text;
    np_buf_init(&text, 4096);
    va_list ap;
    va_start(ap, fmt);
    enum np_err err = np_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (!err)
        make_plain(text.p, text.n);
    struct np_span view = err ? NP_SPAN("(no memory for the words)") : np_buf_view(&text);
    q.text = np_arena_dup(p->arena, view).p;
    np_buf_free(&text);
    if (!q.file || !q.code || !q.text)
        return;
    *place = q;
    if (place == &p->list[p->n])
        p->n++;
}

/* --- settling -------------------------------------------------------------------------------------- */

void np_problems_allow(struct np_problems *p, const struct np_allowance *a)
{
    if (p->n_allowed >= MAX_PROBLEMS || !make_room(p))
        return;
    struct np_allowance *list = realloc(p->allowed, (p->n_allowed + 1) * sizeof *list);
    if (!list)
        return;
    p->allowed = list;
    struct np_allowance *q = &list[p->n_allowed];
    *q = *a;
    q->file = np_arena_strdup(p->arena, a->file);
    q->code = np_arena_strdup(p->arena, a->code);
    q->reason = np_arena_strdup(p->arena, a->reason);
    q->used = false;
    if (q->file && q->code && q->reason)
        p->n_allowed++;
}

static bool is_allowed(struct np_problems *p, const struct np_problem *q)
{
    if (!q->warning)
        return false;
    for (size_t i = 0; i < p->n_allowed; i++) {
        struct np_allowance *a = &p->allowed[i];
        if (a->covers == q->line && a->reason[0] && strcmp(a->code, q->code) == 0 &&
            strcmp(a->file, q->file) == 0) {
            a->used = true;
            return true;
        }
    }
    return false;
}

/* Something that failed while it was run, where looking into it says why. */
static bool is_said_better(const struct np_problems *p, const struct np_problem *q)
{
    bool ran = strcmp(q->code, "N105") == 0 || q->code[1] == '4';
    if (!ran || q->line == 0)
        return false;
    for (size_t i = 0; i < p->n; i++) {
        const struct np_problem *r = &p->list[i];
        if (!r->warning && r->line == q->line && r->code[1] == '3' && strcmp(r->file, q->file) == 0)
            return true;
    }
    return false;
}

static int in_order(const void *a, const void *b)
{
    const struct np_problem *p = a, *q = b;
    int by_file = strcmp(p->file, q->file);
    if (by_file != 0)
        return by_file;
    if (p->line != q->line)
        return p->line < q->line ? -1 : 1;
    if (p->column != q->column)
        return p->column < q->column ? -1 : 1;
    int by_code = strcmp(p->code, q->code);
    return by_code != 0 ? by_code : strcmp(p->text, q->text);
}

static void tell_unused(struct np_problems *p)
{
    for (size_t i = 0; i < p->n_allowed; i++) {
        const struct np_allowance *a = &p->allowed[i];
        if (!a->reason[0])
            np_problems_add(p, a->file, a->line, a->column, "N319", true,
                            "allows nothing without a reason: -- neap: allow %s because …",
                            a->code);
        else if (!a->used)
            np_problems_add(p, a->file, a->line, a->column, "N319", true,
                            "allows %s, but line %u has no such warning (errors can't be allowed)",
                            a->code, a->covers);
    }
}

void np_problems_settle(struct np_problems *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        bool better = is_said_better(p, &p->list[i]);
        p->errors -= better && !p->list[i].warning;
        if (better || is_allowed(p, &p->list[i]))
            continue;
        p->list[kept++] = p->list[i];
    }
    p->n = kept;
    tell_unused(p);
    if (p->n > 0)
        qsort(p->list, p->n, sizeof *p->list, in_order);
}

/* --- printing -------------------------------------------------------------------------------------- */

/* "file:line:column: CODE text"; what is unknown of the place is left out, all of it where no file is. */
static void print_one(const struct np_problem *q, struct np_buf *out)
{
    np_buf_puts(out, q->file);
    if (q->line > 0)
        np_buf_printf(out, ":%u", q->line);
    if (q->line > 0 && q->column > 0)
        np_buf_printf(out, ":%u", q->column);
    np_buf_printf(out, "%s%s %s%s\n", q->file[0] ? ": " : "", q->code,
                  q->warning ? "warning: " : "", q->text);
}

void np_problems_print(const struct np_problems *p, struct np_buf *out)
{
    for (size_t i = 0; i < p->n; i++)
        print_one(&p->list[i], out);
}
