/* Reads the lines out of bytecode of Lua 5.4 (lundump.c has the format), as np_policyset made it. Every
 * read is bounded; anything that is not as expected ends it. */
#include "script/cover_impl.h"

#include <lua.h>
#include <stdint.h>

#define HEADER_BYTES 31  /* signature, version, format, data, sizes, integer, number */
#define ABSOLUTE (-0x80) /* in lineinfo: the line stands in abslineinfo */
#define DEPTH 200

struct reader {
    const unsigned char *p, *end;
    void (*line)(void *ctx, unsigned line);
    void *ctx;
    bool bad;
};

/* The debug part of one function. */
struct lines {
    unsigned defined;
    uint64_t n, n_abs;
    const signed char *info;
};

static uint64_t number(struct reader *r)
{
    uint64_t x = 0;
    for (int i = 0; i < 10; i++) {
        if (r->p == r->end)
            break;
        unsigned char c = *r->p++;
        x = x << 7 | (c & 0x7f);
        if (c & 0x80)
            return x;
    }
    r->bad = true;
    return 0;
}

static void skip(struct reader *r, uint64_t n, uint64_t size)
{
    if (r->bad || n > (uint64_t)(r->end - r->p) / size)
        r->bad = true;
    else
        r->p += n * size;
}

static void string(struct reader *r)
{
    uint64_t n = number(r);
    if (n > 1)
        skip(r, n - 1, 1);
}

static void constants(struct reader *r)
{
    for (uint64_t n = number(r); n > 0 && !r->bad; n--) {
        if (r->p == r->end) {
            r->bad = true;
            return;
        }
        switch (*r->p++) {
        case 0x00: /* nil, false, true */
        case 0x01:
        case 0x11:
            break;
        case 0x03: /* integer, float */
            skip(r, sizeof(lua_Integer), 1);
            break;
        case 0x13:
            skip(r, sizeof(lua_Number), 1);
            break;
        case 0x04: /* short and long strings */
        case 0x14:
            string(r);
            break;
        default:
            r->bad = true;
        }
    }
}

/* The last instruction of a function is the return that nobody wrote. */
static void tell(struct reader *r, const struct lines *l)
{
    uint64_t line = l->defined;
    for (uint64_t pc = 0; pc < l->n && !r->bad; pc++) {
        if (l->info[pc] == ABSOLUTE) {
            (void)number(r); /* its pc */
            line = number(r);
        } else {
            line = (uint64_t)((int64_t)line + l->info[pc]);
        }
        /* Of a chunk the first one makes room for its arguments. */
        bool own = pc + 1 == l->n || (pc == 0 && l->defined == 0);
        if (!own && line <= UINT32_MAX && !r->bad)
            r->line(r->ctx, (unsigned)line);
    }
}

static void function(struct reader *r, int depth)
{
    struct lines l = {0};
    if (depth == DEPTH)
        r->bad = true;
    string(r);
    l.defined = (unsigned)number(r);
    (void)number(r);                      /* its last line */
    skip(r, 3, 1);                        /* parameters, vararg, stack */
    skip(r, number(r), sizeof(uint32_t)); /* code */
    constants(r);
    skip(r, number(r), 3); /* upvalues */
    for (uint64_t n = number(r); n > 0 && !r->bad; n--)
        function(r, depth + 1);
    l.n = number(r);
    l.info = (const signed char *)r->p;
    skip(r, l.n, 1);
    l.n_abs = number(r);
    tell(r, &l);
    for (uint64_t n = number(r); n > 0 && !r->bad; n--) { /* local variables */
        string(r);
        (void)number(r);
        (void)number(r);
    }
    for (uint64_t n = number(r); n > 0 && !r->bad; n--) /* names of upvalues */
        string(r);
}

bool np_bytecode_lines(struct np_span code, void (*line)(void *ctx, unsigned line), void *ctx)
{
    static const char head[] = "\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08";
    const unsigned char *p = (const unsigned char *)code.p;
    struct reader r = {p + HEADER_BYTES + 1, p + code.n, line, ctx, false};
    if (code.n <= HEADER_BYTES + 1 || memcmp(p, head, sizeof head - 1) != 0)
        return false;
    function(&r, 0);
    return !r.bad && r.p == r.end;
}
