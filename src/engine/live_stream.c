/* The live ground's way of a streamed reply to its client: events in the form of the reply endpoints.
 * When the client does not take what there is, the provider's call is paused. */
#include "base/json.h"
#include "engine/worker_impl.h"
#include "model/record.h"

#include <inttypes.h>
#include <stdio.h>

void np_live_go_on(struct np_live *live)
{
    for (unsigned i = 0; i < NP_LEGS; i++) {
        struct np_live_leg *leg = &live->leg[i];
        if (leg->call && leg->paused) {
            leg->paused = false;
            np_call_resume(leg->call);
        }
    }
}

/* The reply's head. Nobody on the way may keep the stream back, or change it. */
static void begin(struct np_live *live)
{
    const struct np_exchange *x = live->x;
    char retry_after[24];
    struct np_http_field fields[4] = {{"X-Request-Id", x->id},
                                      {"Cache-Control", "no-cache, no-transform"},
                                      {"X-Accel-Buffering", "no"}};
    size_t n = 3;
    if (x->outcome.status && x->outcome.retry_after_s >= 0) {
        (void)snprintf(retry_after, sizeof retry_after, "%" PRId64, x->outcome.retry_after_s);
        fields[n++] = (struct np_http_field){"Retry-After", retry_after};
    }
    np_http_stream_begin(live->client, &(struct np_http_reply){.status = 200,
                                                               .content_type = "text/event-stream",
                                                               .fields = fields,
                                                               .n_fields = n});
    live->begun = true;
}

#define DELTA "event: delta\ndata: {\"text\":\""
#define END_OF_DELTA "\"}\n\n"

void np_live_emit(void *ctx, struct np_exchange *x, unsigned number, struct np_span json_text)
{
    (void)ctx;
    struct np_live *live = x->ground;
    struct np_live_leg *leg = &live->leg[number];
    if (!live->client)
        return;
    if (!live->begun)
        begin(live);
    (void)np_http_stream_put(live->client, NP_SPAN(DELTA));
    (void)np_http_stream_put(live->client, json_text);
    bool more = np_http_stream_put(live->client, NP_SPAN(END_OF_DELTA));
    if (!more && !leg->paused && leg->call) {
        leg->paused = true;
        np_call_pause(leg->call);
    }
}

void np_live_end_stream(struct np_exchange *x)
{
    struct np_live *live = x->ground;
    struct np_buf *b = &live->body;
    np_buf_reset(b);
    if (!live->begun) {
        begin(live);
        if (x->outcome.text.n > 0) {
            np_buf_puts(b, DELTA);
            np_json_escape(b, x->outcome.text);
            np_buf_puts(b, END_OF_DELTA);
        }
    }
    if (x->outcome.broken) {
        np_buf_puts(b, "event: error\ndata: ");
        np_record_error(b, &x->outcome.refusal, x->id);
        np_buf_puts(b, "\n\n");
    }
    np_buf_puts(b, "event: done\ndata: ");
    np_record_stream_end(b, x);
    np_buf_puts(b, "\n\n");
    (void)np_http_stream_put(live->client, np_buf_view(b));
    np_http_stream_end(live->client);
}
