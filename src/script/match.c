/* Matching one pattern at one place. The rules are those of lstrlib.c of Lua 5.4 (Copyright 1994-2022
 * Lua.org, PUC-Rio; MIT license), after which this is written; what differs is that every step is
 * counted, so that a match that does not come to an end is stopped like any other code. */
#include "script/match.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "script/state.h"

#define ESCAPE '%'
#define DEPTH 200
/* Steps between two looks at the limit. */
#define FUEL 256

void np_match_init(struct np_matcher *m, lua_State *L, const char *text, size_t text_n,
                   const char *pattern, size_t pattern_n)
{
    m->L = L;
    m->text = text;
    m->text_end = text + text_n;
    m->pattern_end = pattern + pattern_n;
    m->fuel = FUEL;
    m->level = 0;
    m->depth_left = DEPTH;
}

static void refuel(struct np_matcher *m)
{
    m->fuel = FUEL;
    np_state_poll(m->L, FUEL);
}

static inline void step(struct np_matcher *m)
{
    if (--m->fuel <= 0)
        refuel(m);
}

/* Many small steps; FUEL of them are about to be looked at in any case. */
static inline void burn(struct np_matcher *m, ptrdiff_t bytes)
{
    m->fuel -= (int)(bytes < FUEL * 8 ? bytes / 8 : FUEL);
}

static int byte(const char *p)
{
    return (unsigned char)*p;
}

/* ------------------------------------------------------------------------------------ classes */

static bool is_of_class(int c, int class)
{
    bool is;
    switch (tolower(class)) {
    case 'a':
        is = isalpha(c);
        break;
    case 'c':
        is = iscntrl(c);
        break;
    case 'd':
        is = isdigit(c);
        break;
    case 'g':
        is = isgraph(c);
        break;
    case 'l':
        is = islower(c);
        break;
    case 'p':
        is = ispunct(c);
        break;
    case 's':
        is = isspace(c);
        break;
    case 'u':
        is = isupper(c);
        break;
    case 'w':
        is = isalnum(c);
        break;
    case 'x':
        is = isxdigit(c);
        break;
    default:
        return class == c;
    }
    return isupper(class) ? !is : is;
}

/* p is behind the [. Sets may be long: reading one is paid for. */
static const char *set_end(struct np_matcher *m, const char *p)
{
    const char *start = p;
    if (p < m->pattern_end && *p == '^')
        p++;
    do {
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == ESCAPE) {
            if (p == m->pattern_end)
                luaL_error(m->L, "malformed pattern (missing ']')");
            p++;
        }
    } while (p == m->pattern_end || *p != ']');
    burn(m, p - start);
    return p + 1;
}

/* Behind the single item that begins at p. */
static inline const char *item_end(struct np_matcher *m, const char *p)
{
    char c = *p++;
    if (c == ESCAPE) {
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    return c == '[' ? set_end(m, p) : p;
}

/* p is at the [, last at the ]. */
static bool is_in_set(int c, const char *p, const char *last)
{
    bool in = true;
    if (p[1] == '^') {
        in = false;
        p++;
    }
    while (++p < last) {
        if (*p == ESCAPE) {
            p++;
            if (is_of_class(c, byte(p)))
                return in;
        } else if (p[1] == '-' && p + 2 < last) {
            p += 2;
            if (byte(p - 2) <= c && c <= byte(p))
                return in;
        } else if (byte(p) == c) {
            return in;
        }
    }
    return !in;
}

/* Whether the item from p to end matches the byte at s. */
static inline __attribute__((always_inline)) bool is_match(struct np_matcher *m, const char *s,
                                                           const char *p, const char *end)
{
    step(m);
    if (s >= m->text_end)
        return false;
    int c = byte(s);
    switch (*p) {
    case '.':
        return true;
    case ESCAPE:
        return is_of_class(c, byte(p + 1));
    case '[':
        burn(m, end - p);
        return is_in_set(c, p, end - 1);
    default:
        return byte(p) == c;
    }
}

/* ------------------------------------------------------------------------------------ special */

static const char *balanced(struct np_matcher *m, const char *s, const char *p)
{
    if (p >= m->pattern_end - 1)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->text_end || *s != *p)
        return NULL;
    int open = 1;
    for (const char *q = s + 1; q < m->text_end; q++) {
        step(m);
        if (*q == p[1]) {
            if (--open == 0)
                return q + 1;
        } else if (*q == p[0]) {
            open++;
        }
    }
    return NULL;
}

/* p is at the [ of %f[; *end goes behind its set. */
static bool is_frontier(struct np_matcher *m, const char *s, const char *p, const char **end)
{
    if (p >= m->pattern_end || *p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    *end = item_end(m, p);
    burn(m, *end - p);
    step(m);
    int before = s == m->text ? '\0' : byte(s - 1);
    int here = s == m->text_end ? '\0' : byte(s);
    return !is_in_set(before, p, *end - 1) && is_in_set(here, p, *end - 1);
}

static int check_capture(struct np_matcher *m, int digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->level || m->capture[i].length == NP_CAPTURE_OPEN)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    return i;
}

