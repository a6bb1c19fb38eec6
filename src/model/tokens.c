/* The estimate: runs of one kind of character each cost what o200k_base makes of such runs on the
 * average. Costs are in sixteenths of a token. The figures were fitted to prose, code, JSON and
 * man pages in several languages; the tests hold them to their error. */
#include "model/tokens.h"

#include <stdbool.h>

/* Kinds of characters. Those from K_HIGH on need a closer look before they are one of the others. */
enum kind {
    K_LOWER,
    K_UPPER,
    K_DIGIT,
    K_PUNCT,
    K_BLANK,
    K_LINE,
    K_LETTER, /* of an alphabet other than ASCII's: part of a word */
    K_KANA,
    K_SYLLABLE, /* Chinese, Japanese, Korean: no blanks between words */
    K_SYMBOL,   /* full-width and typographic punctuation */
    K_EMOJI,
    K_HIGH,
    K_ESCAPE
};

#define X4(k) k, k, k, k
#define X8(k) X4(k), X4(k)
#define X16(k) X8(k), X8(k)
#define X26(k) X16(k), X8(k), k, k
#define X128(k) X16(k), X16(k), X16(k), X16(k), X16(k), X16(k), X16(k), X16(k)

static const uint8_t kinds[256] = {
    /* control bytes; tab is 9, line feed 10, carriage return 13 */
    X8(K_PUNCT), K_PUNCT, K_BLANK, K_LINE, K_PUNCT, K_PUNCT, K_LINE, K_PUNCT, K_PUNCT, X16(K_PUNCT),
    /* blank to / */
    K_BLANK, X8(K_PUNCT), X4(K_PUNCT), K_PUNCT, K_PUNCT, K_PUNCT,
    /* 0 to 9, : to @ */
    X8(K_DIGIT), K_DIGIT, K_DIGIT, X4(K_PUNCT), K_PUNCT, K_PUNCT, K_PUNCT,
    /* A to Z, [ \ ] ^ _ ` */
    X26(K_UPPER), K_PUNCT, K_ESCAPE, X4(K_PUNCT),
    /* a to z, { | } ~ DEL */
    X26(K_LOWER), X4(K_PUNCT), K_PUNCT, X128(K_HIGH)};

/* What a word of so many ASCII letters costs, the blank before it included. */
#define WORD_TABLE 24
static const uint8_t word_cost[WORD_TABLE] = {0,  16, 16, 16, 16, 17, 18, 19, 21, 23, 26, 28,
                                              32, 35, 38, 42, 46, 50, 54, 58, 62, 67, 72, 77};
#define COST_LONG_WORD_LETTER 7 /* each letter beyond the table: such are no words */
#define COST_CAPITAL 4          /* each letter of a word in capitals beyond the first two */
#define COST_ACCENT 5           /* each letter in such a word that is not ASCII's */
#define COST_SHORT_WORD 16      /* a word of up to three letters of another alphabet */
#define COST_ALIEN_WORD 3       /* a longer one, and each of its letters */
#define COST_LETTER 4
#define COST_KANA 11
#define COST_SYLLABLE 13
#define COST_SYMBOL 14
#define COST_EMOJI 32
#define COST_PUNCT_RUN 16
#define COST_PUNCT_JOINED 9 /* a single one that stands right before a word */
#define COST_PUNCT_CHANGE 5 /* each further character of a run that differs from the one before */
#define COST_PUNCT_SAME 1
#define COST_BLANK_RUN 16
#define BLANKS_A_TOKEN 128
#define COST_DIGITS 16 /* up to three */

struct reader {
    const unsigned char *p;
    const unsigned char *end;
    bool escaped;
    int64_t cost;
};

static enum kind kind_of_char(uint32_t c)
{
    if (c < 0x80)
        return c == '\\' ? K_PUNCT : (enum kind)kinds[c];
    if (c < 0xc0)
        return K_SYMBOL;
    if (c < 0x2000)
        return K_LETTER;
    if (c < 0x2070 || (c >= 0x3000 && c < 0x3040) || (c >= 0xff00 && c < 0xff66))
        return K_SYMBOL;
    if (c < 0x2e80)
        return c >= 0x2600 && c < 0x27c0 ? K_EMOJI : K_SYMBOL;
    if (c >= 0x1f000 && c < 0x20000)
        return K_EMOJI;
    return c < 0x3100 ? K_KANA : K_SYLLABLE;
}

/* The value of four hex digits; anything else gives some number. */
static uint32_t hex4(const unsigned char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | ((p[i] & 0xfu) + (p[i] > '9' ? 9u : 0u));
    return v & 0xffff;
}

