/* The list of what is wrong with a policy set. */
#include "script/policyset.h"

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
    *p = (struct np_problems){0};
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

/* Errors are counted even when there is no memory to keep their words. */
void np_problems_add(struct np_problems *p, const char *file, unsigned line, unsigned column,
                     const char *code, bool warning, const char *fmt, ...)
{
    if (!warning)
        p->errors++;
    if (p->n >= MAX_PROBLEMS || !make_room(p))
        return;
    struct np_problem *q = &p->list[p->n];
    *q = (struct np_problem){.line = line, .column = column, .warning = warning};
    q->file = np_arena_strdup(p->arena, file);
    q->code = np_arena_strdup(p->arena, code);
    struct np_buf text;
    np_buf_init(&text, 4096);
    va_list ap;
    va_start(ap, fmt);
    enum np_err err = np_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    struct np_span view = err ? NP_SPAN("(no memory for the words)") : np_buf_view(&text);
    q->text = np_arena_dup(p->arena, view).p;
    np_buf_free(&text);
    if (q->file && q->code && q->text)
        p->n++;
}

/* "file:line:column: CODE text"; what is unknown of the place is left out. */
static void print_one(const struct np_problem *q, struct np_buf *out)
{
    np_buf_puts(out, q->file[0] ? q->file : "policies");
    if (q->line > 0)
        np_buf_printf(out, ":%u", q->line);
    if (q->line > 0 && q->column > 0)
        np_buf_printf(out, ":%u", q->column);
    np_buf_printf(out, ": %s %s%s\n", q->code, q->warning ? "warning: " : "", q->text);
}

void np_problems_print(const struct np_problems *p, struct np_buf *out)
{
    for (size_t i = 0; i < p->n; i++)
        print_one(&p->list[i], out);
}
