/* Holding hooks at their lines: when to hold, and the commands while it is held. What a frame has in it
 * is frame.c's. */
#include "script/stepper.h"

#include <stdio.h>
#include <stdlib.h>

#include "script/frame.h"

#define MAX_BREAKS 64
#define TRACE_LINES 2000 /* of one run */
#define TEXT_BYTES ((size_t)1 << 20)

enum mode { MODE_RUN, MODE_STEP, MODE_NEXT, MODE_OUT };

struct break_at {
    char file[64];
    unsigned line;
    char condition[160]; /* "": always */
};

struct np_stepper {
    struct np_stepper_host host;
    struct break_at breaks[MAX_BREAKS];
    size_t n_breaks;
    struct np_buf text; /* being said */
    /* While a run is watched: */
    struct np_script *script;
    struct np_frame_world world;
    struct np_line_watch watch;
    enum mode mode;
    int depth;      /* NEXT and OUT: of the frame that they began in */
    char first[32]; /* the file whose first line holds; "": none */
    bool let_go;    /* no stops until the run is over */
    bool trace;
    unsigned traced; /* lines said so far */
    char last[16];   /* the last command, which an empty line repeats */
};

static const char help[] =
    "n next line, s into calls, o out of the function, c go on, q go on without stops\n"
    "l locals, w where, p EXPR a value, b FILE:LINE [if EXPR] a breakpoint, b the "
    "breakpoints\n";

static void say(struct np_stepper *p)
{
    np_buf_char(&p->text, '\0');
    if (!np_buf_failed(&p->text) && p->text.n > 1)
        p->host.say(p->host.ctx, p->text.p);
    np_buf_reset(&p->text);
}

/* --- breakpoints ------------------------------------------------------------------------------------- */

/* The set's file of a name with or without .lua. */
static const struct np_set_file *find_file(const struct np_policyset *set, struct np_span name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%.*s", (int)name.n, name.p);
    const struct np_set_file *f = np_set_file_find(set, path);
    if (f)
        return f;
    (void)snprintf(path, sizeof path, "%.*s.lua", (int)name.n, name.p);
    return np_set_file_find(set, path);
}

static unsigned count_lines(const struct np_set_file *f)
{
    unsigned n = 1;
    for (size_t i = 0; i + 1 < f->source.n; i++)
        n += f->source.p[i] == '\n';
    return n;
}

/* "FILE:LINE" and perhaps " if EXPR" behind it. */
static bool read_break(struct np_span text, struct np_span *name, unsigned long long *line,
                       struct np_span *condition)
{
    const char *colon = memchr(text.p, ':', text.n), *end = text.p + text.n;
    if (!colon)
        return false;
    const char *stop = colon + 1;
    while (stop < end && *stop >= '0' && *stop <= '9')
        stop++;
    *name = np_span_make(text.p, (size_t)(colon - text.p));
    if (!np_span_to_u64(np_span_make(colon + 1, (size_t)(stop - colon - 1)), line))
        return false;
    while (stop < end && *stop == ' ')
        stop++;
    *condition = np_span_make(stop, (size_t)(end - stop));
    if (condition->n == 0)
        return true;
    bool is = np_span_starts(*condition, "if ");
    if (is)
        *condition = np_span_make(condition->p + 3, condition->n - 3);
    return is;
}

bool np_stepper_break(struct np_stepper *p, const struct np_policyset *set, struct np_span text,
                      char *why, size_t size)
{
    struct break_at b = {.line = 0};
    struct np_span name, condition;
    unsigned long long line;
    bool good = read_break(text, &name, &line, &condition);
    const struct np_set_file *f = good ? find_file(set, name) : NULL;
    if (!good || condition.n >= sizeof b.condition)
        (void)snprintf(why, size,
                       "a breakpoint is FILE:LINE, and perhaps a condition: route.lua:14 if "
                       "req.stream");
    else if (p->n_breaks == MAX_BREAKS)
        (void)snprintf(why, size, "there are %d breakpoints already", MAX_BREAKS);
    else if (!f)
        (void)snprintf(why, size, "there is no file %.*s in the set", (int)name.n, name.p);
    else if (line == 0 || line > count_lines(f))
        (void)snprintf(why, size, "%s has %u lines", f->name, count_lines(f));
    else {
        (void)snprintf(b.file, sizeof b.file, "%s", f->name);
        (void)snprintf(b.condition, sizeof b.condition, "%.*s", (int)condition.n, condition.p);
        b.line = (unsigned)line;
        p->breaks[p->n_breaks++] = b;
        return true;
    }
    return false;
}