/* A position capture's length is negative, and as a size larger than any text: it never matches. */
static const char *back_reference(struct np_matcher *m, const char *s, int digit)
{
    int i = check_capture(m, digit);
    size_t n = (size_t)m->capture[i].length;
    burn(m, n < FUEL * 16 ? (ptrdiff_t)n : FUEL * 16);
    step(m);
    if ((size_t)(m->text_end - s) >= n && memcmp(m->capture[i].start, s, n) == 0)
        return s + n;
    return NULL;
}

static const char *match(struct np_matcher *m, const char *s, const char *p);

static const char *open_capture(struct np_matcher *m, const char *s, const char *p, int what)
{
    if (m->level >= NP_MATCH_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->capture[m->level].start = s;
    m->capture[m->level].length = what;
    m->level++;
    const char *e = match(m, s, p);
    if (!e)
        m->level--;
    return e;
}

static const char *close_capture(struct np_matcher *m, const char *s, const char *p)
{
    int i = m->level - 1;
    while (i >= 0 && m->capture[i].length != NP_CAPTURE_OPEN)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->capture[i].length = s - m->capture[i].start;
    const char *e = match(m, s, p);
    if (!e)
        m->capture[i].length = NP_CAPTURE_OPEN;
    return e;
}

/* ------------------------------------------------------------------------------------ repeats */

static const char *most(struct np_matcher *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t n = 0;
    while (is_match(m, s + n, p, end))
        n++;
    for (; n >= 0; n--) {
        const char *e = match(m, s + n, end + 1);
        if (e)
            return e;
    }
    return NULL;
}

static const char *least(struct np_matcher *m, const char *s, const char *p, const char *end)
{
    for (;;) {
        const char *e = match(m, s, end + 1);
        if (e)
            return e;
        if (!is_match(m, s, p, end))
            return NULL;
        s++;
    }
}

/* One item with what follows it. True: go on at *s and *p; false: *e is the result. */
static inline __attribute__((always_inline)) bool go_on(struct np_matcher *m, const char **s,
                                                        const char **p, const char **e)
{
    const char *end = item_end(m, *p);
    char suffix = end < m->pattern_end ? *end : '\0';
    if (suffix == '*' || suffix == '-') {
        *e = suffix == '*' ? most(m, *s, *p, end) : least(m, *s, *p, end);
        return false;
    }
    bool one = is_match(m, *s, *p, end);
    if (suffix == '+') {
        *e = one ? most(m, *s + 1, *p, end) : NULL;
        return false;
    }
    if (suffix == '?') {
        *e = one ? match(m, *s + 1, end + 1) : NULL;
        if (*e)
            return false;
        *p = end + 1;
        return true;
    }
    *e = NULL;
    *s += one;
    *p = end;
    return one;
}

/* What begins with %: balances, frontiers and back references; 0: none of these. */
static inline int go_on_special(struct np_matcher *m, const char **s, const char **p)
{
    const char *end;
    if (*p + 1 == m->pattern_end)
        return 0;
    char c = (*p)[1];
    if (c == 'b') {
        *s = balanced(m, *s, *p + 2);
        *p += 4;
    } else if (c == 'f') {
        if (!is_frontier(m, *s, *p + 2, &end))
            *s = NULL;
        *p = end;
    } else if (isdigit((unsigned char)c)) {
        *s = back_reference(m, *s, (unsigned char)c);
        *p += 2;
    } else {
        return 0;
    }
    return 1;
}

static const char *match_here(struct np_matcher *m, const char *s, const char *p)
{
    while (p != m->pattern_end) {
        const char *e;
        step(m);
        if (*p == '(')
            return p + 1 < m->pattern_end && p[1] == ')'
                       ? open_capture(m, s, p + 2, NP_CAPTURE_POSITION)
                       : open_capture(m, s, p + 1, NP_CAPTURE_OPEN);
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end)
            return s == m->text_end ? s : NULL;
        if (*p == ESCAPE && go_on_special(m, &s, &p)) {
            if (!s)
                return NULL;
            continue;
        }
        if (!go_on(m, &s, &p, &e))
            return e;
    }
    return s;
}

static const char *match(struct np_matcher *m, const char *s, const char *p)
{
    if (m->depth_left-- == 0)
        luaL_error(m->L, "pattern too complex");
    const char *e = match_here(m, s, p);
    m->depth_left++;
    return e;
}

const char *np_match_at(struct np_matcher *m, const char *s, const char *pattern)
{
    m->level = 0;
    m->depth_left = DEPTH;
    return match(m, s, pattern);
}

/* ----------------------------------------------------------------------------------- captures */

void np_match_push_capture(struct np_matcher *m, int i, const char *s, const char *e)
{
    if (i >= m->level) {
        if (i != 0)
            luaL_error(m->L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(m->L, s, (size_t)(e - s));
    } else if (m->capture[i].length == NP_CAPTURE_POSITION) {
        lua_pushinteger(m->L, m->capture[i].start - m->text + 1);
    } else if (m->capture[i].length == NP_CAPTURE_OPEN) {
        luaL_error(m->L, "unfinished capture");
    } else {
        lua_pushlstring(m->L, m->capture[i].start, (size_t)m->capture[i].length);
    }
}

int np_match_push_captures(struct np_matcher *m, const char *s, const char *e)
{
    int n = m->level == 0 && s ? 1 : m->level;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++)
        np_match_push_capture(m, i, s, e);
    return n;
}
