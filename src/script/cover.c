/* A pair of bit sets a file: lines that have code, lines that ran. In the arena of the set. */
#include "script/cover_impl.h"

#include "base/buf.h"
#include "script/load.h"
#include "script/state.h"

#include <stdio.h>

#define MISSED_BYTES 4096

struct cover_file {
    const struct np_set_file *file;
    unsigned n; /* lines of its text, and one */
    uint8_t *code, *ran;
};

struct np_cover {
    struct cover_file *files;
    size_t n;
};

static bool bit(const uint8_t *set, unsigned line)
{
    return set[line / 8] >> line % 8 & 1;
}

static void set_bit(uint8_t *set, unsigned line)
{
    set[line / 8] = (uint8_t)(set[line / 8] | 1u << line % 8);
}

static void on_line(void *ctx, unsigned line)
{
    struct cover_file *f = ctx;
    if (line < f->n)
        set_bit(f->code, line);
}

static enum np_err take_file(struct np_arena *arena, const struct np_set_file *file,
                             struct cover_file *f)
{
    f->file = file;
    f->n = 2;
    for (size_t i = 0; i < file->source.n; i++)
        f->n += file->source.p[i] == '\n';
    f->code = np_arena_array(arena, f->n / 8 + 1, 1);
    f->ran = np_arena_array(arena, f->n / 8 + 1, 1);
    if (!f->code || !f->ran)
        return NP_E_NOMEM;
    memset(f->code, 0, f->n / 8 + 1);
    memset(f->ran, 0, f->n / 8 + 1);
    np_require(np_bytecode_lines(file->mark ? file->unmarked : file->bytecode, on_line, f));
    return NP_OK;
}

enum np_err np_cover_begin(struct np_policyset *set)
{
    struct np_cover *c = np_arena_alloc(set->arena, sizeof *c);
    if (!c)
        return NP_E_NOMEM;
    c->n = 0;
    c->files = np_arena_array(set->arena, set->n_files + 1, sizeof *c->files);
    if (!c->files)
        return NP_E_NOMEM;
    for (size_t i = 0; i < set->n_files; i++) {
        enum np_set_kind kind = np_set_file_kind(set->files[i].name);
        if ((kind != NP_SET_HOOK && kind != NP_SET_LIBRARY) || set->files[i].bytecode.n == 0)
            continue;
        enum np_err err = take_file(set->arena, &set->files[i], &c->files[c->n++]);
        if (err)
            return err;
    }
    set->cover = c;
    return NP_OK;
}

void np_cover_hit(struct np_cover *c, struct np_state *st, const char *source, int line)
{
    if (source != st->cover_source) {
        st->cover_source = source;
        st->cover_file = c->n;
        for (size_t i = 0; i < c->n && source[0] == '@'; i++)
            if (strcmp(source + 1, c->files[i].file->name) == 0)
                st->cover_file = i;
    }
    if (st->cover_file == c->n)
        return;
    struct cover_file *f = &c->files[st->cover_file];
    if (line > 0 && (unsigned)line < f->n)
        set_bit(f->ran, (unsigned)line);
}

/* The first line from `from` on that has code and did not run; f->n when there is none. */
static unsigned next_missed(const struct cover_file *f, unsigned from)
{
    while (from < f->n && (!bit(f->code, from) || bit(f->ran, from)))
        from++;
    return from;
}

/* Ranges reach over lines without code. */
static void put_missed(struct np_buf *b, const struct cover_file *f)
{
    for (unsigned first = next_missed(f, 0), last; first < f->n; first = next_missed(f, last + 1)) {
        last = first;
        for (unsigned i = first + 1; i < f->n && !(bit(f->code, i) && bit(f->ran, i)); i++)
            last = bit(f->code, i) ? i : last;
        np_buf_printf(b, "%s%u", b->n ? ", " : "", first);
        if (last > first)
            np_buf_printf(b, "-%u", last);
    }
}

void np_cover_tell(struct np_policyset *set,
                   void (*tell)(void *ctx, const struct np_cover_file *file), void *ctx)
{
    struct np_buf missed;
    np_buf_init(&missed, MISSED_BYTES);
    for (size_t i = 0; set->cover && i < set->cover->n; i++) {
        const struct cover_file *f = &set->cover->files[i];
        struct np_cover_file out = {.name = f->file->name};
        for (unsigned line = 0; line < f->n; line++) {
            out.lines += bit(f->code, line);
            out.hit += bit(f->code, line) && bit(f->ran, line);
        }
        np_buf_reset(&missed);
        put_missed(&missed, f);
        out.missed = np_buf_view(&missed);
        if (out.lines > 0)
            tell(ctx, &out);
    }
    np_buf_free(&missed);
}
