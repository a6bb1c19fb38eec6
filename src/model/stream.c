/* Forms of streams, and events read by them. */
#include "model/stream.h"

#include "base/json.h"

const char *np_stream_slot_name(enum np_stream_slot s)
{
#define NAME(name) #name,
    static const char *const names[] = {NP_STREAM_SLOTS(NAME)};
#undef NAME
    np_require((size_t)s < NP_STREAM_SLOT_COUNT);
    return names[s];
}

/* --------------------------------------------------------------------------------------- the form */

void np_stream_form_init(struct np_stream_form *f)
{
    memset(f, 0, sizeof *f);
    f->nodes[0].slot = NP_STREAM_SLOT_COUNT;
    f->n_nodes = 1;
}

enum np_err np_stream_form_text(struct np_stream_form *f, struct np_span text, struct np_span *out)
{
    if (text.n > NP_STREAM_POOL - f->pool_n)
        return NP_E_FULL;
    memcpy(f->pool + f->pool_n, text.p, text.n);
    *out = np_span_make(f->pool + f->pool_n, text.n);
    f->pool_n += text.n;
    return NP_OK;
}

/* The child of a node with this name or place; made where there is none. */
static enum np_err step(struct np_stream_form *f, uint8_t *at, struct np_span part)
{
    for (uint8_t i = f->nodes[*at].child; i; i = f->nodes[i].next)
        if (np_span_eq(f->nodes[i].part, part)) {
            *at = i;
            return NP_OK;
        }
    if (f->n_nodes == NP_STREAM_NODES)
        return NP_E_FULL;
    if (part.n == 0 || f->nodes[*at].slot != NP_STREAM_SLOT_COUNT)
        return NP_E_INVALID;
    uint8_t made = (uint8_t)f->n_nodes;
    struct np_stream_node *node = &f->nodes[made];
    unsigned long long place = 0;
    enum np_err err = np_stream_form_text(f, part, &node->part);
    if (err)
        return err;
    if (np_span_to_u64(part, &place))
        node->place = place < UINT16_MAX ? (uint16_t)place : UINT16_MAX;
    node->slot = NP_STREAM_SLOT_COUNT;
    node->next = f->nodes[*at].child;
    f->nodes[*at].child = made;
    f->n_nodes++;
    *at = made;
    return NP_OK;
}

enum np_err np_stream_form_path(struct np_stream_form *f, enum np_stream_slot slot,
                                struct np_span path)
{
    uint8_t at = 0;
    while (path.n > 0) {
        const char *dot = memchr(path.p, '.', path.n);
        struct np_span part = np_span_make(path.p, dot ? (size_t)(dot - path.p) : path.n);
        enum np_err err = step(f, &at, part);
        if (err)
            return err;
        size_t taken = part.n + (dot != NULL);
        path = np_span_make(path.p + taken, path.n - taken);
    }
    struct np_stream_node *node = &f->nodes[at];
    if (at == 0 || node->child || node->slot != NP_STREAM_SLOT_COUNT)
        return NP_E_INVALID;
    node->slot = (uint8_t)slot;
    return NP_OK;
}

enum np_err np_stream_form_finish(struct np_stream_form *f, struct np_span said,
                                  enum np_finish means)
{
    if (f->n_finishes == NP_STREAM_FINISHES)
        return NP_E_FULL;
    f->finishes[f->n_finishes].means = means;
    return np_stream_form_text(f, said, &f->finishes[f->n_finishes++].said);
}

enum np_err np_stream_form_word(struct np_stream_form *f, struct np_stream_words *words,
                                struct np_span word)
{
    if (words->n == NP_STREAM_WORDS)
        return NP_E_FULL;
    return np_stream_form_text(f, word, &words->at[words->n++]);
}

/* -------------------------------------------------------------------------------------- one event */

static void take(struct np_stream_event *out, enum np_stream_slot slot, struct np_span value)
{
    enum np_json_kind kind = np_json_kind(value);
    bool text = slot == NP_STREAM_text || slot == NP_STREAM_thought;
    if (slot == NP_STREAM_text && kind == NP_JSON_ARRAY)
        out->parts = value;
    if (kind == NP_JSON_NULL || (text && kind != NP_JSON_STRING))
        return;
    /* Some say with every event that nothing has ended it. */
    if (slot == NP_STREAM_finish && (kind != NP_JSON_STRING || np_json_inner(value).n == 0))
        return;
    /* Of two places for a text the one that is not empty counts. */
    if (!text || !out->at[slot].p || np_json_inner(out->at[slot]).n == 0)
        out->at[slot] = value;
}