void np_stepper_clear(struct np_stepper *p)
{
    p->n_breaks = 0;
}

size_t np_stepper_breaks(const struct np_stepper *p)
{
    return p->n_breaks;
}

void np_stepper_list(const struct np_stepper *p, struct np_buf *out)
{
    for (size_t i = 0; i < p->n_breaks; i++)
        np_buf_printf(out, "%s:%u%s%s\n", p->breaks[i].file, p->breaks[i].line,
                      p->breaks[i].condition[0] ? " if " : "", p->breaks[i].condition);
}

/* Whether one of them holds here. A condition that fails holds too, and says why. */
static bool hits_break(struct np_stepper *p, struct np_frame *f)
{
    for (size_t i = 0; i < p->n_breaks; i++) {
        const struct break_at *b = &p->breaks[i];
        bool yes = true;
        if (b->line != f->line || strcmp(b->file, f->file) != 0)
            continue;
        if (!b->condition[0])
            return true;
        if (np_frame_test(f, &p->world, np_span_of(b->condition), &yes, &p->text) && yes)
            return true;
        if (p->text.n > 0)
            return true;
    }
    return false;
}

/* --- held ---------------------------------------------------------------------------------------------- */

static void put_place(struct np_stepper *p, const struct np_frame *f)
{
    struct np_span source = np_frame_source(f, p->script);
    np_buf_printf(&p->text, "%s:%u  %.*s\n", f->file, f->line, (int)source.n,
                  source.p ? source.p : "");
}

static void take_break(struct np_stepper *p, struct np_span rest)
{
    char why[200];
    if (rest.n == 0)
        np_stepper_list(p, &p->text);
    else if (np_stepper_break(p, p->script->set, rest, why, sizeof why))
        np_buf_printf(&p->text, "a breakpoint at %s:%u\n", p->breaks[p->n_breaks - 1].file,
                      p->breaks[p->n_breaks - 1].line);
    else
        np_buf_printf(&p->text, "%s\n", why);
}

/* The word of a command as its letter; 0: it is none. */
static char letter_of(struct np_span word)
{
    static const char *const words[] = {"next",  "step",  "out",   "continue", "locals",
                                        "where", "print", "break", "quit",     "help"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (np_span_is(word, words[i]) || (word.n == 1 && word.p[0] == words[i][0]))
            return words[i][0];
    }
    return 0;
}

/* Does a command. True: the hook goes on. */
static bool obey(struct np_stepper *p, struct np_frame *f, char letter, struct np_span rest)
{
    p->depth = f->depth;
    switch (letter) {
    case 'n':
        p->mode = MODE_NEXT;
        return true;
    case 's':
        p->mode = MODE_STEP;
        return true;
    case 'o':
        p->mode = MODE_OUT;
        return true;
    case 'c':
        p->mode = MODE_RUN;
        return true;
    case 'q':
        p->let_go = true;
        return true;
    case 'l':
        np_frame_locals(f, &p->world, &p->text);
        return false;
    case 'w':
        np_frame_where(f, p->script, &p->text);
        return false;
    case 'b':
        take_break(p, rest);
        return false;
    case 'p':
        np_frame_print(f, &p->world, rest, &p->text);
        return false;
    default:
        np_buf_puts(&p->text, help);
        return false;
    }
}

static struct np_span trim(const char *line)
{
    while (*line == ' ' || *line == '\t')
        line++;
    size_t n = strlen(line);
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
        n--;
    return np_span_make(line, n);
}

