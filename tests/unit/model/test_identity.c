/* What an answer says of itself. */
#include "model/identity.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const struct {
    const char *json, *id, *model;
} said[] = {
    {"{\"id\":\"chatcmpl-1\",\"object\":\"x\",\"created\":1,\"model\":\"gpt-4.1-2025-04-14\"}",
     "chatcmpl-1", "gpt-4.1-2025-04-14"},
    {"{\"model\":\"a/b:c@d_e\",\"id\":\"msg_1\"}", "msg_1", "a/b:c@d_e"},
    {"{\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\"model\":\"claude-1\"}}", "msg_2",
     "claude-1"},
    {"{\"message\":{\"id\":\"no\"},\"id\":\"yes\"}", "yes", ""},
    {"{\"message\":\"text\"}", "", ""},
    {"{\"message\":{\"message\":{\"message\":{\"id\":\"deep\"}}}}", "deep", ""},
    {"{\"id\":7,\"model\":null}", "", ""},
    {"{\"id\":\"my password is hunter2\",\"model\":\"m\\u0041\"}", "", ""},
    {"{\"id\":\"caf\xc3\xa9\",\"model\":\"\"}", "", ""},
    {"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"id\":\"late\"}", "", ""},
    {"[1]", "", ""},
    {" \"id\" ", "", ""},
};

START_TEST(names_are_taken_and_texts_are_not)
{
    struct np_json_fault fault;
    struct np_identity got;
    struct np_arena *a = np_arena_new(4096);
    ck_assert_ptr_nonnull(a);
    size_t n = strlen(said[_i].json);
    char *exact = malloc(n); /* nothing behind it may be read */
    memcpy(exact, said[_i].json, n);
    ck_assert(!np_json_check(np_span_make(exact, n), NP_JSON_DEPTH, &fault));
    bool any = np_identity_read(np_span_make(exact, n), a, &got);
    free(exact); /* what was taken is a copy */
    ck_assert_int_eq(any, said[_i].id[0] || said[_i].model[0]);
    ck_assert(np_span_is(got.id, said[_i].id));
    ck_assert(np_span_is(got.model, said[_i].model));
    np_arena_free(a);
}
END_TEST

START_TEST(a_name_is_taken_up_to_its_limit)
{
    for (size_t n = NP_IDENTITY_BYTES - 1; n <= NP_IDENTITY_BYTES + 1; n++) {
        char json[NP_IDENTITY_BYTES + 32] = "{\"id\":\"";
        struct np_identity got;
        struct np_arena *a = np_arena_new(4096);
        memset(json + 7, 'x', n);
        memcpy(json + 7 + n, "\"}", 3);
        ck_assert_int_eq(np_identity_read(np_span_of(json), a, &got), n <= NP_IDENTITY_BYTES);
        ck_assert_uint_eq(got.id.n, n <= NP_IDENTITY_BYTES ? n : 0);
        np_arena_free(a);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("identity");
    TCase *c = tcase_create("identity");
    tcase_add_loop_test(c, names_are_taken_and_texts_are_not, 0, sizeof said / sizeof *said);
    tcase_add_test(c, a_name_is_taken_up_to_its_limit);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
