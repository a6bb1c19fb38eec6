/* Inside the imitation: connections, requests, and replies as bytes with a timetable. */
#ifndef NP_SIM_IMITATION_IMPL_H
#define NP_SIM_IMITATION_IMPL_H

#include "base/json.h"
#include "sim/imitation.h"

#define NP_SIM_HEAD_MAX 65536
#define NP_SIM_BODY_MAX (16u << 20)
#define NP_SIM_REPLY_MAX (16u << 20)
#define NP_SIM_PIECES 512

enum np_dialect { NP_DIALECT_OPENAI, NP_DIALECT_ANTHROPIC };

/* One request, as views of the connection's input. */
struct np_sim_request {
    struct np_span method, path; /* path without the query */
    struct np_span body;
    bool keep_alive;
    size_t bytes; /* of the input that it took */
};

/* http1.c: NP_OK; NP_E_BUSY: more bytes are needed; NP_E_SYNTAX, NP_E_FULL: not to be served. A chunked
 * body is joined in place, once it is whole; before that no byte is changed. */
enum np_err np_sim_request_read(char *in, size_t n, struct np_sim_request *out) NP_MUST_CHECK;

/* What a call asked for, from its body. */
struct np_sim_call {
    enum np_dialect dialect;
    struct np_imitation_call call;
    bool include_usage;
    char provider[64], model[128];
};

/* A reply that is ready to leave: bytes [0, piece[i].end) may be sent at piece[i].at_ms after the
 * request was read. */
struct np_sim_piece {
    size_t end;
    int64_t at_ms;
    size_t said; /* parts of a streamed text, up to its end */
};

struct np_sim_reply {
    struct np_buf bytes;
    struct np_sim_piece piece[NP_SIM_PIECES];
    size_t n_pieces;
    int64_t billed_prompt, billed_completion;        /* what a provider would charge for it */
    int64_t nusd_prompt, nusd_completion, nusd_call; /* and at which price */
    size_t said; /* parts of a streamed text; 0: it is no stream */
    bool close;  /* the connection ends after it */
};

/* call.c: reads the body of a call. NP_E_INVALID: it is no such call; NP_E_NOMEM. */
enum np_err np_sim_call_read(enum np_dialect dialect, struct np_span path, struct np_span body,
                             struct np_sim_call *out) NP_MUST_CHECK;

/* render.c: the reply to a call. number is for ids. Without memory, or where it would be too long, the
 * reply's bytes are marked failed, and nothing of them may be sent. */
void np_sim_render(struct np_sim_reply *r, const struct np_sim_call *c,
                   const struct np_imitation_answer *a, uint64_t number);
/* render.c: a small JSON reply of the imitation's own, at once. */
void np_sim_render_json(struct np_sim_reply *r, unsigned status, struct np_span json);

/* What both dialects' writers work from. */
struct np_sim_facts {
    const struct np_sim_call *c;
    const struct np_imitation_answer *a;
    uint64_t number;
    struct np_span text; /* cut to max_tokens */
    bool cut;
    int64_t prompt, completion; /* tokens, true ones */
    size_t *said;               /* counts the parts of a streamed text as they are put */
};

/* openai.c, anthropic.c: the body of a whole reply, of an error, and a stream's events. Each event of a
 * stream is one call of put; one that found no memory is NP_SPAN_NONE. */
typedef void np_sim_put_fn(void *ctx, struct np_span event);

void np_openai_whole(struct np_buf *b, const struct np_sim_facts *f);
void np_openai_error(struct np_buf *b, const struct np_imitation_answer *a);
void np_openai_stream(const struct np_sim_facts *f, np_sim_put_fn *put, void *ctx);
void np_anthropic_whole(struct np_buf *b, const struct np_sim_facts *f);
void np_anthropic_error(struct np_buf *b, const struct np_imitation_answer *a, uint64_t number);
void np_anthropic_stream(const struct np_sim_facts *f, np_sim_put_fn *put, void *ctx);

/* render.c: one usage count as the scenario wants it: the true one, or a lie as it stands. */
void np_sim_count(struct np_json_w *w, const char *key, const struct np_imitation_answer *a,
                  double lie, int64_t truth);
/* How many parts a text is streamed in: about four bytes each, as tokens are. */
size_t np_sim_parts(struct np_span text);
/* The i-th of n parts of a text, cut at UTF-8 boundaries; may be empty. */
struct np_span np_sim_part(struct np_span text, size_t i, size_t n);
/* Puts what b holds as one event and frees it. */
void np_sim_put(struct np_buf *b, np_sim_put_fn *put, void *ctx);

#endif
