/* The strict check that every JSON text passes before anything else reads it. One pass, no
 * recursion: the open brackets are bits of one word. Line and column are worked out for faults only. */
#include "base/json.h"

#include "base/json_scan.h"
#include "base/utf8.h"

_Static_assert(NP_JSON_DEPTH <= 64, "the stack of open brackets is one word");

struct scan {
    const char *p;
    const char *end;
    uint64_t objects; /* lowest bit: the innermost bracket is a brace */
    unsigned depth;
    unsigned max_depth;
    const char *what; /* why it stopped */
};

/* What may come next. */
enum want { WANT_VALUE, WANT_ITEM_OR_END, WANT_KEY_OR_END, WANT_KEY, WANT_AFTER, WANT_FAULT };

static enum want fault_at(struct scan *s, const char *p, const char *what)
{
    s->p = p;
    s->what = what;
    return WANT_FAULT;
}

/* At a backslash: past the escape, or a fault. */
static bool scan_escape(struct scan *s)
{
    const char *p = s->p;
    if (s->end - p < 2)
        return fault_at(s, s->end, "a string without its closing quote"), false;
    if (p[1] != 'u') {
        if (!p[1] || !strchr("\"\\/bfnrt", p[1]))
            return fault_at(s, p, "an escape must be one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u"),
                   false;
        s->p = p + 2;
        return true;
    }
    int high = s->end - p >= 6 ? np_json_hex4(p + 2) : -1;
    if (high < 0)
        return fault_at(s, p, "four hex digits must follow \\u"), false;
    s->p = p + 6;
    if ((high & 0xf800) != 0xd800)
        return true;
    int low = -1;
    if (high < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u')
        low = np_json_hex4(s->p + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return fault_at(s, p,
                        "half of a surrogate pair: \\ud800 to \\udbff and \\udc00 to \\udfff "
                        "stand together only"),
               false;
    s->p += 6;
    return true;
}

/* After the opening quote: past the closing one, or a fault. */
static bool scan_string(struct scan *s)
{
    for (;;) {
        s->p = np_json_skip_plain(s->p, s->end);
        if (s->p == s->end)
            return fault_at(s, s->p, "a string without its closing quote"), false;
        unsigned char c = (unsigned char)*s->p;
        if (c == '"') {
            s->p++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(s))
                return false;
            continue;
        }
        if (c < 0x20)
            return fault_at(s, s->p,
                            "a control byte in a string must be escaped, as \\n or \\u0000"),
                   false;
        do {
            uint32_t cp;
            size_t n = np_utf8_next(s->p, s->end, &cp);
            if (n == 0)
                return fault_at(s, s->p, "bytes that are not UTF-8"), false;
            s->p += n;
        } while (s->p < s->end && (unsigned char)*s->p >= 0x80);
    }
}

const char *np_json_string(const char *p, const char *end)
{
    struct scan s = {.p = p, .end = end};
    return scan_string(&s) ? s.p - 1 : NULL;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static enum want scan_number(struct scan *s)
{
    const char *p = s->p + (*s->p == '-');
    const char *digits = p;
    p = skip_digits(p, s->end);
    if (p == digits)
        return fault_at(s, p, "a digit expected after -");
    if (*digits == '0' && p - digits > 1)
        return fault_at(s, digits, "a number must not begin with a 0 before other digits");
    if (p < s->end && *p == '.') {
        digits = ++p;
        p = skip_digits(p, s->end);
        if (p == digits)
            return fault_at(s, p, "a digit expected after the decimal point");
    }
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < s->end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        p = skip_digits(p, s->end);
        if (p == digits)
            return fault_at(s, p, "a digit expected in the exponent");
    }
    s->p = p;
    return WANT_AFTER;
}

static enum want scan_word(struct scan *s, const char *word, size_t n)
{
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return fault_at(s, s->p, "a value expected: of words there are true, false and null only");
    s->p += n;
    return WANT_AFTER;
}

static enum want scan_open(struct scan *s, bool object)
{
    if (s->depth == s->max_depth)
        return fault_at(s, s->p, "arrays and objects nested too deep");
    s->depth++;
    s->objects = s->objects << 1 | object;
    s->p++;
    return object ? WANT_KEY_OR_END : WANT_ITEM_OR_END;
}

static enum want scan_close(struct scan *s)
{
    s->depth--;
    s->objects >>= 1;
    s->p++;
    return WANT_AFTER;
}

static enum want scan_value(struct scan *s)
{
    switch (*s->p) {
    case '"':
        s->p++;
        return scan_string(s) ? WANT_AFTER : WANT_FAULT;
    case '{':
        return scan_open(s, true);
    case '[':
        return scan_open(s, false);
    case 't':
        return scan_word(s, "true", 4);
    case 'f':
        return scan_word(s, "false", 5);
    case 'n':
        return scan_word(s, "null", 4);
    case '\'':
        return fault_at(s, s->p, "a value expected: strings stand in double quotes");
    case ']':
    case '}':
        return fault_at(s, s->p, "a value expected before the bracket");
    case ',':
        return fault_at(s, s->p, "a value expected before the comma");
    default:
        if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))
            return scan_number(s);
        return fault_at(s, s->p, "a value expected");
    }
}

