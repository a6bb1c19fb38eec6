/* How a provider's streamed events are to be read, as its adapter declares it: plain values, compiled
 * once, so that an event costs one walk over its JSON and no call of Lua. */
#ifndef NP_MODEL_STREAM_H
#define NP_MODEL_STREAM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "model/class.h"
#include "model/usage.h"

#include <stdint.h>

/* What an event may bring. `choice` is the number of the answer that it belongs to, of which the first is
 * wanted; `block` that of the part of an answer; `opens` what a part is that begins, `part` what a piece of
 * one is. */
#define NP_STREAM_SLOTS(X) \
    X(text)                \
    X(thought)             \
    X(finish)              \
    X(error)               \
    X(kind)                \
    X(choice)              \
    X(block)               \
    X(opens)               \
    X(part)                \
    X(prompt)              \
    X(completion)          \
    X(cached)              \
    X(cache_write)         \
    X(cache_write_5m)      \
    X(cache_write_1h)      \
    X(reasoning)

enum np_stream_slot {
#define NP_STREAM_SLOT_ENUM(name) NP_STREAM_##name,
    NP_STREAM_SLOTS(NP_STREAM_SLOT_ENUM)
#undef NP_STREAM_SLOT_ENUM
        NP_STREAM_SLOT_COUNT
};

const char *np_stream_slot_name(enum np_stream_slot s);

#define NP_STREAM_NODES 48
#define NP_STREAM_FINISHES 16
#define NP_STREAM_POOL 1024
#define NP_STREAM_WORDS 8

/* A tree of paths; the first node is its root. */
struct np_stream_node {
    struct np_span part; /* a member's name */
    uint16_t place;      /* in an array, from 1; 0: a member */
    uint8_t child, next; /* 0: none */
    uint8_t slot;        /* NP_STREAM_SLOT_COUNT: not the end of a path */
};

struct np_stream_words {
    struct np_span at[NP_STREAM_WORDS];
    size_t n; /* 0: any will do */
};

struct np_stream_form {
    struct np_stream_node nodes[NP_STREAM_NODES];
    size_t n_nodes;
    struct {
        struct np_span said;
        enum np_finish means;
    } finishes[NP_STREAM_FINISHES];
    size_t n_finishes;
    struct np_span end_data; /* data of the event that ends a stream; n 0: none does so */
    struct np_span end_kind; /* its kind */
    struct np_span error_kind;
    struct np_stream_words kinds;      /* events of other kinds are passed over */
    struct np_stream_words text_parts; /* what `opens` and `part` say where text is the answer's */
    bool cache_apart;          /* prompt leaves out what was read from a cache and written to it */
    char pool[NP_STREAM_POOL]; /* the texts that the spans are of */
    size_t pool_n;
};

/* Empties it. */
void np_stream_form_init(struct np_stream_form *f);
/* Adds "choices.1.delta.content" for a slot; numbers are places in an array from 1. NP_E_FULL; NP_E_INVALID:
 * it is empty, there already, or goes through the end of another. */
enum np_err np_stream_form_path(struct np_stream_form *f, enum np_stream_slot slot,
                                struct np_span path) NP_MUST_CHECK;
enum np_err np_stream_form_finish(struct np_stream_form *f, struct np_span said,
                                  enum np_finish means) NP_MUST_CHECK;
/* Adds a word. */
enum np_err np_stream_form_word(struct np_stream_form *f, struct np_stream_words *words,
                                struct np_span word) NP_MUST_CHECK;
/* Copies a text into the form. */
enum np_err np_stream_form_text(struct np_stream_form *f, struct np_span text,
                                struct np_span *out) NP_MUST_CHECK;

/* One event, read. Values are raw JSON, null left out; p NULL: not there. */
struct np_stream_event {
    struct np_span at[NP_STREAM_SLOT_COUNT];
    struct np_span parts; /* a list where the text should be, as some send it; p NULL: none */
    const char *last;     /* the end of the last value that a path leads to; NULL: none does */
    bool read;            /* data is an object, which was checked */
    bool ends;            /* it says that the stream is whole */
    bool failed;          /* it is an error */
};

/* NP_E_SYNTAX: the data is not a JSON object. The values are views of data. Blank data says nothing. */
enum np_err np_stream_read(const struct np_stream_form *f, struct np_span name, struct np_span data,
                           struct np_stream_event *out) NP_MUST_CHECK;
/* Text that is not the answer's becomes a thought, and another answer's finish none. *others has a bit for
 * each part of the answer, of the first 64, that is no text; 0 at the stream's begin. */
void np_stream_sort(const struct np_stream_form *f, uint64_t *others, struct np_stream_event *e);
/* Each text of a list of parts, in their order; thought: it is no part of the answer, as what stands in a part's
 * `thinking`, a string or a list again. Parts of other types are passed over. */
typedef void np_stream_part_fn(void *ctx, struct np_span string, bool thought);
void np_stream_parts(struct np_span list, bool thought, np_stream_part_fn *each, void *ctx);

/* What stood around the text of the event before, if that brought text and nothing else. Most streams say
 * the same around each text, but for one more string that no path leads to: padding. */
struct np_stream_frame {
    char *p;       /* head, middle, rest; NULL: none is kept */
    uint16_t head; /* bytes up to the text's opening quote, with it */
    uint16_t
        middle; /* from the closing quote on: to the end, or to the other string's opening quote */
    uint16_t rest; /* from the other string's closing quote on; 0: there is no other string */
};

/* Reads an event as np_stream_read and np_stream_sort would, if it has the frame; else false, nothing read. */
bool np_stream_frame_read(const struct np_stream_frame *f, struct np_span name, struct np_span data,
                          struct np_stream_event *out);
/* Keeps the frame of an event that was read and sorted, or none where the next could not be like it. */
void np_stream_frame_keep(struct np_stream_frame *f, struct np_span data,
                          const struct np_stream_event *e);
/* Frees what is kept. */
void np_stream_frame_drop(struct np_stream_frame *f);

/* The data of an event that is no JSON, to `out`, with the pair made whole that an earlier event began (*half
 * has its first half, 0: none; *joined: it has found the second) and without the half that ends a text, which
 * is kept in *half. NP_E_SYNTAX: neither is there, and it stays what it is; NP_E_NOMEM. */
enum np_err np_stream_join(struct np_span data, unsigned *half, struct np_buf *out,
                           bool *joined) NP_MUST_CHECK;
/* What the provider's finish means; unknown ones are `stop`. */
enum np_finish np_stream_finish(const struct np_stream_form *f, struct np_span said);

/* Usage as a provider tells it, whole or over a stream, where later counts replace earlier ones. cache_write
 * is all that was written to a cache, of which the two others are parts. */
struct np_stream_usage {
    int64_t prompt, completion, cached, cache_write, cache_write_5m, cache_write_1h, reasoning;
    bool flagged; /* one was no whole number in bounds. Counts are -1 where they were not told */
};

void np_stream_usage_init(struct np_stream_usage *u);
/* Takes the counts of an event. */
void np_stream_usage_take(struct np_stream_usage *u, const struct np_stream_event *e);
/* The sum of what was told. False: prompt or completion were not; *possible false: it can't be true. */
bool np_stream_usage_sum(const struct np_stream_form *f, const struct np_stream_usage *u,
                         struct np_usage *out, bool *possible);
/* The prompt's tokens and their parts alone. False: they were not told, or can't be true. */
bool np_stream_usage_prompt(const struct np_stream_form *f, const struct np_stream_usage *u,
                            struct np_usage *out);

#endif
