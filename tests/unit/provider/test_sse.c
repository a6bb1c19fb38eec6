/* Server-sent events: the same events however the bytes are cut. */
#include "provider/sse.h"

#include "support/fail_alloc.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* A stream, and its events as "name=data" with one line each; line ends in data stand as |. */
struct recorded {
    const char *bytes;
    const char *events;
};

static const struct recorded streams[] = {
    /* OpenAI, as it comes. */
    {"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
     "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}],\"usage\":null}\n\n"
     "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n",
     "={\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n"
     "={\"choices\":[{\"delta\":{\"content\":\"Hel\"}}],\"usage\":null}\n"
     "={\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n=[DONE]\n"},
    /* Anthropic, as it comes. */
    {"event: message_start\ndata: {\"type\":\"message_start\"}\n\n"
     "event: ping\ndata: {\"type\": \"ping\"}\n\n"
     "event: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"}}\n\n"
     "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
     "message_start={\"type\":\"message_start\"}\nping={\"type\": \"ping\"}\n"
     "content_block_delta={\"delta\":{\"text\":\"a\"}}\nmessage_stop={\"type\":\"message_stop\"}\n"},
    {"event: a\r\ndata: 1\r\n\r\nevent: b\r\ndata: 2\r\n\r\n", "a=1\nb=2\n"},
    {"event: a\rdata: 1\r\revent: b\rdata: 2\r\r", "a=1\nb=2\n"},
    {"data: 1\n\r\ndata: 2\r\n\ndata: 3\r\rdata: 4\n\n", "=1\n=2\n=3\n=4\n"},
    {"data:no blank\n\ndata:  two blanks\n\n", "=no blank\n= two blanks\n"},
    {"data: first\ndata: second\ndata:\ndata: fourth\n\n", "=first|second||fourth\n"},
    {"data\n\ndata:\n\n", "=\n=\n"},
    {": a comment\n\n:\n\nid: 7\nretry: 10\nother: x\ndata: d\n: within\ndata: e\n\n", "=d|e\n"},
    {"\xef\xbb\xbf"
     "data: after the mark\n\n\xef\xbb\xbf"
     "data: no mark here\n\n",
     "=after the mark\n"},
    {"\xef\xbb"
     "data: half a mark is none\n\ndata: next\n\n",
     "=next\n"},
    {"data: {\"t\":\"a\xe2\x80\xa8"
     "b\xe2\x80\xa9"
     "c\xc2\x85"
     "d\x0b\x0c\"}\n\n",
     "={\"t\":\"a\xe2\x80\xa8"
     "b\xe2\x80\xa9"
     "c\xc2\x85"
     "d\x0b\x0c\"}\n"},
    {"event: only a name\n\ndata: d\n\n", "=d\n"},
    {"data: whole\n\ndata: the end is missing\n", "=whole\n"},
    {"data: whole\n\ndata: cut", "=whole\n"},
    {"event: twice\nevent: named\ndata: d\n\n", "named=d\n"},
    {"\n\n\r\r\r\n\n", ""},
    {"", ""},
};
#define STREAMS (sizeof streams / sizeof streams[0])

struct heard {
    char text[4096];
    size_t n;
    unsigned left; /* events that are wanted */
};

static bool hear(void *ctx, struct np_span name, struct np_span data)
{
    struct heard *h = ctx;
    np_require(h->n + name.n + data.n + 2 < sizeof h->text); /* libcheck would allocate */
    memcpy(h->text + h->n, name.p, name.n);
    h->n += name.n;
    h->text[h->n++] = '=';
    for (size_t i = 0; i < data.n; i++)
        h->text[h->n++] = data.p[i];
    for (size_t i = h->n - data.n; i < h->n; i++)
        if (h->text[i] == '\n')
            h->text[i] = '|';
    h->text[h->n++] = '\n';
    h->text[h->n] = '\0';
    return --h->left > 0;
}

/* A piece in memory of its own size, freed at once: views must not outlive it. */
static void feed(struct np_sse *s, const char *p, size_t n, struct heard *h)
{
    char *copy = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, p, n);
    ck_assert_int_eq(np_sse_feed(s, np_span_make(copy, n), hear, h), NP_OK);
    free(copy);
}

static void expect(const struct recorded *r, const struct heard *h, const char *how)
{
    if (strcmp(h->text, r->events) != 0)
        ck_abort_msg("%s: wanted\n%sgot\n%s", how, r->events, h->text);
}

