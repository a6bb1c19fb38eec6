/* Alerts over a restart: what fires still is not told again. */
#include "engine/alertkeep.h"

#include "base/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW (UINT64_C(600000) * NP_NS_PER_S)
#define WALL_MS INT64_C(1790000000000)

static char folder[64], path[128];
static struct np_alerts table, next;
static struct np_alert_facts facts;
static unsigned told;

static void setup(void)
{
    (void)strcpy(folder, "/tmp/neap-alertkeep-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/neap.alerts", folder);
    table.n = next.n = facts.n = 0;
    told = 0;
}

static void teardown(void)
{
    (void)unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void tell(void *ctx, const struct np_alert *a)
{
    (void)ctx;
    (void)a;
    told++;
}

static void say(const char *subject, double threshold, int64_t window_ms)
{
    struct np_alert_fact f = {.alert = "budget",
                              .severity = "page",
                              .text = "\"quoted\" & ümläut\n<b>",
                              .value = 0.1 + 0.2,
                              .threshold = threshold,
                              .window_ms = window_ms};
    (void)snprintf(f.subject, sizeof f.subject, "%s", subject);
    np_alert_say(&facts, &f);
}

static void restart(void)
{
    ck_assert_int_eq(np_alertkeep_save(path, &table), NP_OK);
    np_alertkeep_load(path, &next, NOW + 1);
}

START_TEST(what_fires_after_a_restart_is_not_told_again_and_what_does_not_is_over_after_a_minute)
{
    say("global/day", 0.8, 5);
    say("global/day", 1.0 / 3, 5);
    np_alerts_update(&table, &facts, NOW, WALL_MS, tell, NULL);
    ck_assert_uint_eq(told, 2);
    restart();
    ck_assert_uint_eq(next.n, 2);
    facts.n = 1;
    np_alerts_update(&next, &facts, NOW + 2, WALL_MS + 1, tell, NULL);
    ck_assert_uint_eq(told, 2);
    np_alerts_update(&next, &facts, NOW + 2 + NP_ALERT_QUIET_NS, WALL_MS + 60000, tell, NULL);
    ck_assert_uint_eq(told, 3);
    ck_assert_int_eq(next.list[1].resolved_wall_ms, WALL_MS + 60000);
}
END_TEST

START_TEST(all_of_an_alert_comes_back)
{
    say("global/day", 0.7, 5);
    np_alerts_update(&table, &facts, NOW, WALL_MS, tell, NULL);
    np_alerts_sent(&table, &table.list[0], "env:A");
    restart();
    const struct np_alert *a = &next.list[0];
    ck_assert_str_eq(a->fact.text, table.list[0].fact.text);
    ck_assert_str_eq(a->fact.subject, "global/day");
    ck_assert_str_eq(a->fact.severity, "page");
    ck_assert_mem_eq(&a->fact.value, &table.list[0].fact.value, sizeof a->fact.value);
    ck_assert_int_eq(a->fact.window_ms, 5);
    ck_assert_int_eq(a->since_wall_ms, WALL_MS);
    ck_assert_str_eq(a->sent_to, "env:A\n");
    ck_assert_str_eq(a->over_to, "");
}
END_TEST

START_TEST(who_knows_that_it_is_over_is_noted_apart)
{
    say("global/day", 0.7, 5);
    np_alerts_update(&table, &facts, NOW, WALL_MS, tell, NULL);
    struct np_alert fires = table.list[0], over = fires;
    over.resolved_wall_ms = 1;
    np_alerts_sent(&table, &fires, "env:AB");
    np_alerts_sent(&table, &fires, "env:A");
    np_alerts_sent(&table, &fires, "env:A");
    np_alerts_sent(&table, &over, "env:A");
    ck_assert_str_eq(table.list[0].sent_to, "env:AB\nenv:A\n");
    ck_assert_str_eq(table.list[0].over_to, "env:A\n");
}
END_TEST

/* As many sinks as a set may name, their labels as long as paths may be and the same but for one letter. */
START_TEST(after_a_restart_each_of_sixteen_sinks_with_long_labels_has_it_still)
{
    char label[300];
    say("global/day", 0.7, 5);
    np_alerts_update(&table, &facts, NOW, WALL_MS, tell, NULL);
    struct np_alert over = table.list[0];
    over.resolved_wall_ms = 1;
    for (int i = 0; i < 16; i++) {
        memset(label, 'x', sizeof label - 1);
        label[sizeof label - 1] = '\0';
        label[150] = (char)('a' + i);
        np_alerts_sent(&table, &table.list[0], label);
        np_alerts_sent(&table, &over, label);
    }
    restart();
    for (int i = 0; i < 17; i++) {
        label[150] = (char)('a' + i);
        ck_assert_int_eq(np_label_in(next.list[0].sent_to, label), i < 16);
        ck_assert_int_eq(np_label_in(next.list[0].over_to, label), i < 16);
    }
}
END_TEST

START_TEST(of_a_full_list_the_oldest_label_goes)
{
    char list[NP_LABELS_BYTES] = "", label[NP_LABEL_BYTES];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(label, sizeof label, "env:%035d", i);
        ck_assert(np_label_add(list, sizeof list, label));
        ck_assert(!np_label_add(list, sizeof list, label));
    }
    for (int i = 0; i < 20; i++) {
        (void)snprintf(label, sizeof label, "env:%035d", i);
        ck_assert_int_eq(np_label_in(list, label), i >= 3);
    }
}
END_TEST

START_TEST(what_is_no_alert_is_passed_over)
{
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs("neap-alerts 1\nno json\n[]\n{}\n"
                           "{\"alert\":\"x\",\"severity\":\"page\",\"since\":0,\"resolved\":0}\n"
                           "{\"alert\":\"x\",\"severity\":\"page\",\"since\":7,\"resolved\":0}\n"
                           "{\"alert\":\"cut",
                           f),
                     0);
    ck_assert_int_eq(fclose(f), 0);
    np_alertkeep_load(path, &next, NOW);
    ck_assert_uint_eq(next.n, 1);
    ck_assert_int_eq(next.list[0].since_wall_ms, 7);
}
END_TEST

START_TEST(the_file_is_its_owners_alone)
{
    struct stat st;
    ck_assert_int_eq(np_alertkeep_save(path, &table), NP_OK);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("alertkeep");
    TCase *c = tcase_create("alertkeep");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(
        c, what_fires_after_a_restart_is_not_told_again_and_what_does_not_is_over_after_a_minute);
    tcase_add_test(c, all_of_an_alert_comes_back);
    tcase_add_test(c, who_knows_that_it_is_over_is_noted_apart);
    tcase_add_test(c, after_a_restart_each_of_sixteen_sinks_with_long_labels_has_it_still);
    tcase_add_test(c, of_a_full_list_the_oldest_label_goes);
    tcase_add_test(c, what_is_no_alert_is_passed_over);
    tcase_add_test(c, the_file_is_its_owners_alone);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