/* At a backslash of escaped text: the character, and past it. */
static uint32_t next_escape(struct reader *r)
{
    const unsigned char *p = r->p;
    size_t left = (size_t)(r->end - p);
    r->p += left < 2 ? 1 : 2;
    switch (left < 2 ? '\\' : p[1]) {
    case 'n':
    case 'r':
        return '\n';
    case 't':
        return '\t';
    case 'u':
        break;
    default:
        return p[left >= 2];
    }
    if (left < 6)
        return '?';
    r->p += 4;
    uint32_t c = hex4(p + 2);
    if ((c & 0xfc00) == 0xd800 && left >= 12) {
        r->p += 6;
        return 0x10000 + ((c - 0xd800) << 10) + ((hex4(p + 8) - 0xdc00) & 0x3ff);
    }
    return c;
}

/* A character that is not ASCII; U+FFFD where there is none, as in text that is not UTF-8. */
static uint32_t next_high(struct reader *r)
{
    const unsigned char *p = r->p;
    size_t want = p[0] < 0xc2 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (want == 1 || want > (size_t)(r->end - p)) {
        r->p++;
        return 0xfffd;
    }
    uint32_t c = p[0] & (0x7fu >> want);
    for (size_t i = 1; i < want; i++)
        c = c << 6 | (p[i] & 0x3f);
    r->p += want;
    return c;
}

static enum kind next_special(struct reader *r, uint32_t *c)
{
    if (*r->p >= 0x80)
        *c = next_high(r);
    else if (r->escaped)
        *c = next_escape(r);
    else
        *c = *r->p++;
    return kind_of_char(*c);
}

/* The next character's kind without moving on. */
static enum kind peek(const struct reader *r)
{
    enum kind k = (enum kind)kinds[*r->p];
    if (k < K_HIGH)
        return k;
    struct reader copy = *r;
    uint32_t c;
    return next_special(&copy, &c);
}

static size_t run_of(struct reader *r, enum kind k)
{
    const unsigned char *start = r->p;
    while (r->p < r->end && kinds[*r->p] == k)
        r->p++;
    return (size_t)(r->p - start);
}

/* How many of the eight bytes at p are small ASCII letters before one that is none. All at once,
 * because the lengths of words are what a branch predictor can't know. */
static inline size_t lower_of_eight(const unsigned char *p)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t w;
    memcpy(&w, p, 8);
    uint64_t low = w & UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t from_a = low + UINT64_C(0x0101010101010101) * (0x80 - 'a');
    uint64_t above_z = low + UINT64_C(0x0101010101010101) * (0x7f - 'z');
    uint64_t others = (~from_a | above_z | w) & UINT64_C(0x8080808080808080);
    return others ? (size_t)__builtin_ctzll(others) / 8 : 8;
#else
    size_t n = 0;
    while (n < 8 && kinds[p[n]] == K_LOWER)
        n++;
    return n;
#endif
}

static size_t run_of_lower(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *start = p;
    size_t n = 8;
    while (n == 8 && end - p >= 8) {
        n = lower_of_eight(p);
        p += n;
    }
    while (n == 8 && p < end && kinds[*p] == K_LOWER)
        p++;
    return (size_t)(p - start);
}

static int64_t cost_of_word(size_t letters)
{
    if (letters < WORD_TABLE)
        return word_cost[letters];
    return word_cost[WORD_TABLE - 1] + (int64_t)(letters - WORD_TABLE + 1) * COST_LONG_WORD_LETTER;
}

/* What is left of a word: small ASCII letters after `letters` letters that were taken, with letters
 * of other alphabets among them, `others` of which were taken. */
static void take_letters(struct reader *r, size_t letters, size_t others)
{
    for (;;) {
        size_t n = run_of_lower(r->p, r->end);
        letters += n;
        r->p += n;
        if (r->p == r->end || kinds[*r->p] < K_HIGH || peek(r) != K_LETTER)
            break;
        uint32_t c;
        next_special(r, &c);
        others++;
    }
    if (letters > 0)
        r->cost += cost_of_word(letters + others) + (int64_t)others * COST_ACCENT;
    else
        r->cost += others < 4 ? COST_SHORT_WORD : COST_ALIEN_WORD + (int64_t)others * COST_LETTER;
}