/* A key and its colon. */
static enum want scan_key(struct scan *s, bool may_end)
{
    if (*s->p == '}') {
        if (may_end)
            return scan_close(s);
        return fault_at(s, s->p, "a key expected: no comma may stand before }");
    }
    if (*s->p != '"')
        return fault_at(s, s->p,
                        may_end ? "a key in double quotes or } expected"
                                : "a key in double quotes expected");
    s->p++;
    if (!scan_string(s))
        return WANT_FAULT;
    s->p = np_json_skip_blank(s->p, s->end);
    if (s->p == s->end || *s->p != ':')
        return fault_at(s, s->p, "a colon expected after the key");
    s->p++;
    return WANT_VALUE;
}

/* After a value inside an array or an object. */
static enum want scan_after(struct scan *s)
{
    bool object = s->objects & 1;
    if (*s->p == (object ? '}' : ']'))
        return scan_close(s);
    if (*s->p != ',')
        return fault_at(s, s->p, object ? "a comma or } expected" : "a comma or ] expected");
    s->p++;
    if (object)
        return WANT_KEY;
    s->p = np_json_skip_blank(s->p, s->end);
    if (s->p < s->end && *s->p == ']')
        return fault_at(s, s->p, "a value expected: no comma may stand before ]");
    return WANT_VALUE;
}

static enum want scan_step(struct scan *s, enum want want)
{
    switch (want) {
    case WANT_ITEM_OR_END:
        return *s->p == ']' ? scan_close(s) : scan_value(s);
    case WANT_KEY_OR_END:
        return scan_key(s, true);
    case WANT_KEY:
        return scan_key(s, false);
    case WANT_AFTER:
        return scan_after(s);
    default:
        return scan_value(s);
    }
}

/* Whether the whole text is one value. */
static bool scan_text(struct scan *s)
{
    const char *start = s->p;
    enum want want = WANT_VALUE;
    while (want != WANT_FAULT) {
        s->p = np_json_skip_blank(s->p, s->end);
        if (want == WANT_AFTER && s->depth == 0) {
            if (s->p == s->end)
                return true;
            fault_at(s, s->p, "nothing may follow the value");
            return false;
        }
        if (s->p == s->end) {
            fault_at(s, s->p,
                     s->depth        ? "the text ends before its brackets are closed"
                     : s->p == start ? "the text is empty"
                                     : "the text holds no value");
            return false;
        }
        want = scan_step(s, want);
    }
    return false;
}

static void locate(struct np_span text, size_t offset, struct np_json_fault *fault)
{
    fault->offset = offset;
    fault->line = 1;
    const char *line = text.p;
    const char *at = text.p + offset;
    while (line < at) {
        const char *newline = memchr(line, '\n', (size_t)(at - line));
        if (!newline)
            break;
        fault->line++;
        line = newline + 1;
    }
    fault->column = (unsigned)(at - line) + 1;
}

enum np_err np_json_check(struct np_span text, unsigned max_depth, struct np_json_fault *fault)
{
    np_require(max_depth <= NP_JSON_DEPTH);
    if (text.n == 0)
        text.p = "";
    struct scan s = {.p = text.p, .end = text.p + text.n, .max_depth = max_depth};
    if (scan_text(&s))
        return NP_OK;
    fault->what = s.what;
    if (s.p == text.p && text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        fault->what = "a value expected: no byte order mark may stand before it";
    locate(text, (size_t)(s.p - text.p), fault);
    return NP_E_SYNTAX;
}
