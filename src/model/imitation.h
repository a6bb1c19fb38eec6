/* What an imitation provider is asked and how it answers: plain values between the scenario (script/)
 * and the imitation itself (sim/). */
#ifndef NP_MODEL_IMITATION_H
#define NP_MODEL_IMITATION_H

#include "base/err.h"
#include "base/span.h"
#include "model/usage.h"

#include <stdint.h>

struct np_imitation_call {
    struct np_span provider; /* first part of the path, or the dialect's name */
    struct np_span model;    /* the provider's id of it */
    uint64_t number;         /* of this model's calls, from 1 */
    int64_t prompt_tokens;   /* estimate */
    int64_t max_tokens;      /* -1: not said */
    bool stream;
    int64_t now_ms;        /* since the imitation started */
    struct np_span prompt; /* the last user text, raw JSON */
};

#define NP_IMITATION_TEXT 4096
#define NP_IMITATION_RAW 65536

struct np_imitation_answer {
    unsigned status;                                         /* 200 */
    char text[NP_IMITATION_TEXT];                            /* what it says */
    char error_type[64], error_code[64], error_message[256]; /* status >= 400 */
    int64_t retry_after_s;                                   /* -1: no header */
    int64_t first_ms;                                        /* until the first byte of the reply */
    int64_t total_ms; /* until the last; streams spread their pieces between */
    int64_t stall_at; /* stop for ever after this many bytes of the whole reply; -1: never */
    int64_t reset_at; /* RST after this many bytes; -1: never; 0: before any */
    int64_t fin_at;   /* orderly close after this many bytes; -1 */
    bool malformed;   /* a body that is not JSON */
    bool empty;       /* a 200 without content */
    bool no_usage;
    bool byte_by_byte;
    bool usage_given; /* lying usage: sent as it stands, whatever the truth */
    double usage_prompt, usage_completion, usage_cached;
    /* What the bill counts: nano-dollars for 1,000 tokens, and for the call. */
    int64_t nusd_prompt, nusd_completion, nusd_call;
    char finish[24];       /* "" : stop or length by itself */
    char content_type[64]; /* "" : the right one */
    char content_encoding[32];
    bool raw_given; /* send these bytes instead of any reply */
    char *raw;      /* NP_IMITATION_RAW at most; owned by the scenario, until the next ask */
    size_t raw_bytes;
};

#endif
