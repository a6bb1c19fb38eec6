/* Texts made of a finished exchange: the reply's JSON, the error's JSON, the decision record. */
#ifndef NP_MODEL_RECORD_H
#define NP_MODEL_RECORD_H

#include "base/buf.h"
#include "model/exchange.h"

/* The body of a 200 of a reply endpoint. */
void np_record_reply(struct np_buf *b, const struct np_exchange *x);
/* The same without the text: the data of a stream's last event. */
void np_record_stream_end(struct np_buf *b, const struct np_exchange *x);
/* The body of an error: {"error":{type,message,param,requestId}}. */
void np_record_error(struct np_buf *b, const struct np_refusal *r, const char *request_id);
/* One line of decisions, with its newline; prompt and reply only with bodies. */
/* How it ended, in a word: ok, degraded, cancelled, or the type of the error. */
struct np_span np_record_outcome(const struct np_exchange *x);
void np_record_decision(struct np_buf *b, const struct np_exchange *x, bool bodies);
/* The same of a call that was refused before it became an exchange. endpoint NULL: not known. */
void np_record_refusal(struct np_buf *b, const struct np_refusal *r, const char *request_id,
                       int64_t at_wall_ms, const char *endpoint, uint64_t took_ns);

#endif
