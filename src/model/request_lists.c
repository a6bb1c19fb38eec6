/* The lists of a request: messages with their parts, and context items. */
#include "model/request_fields.h"

#include <math.h>

#include "base/hash.h"
#include "model/tokens.h"

#define ID_BYTES 256
#define FEW_IDS 32 /* places of a set that needs no memory of the request's */

static const char *const role_names[NP_ROLE_COUNT] = {"system", "user", "assistant"};

const char *np_role_name(enum np_role r)
{
    np_require(r < NP_ROLE_COUNT);
    return role_names[r];
}

static enum np_err read_part(struct np_reader *r, const struct np_path *at, struct np_span part,
                             struct np_span *text)
{
    static const struct np_span names[] = {{"type", 4}, {"text", 4}};
    struct np_span values[2];
    enum np_err err = np_reader_fields(r, at, part, names, 2, values);
    if (err)
        return err;
    struct np_path type = {at, "type", -1}, text_at = {at, "text", -1};
    if (!values[0].p)
        return np_reader_refuse(r, &type, "is required and must be \"text\"");
    if (!np_span_is(values[0], "\"text\""))
        return np_reader_wrong(r, &type, "\"text\"", values[0], false);
    if (!values[1].p)
        return np_reader_refuse(r, &text_at, "is required");
    *text = values[1];
    return np_reader_string(r, &text_at, values[1], true);
}

static void count_text(struct np_message *m, struct np_span string_value)
{
    struct np_span inner = np_json_inner(string_value);
    m->tokens += np_tokens_estimate(inner, true);
    m->bytes += inner.n;
}

static enum np_err read_content(struct np_reader *r, const struct np_path *message,
                                struct np_message *m)
{
    struct np_path at = {message, "content", -1};
    enum np_json_kind kind = np_json_kind(m->content);
    if (kind == NP_JSON_STRING) {
        count_text(m, m->content);
        return m->role == NP_ROLE_USER && m->bytes == 0
                   ? np_reader_refuse(r, &at, "must not be empty")
                   : NP_OK;
    }
    if (kind != NP_JSON_ARRAY)
        return np_reader_wrong(r, &at, "a string or a list of text parts", m->content, true);
    struct np_json_walk walk = np_json_walk(m->content);
    struct np_span part, text;
    for (at.index = 0; np_json_item(&walk, &part); at.index++) {
        enum np_err err = read_part(r, &at, part, &text);
        if (err)
            return err;
        count_text(m, text);
    }
    if (at.index == 0) {
        at.index = -1;
        return np_reader_refuse(r, &at, "must not be an empty list");
    }
    at.index = -1;
    return m->role == NP_ROLE_USER && m->bytes == 0 ? np_reader_refuse(r, &at, "must not be empty")
                                                    : NP_OK;
}

static enum np_err read_role(struct np_reader *r, const struct np_path *message,
                             struct np_span value, enum np_role *out)
{
    struct np_path at = {message, "role", -1};
    if (!value.p)
        return np_reader_refuse(r, &at, "is required");
    if (np_json_kind(value) == NP_JSON_STRING) {
        struct np_span inner = np_json_inner(value);
        for (int i = 0; i < NP_ROLE_COUNT; i++) {
            if (np_span_is(inner, role_names[i])) {
                *out = (enum np_role)i;
                return NP_OK;
            }
        }
    }
    return np_reader_wrong(r, &at, "\"system\", \"user\" or \"assistant\"", value, false);
}

static enum np_err read_message(struct np_reader *r, const struct np_path *at, struct np_span value,
                                struct np_message *m)
{
    static const struct np_span names[] = {{"role", 4}, {"content", 7}};
    struct np_span values[2];
    enum np_err err = np_reader_fields(r, at, value, names, 2, values);
    if (err)
        return err;
    if ((err = read_role(r, at, values[0], &m->role)))
        return err;
    if (!values[1].p) {
        struct np_path content = {at, "content", -1};
        return np_reader_refuse(r, &content, "is required");
    }
    m->content = values[1];
    m->tokens = NP_TOKENS_PER_MESSAGE;
    return read_content(r, at, m);
}

