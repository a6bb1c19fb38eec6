/* What a model reports corrects what is estimated for it: the fit, the estimate, and what is booked
 * when a reply tells no usage. */
#include "engine/simkit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 400

/* A request of WORDS plain words, which the estimate counts as about as many tokens. */
static const char *prompt_of_words(char text[4096])
{
    size_t n = (size_t)snprintf(text, 4096, "{\"prompt\":\"");
    for (int i = 0; i < WORDS; i++)
        n += (size_t)snprintf(text + n, 4096 - n, "word ");
    (void)snprintf(text + n, 4096 - n, "\"}");
    return text;
}

static int64_t as_counted(struct kit *k, const char *model, int64_t estimate)
{
    const struct np_model *m = np_catalog_model(np_policyset_catalog(k->set), np_span_of(model));
    return np_ratio_apply(np_sim_guard(k->sim), m->slot, estimate);
}

START_TEST(reports_correct_the_model_that_made_them_and_no_other)
{
    struct kit k;
    char text[4096];
    kit_new(&k);
    kit_step(&k, "big",
             (struct kit_step){.status = 200, .body = kit_good(NP_ADAPTER_OPENAI, "yes", 800, 3)});
    kit_start(&k);
    for (int i = 0; i < 16; i++)
        (void)kit_ask(&k, prompt_of_words(text));
    int64_t n = as_counted(&k, "big", WORDS);
    printf("400 words, reported as 800 tokens: %lld\n", (long long)n);
    ck_assert_msg(n > 750 && n <= 800, "%lld", (long long)n);
    ck_assert_int_eq(as_counted(&k, "small", WORDS), WORDS);
    kit_free(&k);
}
END_TEST

START_TEST(a_reply_without_usage_is_booked_at_the_corrected_count)
{
    static const char silent[] =
        "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"yes\"},"
        "\"finish_reason\":\"stop\"}]}";
    struct kit k;
    char text[4096];
    kit_new(&k);
    kit_step(&k, "big", (struct kit_step){.status = 200, .body = silent});
    kit_step(&k, "big",
             (struct kit_step){.status = 200, .body = kit_good(NP_ADAPTER_OPENAI, "yes", 800, 3)});
    kit_step(&k, "big", (struct kit_step){.status = 200, .body = silent});
    kit_start(&k);
    int64_t before = kit_ask(&k, prompt_of_words(text))->cost_nusd;
    (void)kit_ask(&k, prompt_of_words(text));
    const struct kit_outcome *after = kit_ask(&k, prompt_of_words(text));
    ck_assert_int_eq(after->attempt[0].settled, NP_SETTLED_ESTIMATED);
    ck_assert_msg(after->cost_nusd > before * 19 / 10 && after->cost_nusd < before * 21 / 10,
                  "%lld after %lld", (long long)after->cost_nusd, (long long)before);
    kit_free(&k);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ratio");
    TCase *t = tcase_create("ratio");
    tcase_add_test(t, reports_correct_the_model_that_made_them_and_no_other);
    tcase_add_test(t, a_reply_without_usage_is_booked_at_the_corrected_count);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