START_TEST(a_stream_in_two_pieces_is_as_the_whole_wherever_it_is_cut)
{
    const struct recorded *r = &streams[_i];
    size_t n = strlen(r->bytes);
    for (size_t at = 0; at <= n; at++) {
        struct np_sse s;
        struct heard h = {.left = 1000};
        char how[32];
        (void)snprintf(how, sizeof how, "cut at %zu", at);
        np_sse_init(&s);
        feed(&s, r->bytes, at, &h);
        feed(&s, r->bytes + at, n - at, &h);
        expect(r, &h, how);
        np_sse_free(&s);
    }
}
END_TEST

START_TEST(a_stream_in_pieces_of_any_size_is_as_the_whole)
{
    const struct recorded *r = &streams[_i];
    size_t n = strlen(r->bytes);
    struct np_sse s;
    np_sse_init(&s);
    for (size_t size = 1; size <= 40; size++) {
        struct heard h = {.left = 1000};
        char how[32];
        (void)snprintf(how, sizeof how, "in pieces of %zu", size);
        for (size_t at = 0; at < n; at += size)
            feed(&s, r->bytes + at, at + size < n ? size : n - at, &h);
        expect(r, &h, how);
        np_sse_reset(&s);
    }
    np_sse_free(&s);
}
END_TEST

START_TEST(nothing_more_comes_once_nothing_more_is_wanted)
{
    struct np_sse s;
    struct heard h = {.left = 2};
    np_sse_init(&s);
    feed(&s, "data: 1\n\ndata: 2\n\ndata: 3\n\n", 27, &h);
    ck_assert_str_eq(h.text, "=1\n=2\n");
    np_sse_free(&s);
}
END_TEST

START_TEST(a_line_of_more_than_a_megabyte_is_refused_and_one_of_it_is_not)
{
    struct np_sse s;
    struct heard h = {.left = 1000};
    char piece[4096];
    memset(piece, 'x', sizeof piece);
    np_sse_init(&s);
    enum np_err err = NP_OK;
    size_t taken = 0;
    while (!err && taken < 2 * NP_SSE_LINE_MAX) {
        err = np_sse_feed(&s, np_span_make(piece, sizeof piece), hear, &h);
        taken += sizeof piece;
    }
    ck_assert_int_eq(err, NP_E_FULL);
    ck_assert_uint_eq(taken, NP_SSE_LINE_MAX + sizeof piece);
    np_sse_reset(&s);
    feed(&s, "data: 1\n\n", 9, &h);
    ck_assert_str_eq(h.text, "=1\n");
    np_sse_free(&s);
}
END_TEST

START_TEST(data_lines_that_add_up_to_more_than_a_megabyte_are_refused)
{
    struct np_sse s;
    struct heard h = {.left = 1000};
    enum np_err err = NP_OK;
    size_t lines = 0;
    np_sse_init(&s);
    while (!err && lines < NP_SSE_LINE_MAX) {
        err =
            np_sse_feed(&s, NP_SPAN("data: 0123456789012345678901234567890123456789\n"), hear, &h);
        lines++;
    }
    ck_assert_int_eq(err, NP_E_FULL);
    ck_assert_uint_lt(lines * 41, NP_SSE_LINE_MAX + 100);
    np_sse_free(&s);
}
END_TEST

START_TEST(each_allocation_may_fail)
{
    const char *text = streams[0].bytes;
    size_t n = strlen(text);
    bool failed = true;
    size_t nth = 0;
    for (; failed; nth++) {
        struct np_sse s;
        struct heard h = {.left = 1000};
        np_sse_init(&s);
        np_fail_nth(nth);
        enum np_err err = NP_OK;
        for (size_t at = 0; !err && at < n; at += 7)
            err = np_sse_feed(&s, np_span_make(text + at, at + 7 < n ? 7 : n - at), hear, &h);
        failed = np_fail_happened();
        np_fail_never();
        np_sse_free(&s);
        ck_assert_int_eq(err, failed ? NP_E_NOMEM : NP_OK);
    }
    ck_assert_uint_gt(nth, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sse");
    TCase *t = tcase_create("sse");
    tcase_add_loop_test(t, a_stream_in_two_pieces_is_as_the_whole_wherever_it_is_cut, 0, STREAMS);
    tcase_add_loop_test(t, a_stream_in_pieces_of_any_size_is_as_the_whole, 0, STREAMS);
    tcase_add_test(t, nothing_more_comes_once_nothing_more_is_wanted);
    tcase_add_test(t, a_line_of_more_than_a_megabyte_is_refused_and_one_of_it_is_not);
    tcase_add_test(t, data_lines_that_add_up_to_more_than_a_megabyte_are_refused);
    tcase_add_test(t, each_allocation_may_fail);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