enum np_err np_reader_messages(struct np_reader *r, struct np_span value, struct np_request *out)
{
    struct np_path at = {NULL, "messages", -1};
    size_t n;
    enum np_err err = np_reader_list(r, &at, value, NP_MAX_MESSAGES, &n);
    if (err)
        return err;
    if (n == 0)
        return np_reader_refuse(r, &at, "must not be empty");
    out->messages = np_arena_array(r->arena, n, sizeof *out->messages);
    if (!out->messages)
        return NP_E_NOMEM;
    out->n_messages = n;
    struct np_json_walk walk = np_json_walk(value);
    struct np_span item;
    for (at.index = 0; np_json_item(&walk, &item); at.index++) {
        err = read_message(r, &at, item, &out->messages[at.index]);
        if (err)
            return err;
    }
    at.index = -1;
    return np_request_asks(out)
               ? NP_OK
               : np_reader_refuse(r, &at,
                                  "must have one of role \"user\" or \"assistant\" that "
                                  "is not empty");
}

static enum np_err read_priority(struct np_reader *r, const struct np_path *item,
                                 struct np_span value, double *out)
{
    struct np_path at = {item, "priority", -1};
    if (np_json_kind(value) != NP_JSON_NUMBER || np_json_double(value, out))
        return np_reader_wrong(r, &at, "a number", value, false);
    return NP_OK;
}

/* A set of ids, open-addressed; of at least twice as many places as ids. */
struct ids {
    struct np_span *place;
    size_t mask;
};

/* False when the id is there already. */
static bool ids_add(struct ids *ids, struct np_span id)
{
    size_t i = (size_t)np_fnv1a(id.p, id.n) & ids->mask;
    while (ids->place[i].p) {
        if (np_span_eq(ids->place[i], id))
            return false;
        i = (i + 1) & ids->mask;
    }
    ids->place[i] = id;
    return true;
}

static enum np_err read_id(struct np_reader *r, const struct np_path *item, struct np_span value,
                           struct ids *ids)
{
    struct np_path at = {item, "id", -1};
    if (!value.p)
        return np_reader_refuse(r, &at, "is required");
    struct np_span id;
    enum np_err err = np_reader_name(r, &at, value, ID_BYTES, &id);
    if (err)
        return err;
    if (id.n == 0)
        return np_reader_refuse(r, &at, "must not be empty");
    if (!ids_add(ids, id))
        return np_reader_refuse(r, &at, "is the id of an item before it; each id may stand once");
    return NP_OK;
}

static enum np_err read_item(struct np_reader *r, const struct np_path *at, struct np_span value,
                             struct ids *ids, struct np_context_item *c)
{
    enum { ID, TEXT, PRIORITY, PINNED, COUNT };
    static const struct np_span names[COUNT] = {
        {"id", 2}, {"text", 4}, {"priority", 8}, {"pinned", 6}};
    struct np_span values[COUNT];
    enum np_err err = np_reader_fields(r, at, value, names, COUNT, values);
    if (err || (err = read_id(r, at, values[ID], ids)))
        return err;
    struct np_path text = {at, "text", -1}, pinned = {at, "pinned", -1};
    if (!values[TEXT].p)
        return np_reader_refuse(r, &text, "is required");
    if ((err = np_reader_string(r, &text, values[TEXT], true)))
        return err;
    if (values[PRIORITY].p && (err = read_priority(r, at, values[PRIORITY], &c->priority)))
        return err;
    if (values[PINNED].p && (err = np_reader_bool(r, &pinned, values[PINNED], &c->pinned)))
        return err;
    c->id = values[ID];
    c->text = values[TEXT];
    c->kept = true;
    c->tokens = np_tokens_estimate(np_json_inner(c->text), true) +
                np_tokens_estimate(np_json_inner(c->id), true) + NP_TOKENS_PER_MESSAGE;
    return NP_OK;
}

enum np_err np_reader_context(struct np_reader *r, struct np_span value, struct np_request *out)
{
    struct np_path at = {NULL, "context", -1};
    size_t n;
    enum np_err err = np_reader_list(r, &at, value, NP_MAX_CONTEXT, &n);
    if (err || n == 0)
        return err;
    struct ids ids = {.mask = 1};
    while (ids.mask < 2 * n)
        ids.mask = ids.mask * 2 + 1;
    struct np_span few[FEW_IDS] = {0};
    ids.place =
        ids.mask < FEW_IDS ? few : np_arena_array(r->arena, ids.mask + 1, sizeof *ids.place);
    out->context = np_arena_array(r->arena, n, sizeof *out->context);
    if (!out->context || !ids.place)
        return NP_E_NOMEM;
    out->n_context = n;
    struct np_json_walk walk = np_json_walk(value);
    struct np_span item;
    for (at.index = 0; np_json_item(&walk, &item); at.index++) {
        struct np_context_item *c = &out->context[at.index];
        c->index = (uint32_t)at.index;
        if ((err = read_item(r, &at, item, &ids, c)))
            return err;
    }
    return NP_OK;
}