/* Small words with single blanks between them, which is what most of prose is. */
static void take_words(struct reader *r)
{
    const unsigned char *p = r->p, *end = r->end;
    int64_t cost = 0;
    while (end - p >= 18) {
        size_t n = lower_of_eight(p), more = lower_of_eight(p + 8);
        n += n == 8 ? more : 0;
        if (n == 16 || kinds[p[n]] >= K_HIGH)
            break;
        cost += word_cost[n];
        p += n;
        if (*p != ' ' || kinds[p[1]] != K_LOWER) {
            r->p = p;
            r->cost += cost;
            return;
        }
        p++;
    }
    r->p = p;
    r->cost += cost;
    take_letters(r, 0, 0);
}

/* A word that begins with capitals, of which the first was taken. */
static void take_capitals(struct reader *r)
{
    size_t capitals = 1 + run_of(r, K_UPPER);
    bool small_follow = r->p < r->end && kinds[*r->p] == K_LOWER;
    if (capitals == 1) {
        take_letters(r, 1, 0);
        return;
    }
    /* The last capital begins the small letters that follow: "HTTPServer". */
    capitals -= small_follow;
    r->cost += 16 + (int64_t)(capitals > 2 ? capitals - 2 : 0) * COST_CAPITAL;
    if (small_follow)
        take_letters(r, 1, 0);
}

/* One blank joins what follows it; more of them, and line ends, stand by themselves. */
static void take_blanks(struct reader *r, enum kind first)
{
    size_t blanks = first == K_BLANK, lines = first == K_LINE;
    uint32_t c;
    while (r->p < r->end) {
        enum kind k = peek(r);
        if (k != K_BLANK && k != K_LINE)
            break;
        if (kinds[*r->p] < K_HIGH)
            r->p++;
        else
            next_special(r, &c);
        lines += k == K_LINE;
        blanks = k == K_LINE ? 0 : blanks + 1;
    }
    bool digit_follows = r->p < r->end && kinds[*r->p] == K_DIGIT;
    if (lines > 0)
        r->cost += COST_BLANK_RUN * (int64_t)(1 + lines / BLANKS_A_TOKEN);
    if (blanks > 1 || (blanks == 1 && digit_follows))
        r->cost += COST_BLANK_RUN * (int64_t)(1 + (blanks - 1) / BLANKS_A_TOKEN);
}

/* A run of punctuation, with the line ends right after it. */
static void take_punctuation(struct reader *r, uint32_t first)
{
    uint32_t last = first, c;
    bool single = true;
    enum kind k = K_PUNCT;
    r->cost += COST_PUNCT_RUN;
    while (r->p < r->end) {
        struct reader next = *r;
        k = (enum kind)kinds[*r->p];
        if (k < K_HIGH)
            c = *next.p++;
        else
            k = next_special(&next, &c);
        if (k != K_PUNCT && k != K_LINE)
            break;
        if (k == K_PUNCT)
            r->cost += c == last ? COST_PUNCT_SAME : COST_PUNCT_CHANGE;
        last = c;
        single = false;
        r->p = next.p;
    }
    if (single && (k == K_LOWER || k == K_UPPER))
        r->cost -= COST_PUNCT_RUN - COST_PUNCT_JOINED;
}

static void take_digits(struct reader *r, size_t n)
{
    n += run_of(r, K_DIGIT);
    r->cost += (int64_t)((n + 2) / 3) * COST_DIGITS;
}

int64_t np_tokens_estimate(struct np_span text, bool json_escaped)
{
    if (text.n == 0)
        return 0;
    const unsigned char *start = (const unsigned char *)text.p;
    struct reader r = {start, start + text.n, json_escaped, 0};
    while (r.p < r.end) {
        uint32_t c = *r.p;
        enum kind k = (enum kind)kinds[c];
        if (k < K_HIGH)
            r.p++;
        else
            k = next_special(&r, &c);
        switch (k) {
        case K_UPPER:
            take_capitals(&r);
            break;
        case K_LOWER:
            r.p--;
            take_words(&r);
            break;
        case K_LETTER:
            take_letters(&r, 0, 1);
            break;
        case K_DIGIT:
            take_digits(&r, 1);
            break;
        case K_BLANK:
        case K_LINE:
            take_blanks(&r, k);
            break;
        case K_PUNCT:
            take_punctuation(&r, c);
            break;
        case K_KANA:
            r.cost += COST_KANA;
            break;
        case K_SYLLABLE:
            r.cost += COST_SYLLABLE;
            break;
        case K_EMOJI:
            r.cost += COST_EMOJI;
            break;
        default:
            r.cost += COST_SYMBOL;
            break;
        }
    }
    return (r.cost + 15) / 16;
}