/* One line that was typed; whatever is no command is an expression. */
static bool take_line(struct np_stepper *p, struct np_frame *f, const char *line)
{
    struct np_span text = trim(line);
    if (text.n == 0)
        text = np_span_of(p->last);
    size_t n = 0;
    while (n < text.n && text.p[n] != ' ')
        n++;
    char letter = letter_of(np_span_make(text.p, n));
    if (letter && (n == text.n || letter == 'p' || letter == 'b')) {
        if (n == text.n)
            (void)snprintf(p->last, sizeof p->last, "%.*s", (int)n, text.p);
        struct np_span rest = text;
        while (n < rest.n && rest.p[n] == ' ')
            n++;
        return obey(p, f, letter, np_span_make(rest.p + n, rest.n - n));
    }
    if (text.n > 1 && text.p[0] == '.' && text.p[1] >= 'a' && text.p[1] <= 'z')
        np_buf_puts(&p->text,
                    "commands wait until the run is over: c or q let it go on, h says more\n");
    else
        np_frame_print(f, &p->world, text, &p->text);
    return false;
}

static void hold(struct np_stepper *p, struct np_frame *f)
{
    char prompt[96];
    bool on = false;
    put_place(p, f);
    say(p);
    (void)snprintf(prompt, sizeof prompt, "%s:%u> ", f->file, f->line);
    while (!on) {
        char *line = p->host.ask(p->host.ctx, prompt);
        if (!line) {
            p->let_go = true;
            return;
        }
        on = take_line(p, f, line);
        say(p);
        free(line);
    }
}

/* --- watching ------------------------------------------------------------------------------------------ */

static bool is_stop(struct np_stepper *p, struct np_frame *f)
{
    if (p->let_go)
        return false;
    if (p->first[0] && (p->first[0] == '*' || strcmp(p->first, f->file) == 0)) {
        p->first[0] = '\0';
        return true;
    }
    switch (p->mode) {
    case MODE_STEP:
        return true;
    case MODE_NEXT:
        if (f->depth <= p->depth)
            return true;
        break;
    case MODE_OUT:
        if (f->depth < p->depth)
            return true;
        break;
    default:
        break;
    }
    return hits_break(p, f);
}

static void on_event(void *ctx, lua_State *L, lua_Debug *ar)
{
    struct np_stepper *p = ctx;
    struct np_frame f;
    if (ar->event != LUA_HOOKLINE || !np_frame_of(&f, L, ar, p->script))
        return;
    if (p->trace && p->traced <= TRACE_LINES) {
        if (p->traced++ < TRACE_LINES)
            np_frame_trace(&f, &p->world, p->script, &p->text);
        else
            np_buf_puts(&p->text, "… the rest of the run is not traced\n");
        say(p);
    }
    if (is_stop(p, &f))
        hold(p, &f);
}

/* --- life ---------------------------------------------------------------------------------------------- */

struct np_stepper *np_stepper_new(const struct np_stepper_host *host)
{
    struct np_stepper *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->host = *host;
    np_buf_init(&p->text, TEXT_BYTES);
    return p;
}

void np_stepper_free(struct np_stepper *p)
{
    if (!p)
        return;
    np_buf_free(&p->text);
    free(p);
}

bool np_stepper_begin(struct np_stepper *p, struct np_script *s,
                      const struct np_stepper_order *order)
{
    if (!np_frame_open(&p->world, s))
        return false;
    p->script = s;
    p->mode = MODE_RUN;
    p->let_go = false;
    p->trace = order->trace;
    p->traced = 0;
    p->last[0] = '\0';
    (void)snprintf(p->first, sizeof p->first, "%s%s", order->hook ? order->hook : "",
                   order->hook && order->hook[0] ? ".lua" : "");
    if (order->hook && !order->hook[0])
        (void)snprintf(p->first, sizeof p->first, "*");
    p->watch = (struct np_line_watch){on_event, p};
    s->state.lines = &p->watch;
    return true;
}

bool np_stepper_end(struct np_stepper *p)
{
    p->script->state.lines = NULL;
    np_frame_close(&p->world, p->script);
    p->script = NULL;
    return p->first[0] == '\0';
}