static void visit(const struct np_stream_form *f, uint8_t at, struct np_span value,
                  struct np_stream_event *out)
{
    const struct np_stream_node *node = &f->nodes[at];
    struct np_span key, inner;
    if (node->slot != NP_STREAM_SLOT_COUNT) {
        const char *end = value.p + value.n;
        out->last = !out->last || out->last < end ? end : out->last;
        take(out, (enum np_stream_slot)node->slot, value);
        return;
    }
    enum np_json_kind kind = np_json_kind(value);
    if (kind == NP_JSON_OBJECT) {
        struct np_json_walk w = np_json_walk(value);
        while (np_json_member(&w, &key, &inner))
            for (uint8_t i = node->child; i; i = f->nodes[i].next)
                if (!f->nodes[i].place && np_span_eq(f->nodes[i].part, key))
                    visit(f, i, inner, out);
    } else if (kind == NP_JSON_ARRAY) {
        struct np_json_walk w = np_json_walk(value);
        for (unsigned place = 1; np_json_item(&w, &inner); place++)
            for (uint8_t i = node->child; i; i = f->nodes[i].next)
                if (f->nodes[i].place == place)
                    visit(f, i, inner, out);
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static struct np_span trim(struct np_span s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = np_span_make(s.p + 1, s.n - 1);
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Whether a string of JSON says just this; none of the words has what would be escaped. */
static bool says(struct np_span value, struct np_span word)
{
    return word.n > 0 && value.p && np_json_kind(value) == NP_JSON_STRING &&
           np_span_eq(np_json_inner(value), word);
}

static bool says_one_of(struct np_span value, const struct np_stream_words *words)
{
    for (size_t i = 0; i < words->n; i++)
        if (says(value, words->at[i]))
            return true;
    return words->n == 0;
}

static void passed_over(struct np_stream_event *out)
{
    memset(out->at, 0, sizeof out->at);
    out->parts = NP_SPAN_NONE;
}

enum np_err np_stream_read(const struct np_stream_form *f, struct np_span name, struct np_span data,
                           struct np_stream_event *out)
{
    struct np_json_fault fault;
    memset(out, 0, sizeof *out);
    if (trim(data).n == 0)
        return NP_OK;
    if (f->end_data.n > 0 && np_span_eq(trim(data), f->end_data)) {
        out->ends = true;
        return NP_OK;
    }
    if (np_json_check(data, NP_JSON_DEPTH, &fault) || np_json_kind(data) != NP_JSON_OBJECT)
        return NP_E_SYNTAX;
    out->read = true;
    visit(f, 0, data, out);
    out->ends = says(out->at[NP_STREAM_kind], f->end_kind);
    bool error =
        out->at[NP_STREAM_error].p && np_json_kind(out->at[NP_STREAM_error]) != NP_JSON_FALSE;
    out->failed =
        error || np_span_is(name, "error") || says(out->at[NP_STREAM_kind], f->error_kind);
    if (out->at[NP_STREAM_kind].p && !says_one_of(out->at[NP_STREAM_kind], &f->kinds))
        passed_over(out);
    return NP_OK;
}

void np_stream_parts(struct np_span list, bool thought, np_stream_part_fn *each, void *ctx)
{
    struct np_json_walk w = np_json_walk(list);
    struct np_span part, key, value;
    while (np_json_item(&w, &part)) {
        struct np_span type = NP_SPAN_NONE, text = NP_SPAN_NONE, thinking = NP_SPAN_NONE;
        if (np_json_kind(part) != NP_JSON_OBJECT)
            continue;
        struct np_json_walk members = np_json_walk(part);
        while (np_json_member(&members, &key, &value)) {
            if (np_span_is(key, "type"))
                type = value;
            else if (np_span_is(key, "text"))
                text = value;
            else if (np_span_is(key, "thinking"))
                thinking = value;
        }
        if (text.p && np_json_kind(text) == NP_JSON_STRING &&
            (!type.p || says(type, NP_SPAN("text"))))
            each(ctx, text, thought);
        if (thinking.p && np_json_kind(thinking) == NP_JSON_STRING)
            each(ctx, thinking, true);
        else if (thinking.p && np_json_kind(thinking) == NP_JSON_ARRAY && !thought)
            np_stream_parts(thinking, true, each, ctx);
    }
}

static bool is_zero(struct np_span value)
{
    int64_t n;
    return np_json_kind(value) == NP_JSON_NUMBER && np_json_i64(value, &n) == NP_OK && n == 0;
}

/* The bit of the part that the event belongs to; 0: it has none. */
static uint64_t block_bit(struct np_span block)
{
    int64_t n = -1;
    bool number =
        block.p && np_json_kind(block) == NP_JSON_NUMBER && np_json_i64(block, &n) == NP_OK;
    return number && n >= 0 && n < 64 ? UINT64_C(1) << n : 0;
}

void np_stream_sort(const struct np_stream_form *f, uint64_t *others, struct np_stream_event *e)
{
    struct np_span opens = e->at[NP_STREAM_opens], part = e->at[NP_STREAM_part];
    uint64_t bit = block_bit(e->at[NP_STREAM_block]);
    bool other_answer = e->at[NP_STREAM_choice].p && !is_zero(e->at[NP_STREAM_choice]);
    if (opens.p)
        *others = says_one_of(opens, &f->text_parts) ? *others & ~bit : *others | bit;
    bool text = !other_answer && (!opens.p || says_one_of(opens, &f->text_parts)) &&
                (!part.p || says_one_of(part, &f->text_parts)) && !(*others & bit);
    if (other_answer)
        e->at[NP_STREAM_finish] = NP_SPAN_NONE;
    if (!text)
        e->parts = NP_SPAN_NONE;
    if (text || !e->at[NP_STREAM_text].p)
        return;
    if (!e->at[NP_STREAM_thought].p)
        e->at[NP_STREAM_thought] = e->at[NP_STREAM_text];
    e->at[NP_STREAM_text] = NP_SPAN_NONE;
}

enum np_finish np_stream_finish(const struct np_stream_form *f, struct np_span said)
{
    for (size_t i = 0; i < f->n_finishes; i++)
        if (says(said, f->finishes[i].said))
            return f->finishes[i].means;
    return NP_FINISH_stop;
}

/* ------------------------------------------------------------------------------------------ usage */

void np_stream_usage_init(struct np_stream_usage *u)
{
    *u = (struct np_stream_usage){-1, -1, -1, -1, -1, -1, -1, false};
}

static void take_count(struct np_stream_usage *u, struct np_span value, int64_t *count)
{
    if (!value.p)
        return;
    int64_t v;
    if (np_json_kind(value) == NP_JSON_NUMBER && np_json_i64(value, &v) == NP_OK && v >= 0 &&
        v <= NP_USAGE_MAX)
        *count = v;
    else
        u->flagged = true;
}

void np_stream_usage_take(struct np_stream_usage *u, const struct np_stream_event *e)
{
    take_count(u, e->at[NP_STREAM_prompt], &u->prompt);
    take_count(u, e->at[NP_STREAM_completion], &u->completion);
    take_count(u, e->at[NP_STREAM_cached], &u->cached);
    take_count(u, e->at[NP_STREAM_cache_write], &u->cache_write);
    take_count(u, e->at[NP_STREAM_cache_write_5m], &u->cache_write_5m);
    take_count(u, e->at[NP_STREAM_cache_write_1h], &u->cache_write_1h);
    take_count(u, e->at[NP_STREAM_reasoning], &u->reasoning);
}

static int64_t or_none(int64_t count)
{
    return count < 0 ? 0 : count;
}

/* The prompt and its parts. What was written for an hour has its own price and is no part of cache_write
 * here. Where the parts are more than what was told of all, the parts count. */
static struct np_usage input(const struct np_stream_form *f, const struct np_stream_usage *u)
{
    int64_t for_hour = or_none(u->cache_write_1h), rest = or_none(u->cache_write) - for_hour;
    struct np_usage in = {
        .prompt = u->prompt, .cached = or_none(u->cached), .cache_write_1h = for_hour};
    in.cache_write = rest > or_none(u->cache_write_5m) ? rest : or_none(u->cache_write_5m);
    if (f->cache_apart)
        in.prompt += in.cached + in.cache_write + in.cache_write_1h;
    return in;
}

bool np_stream_usage_sum(const struct np_stream_form *f, const struct np_stream_usage *u,
                         struct np_usage *out, bool *possible)
{
    *possible = false;
    if (u->flagged)
        return true;
    if (u->prompt < 0 || u->completion < 0)
        return false;
    *out = input(f, u);
    out->completion = u->completion;
    out->reasoning = or_none(u->reasoning);
    *possible = np_usage_possible(out);
    return true;
}

bool np_stream_usage_prompt(const struct np_stream_form *f, const struct np_stream_usage *u,
                            struct np_usage *out)
{
    if (u->flagged || u->prompt < 0)
        return false;
    *out = input(f, u);
    return np_usage_possible(out);
}
