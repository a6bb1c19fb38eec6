/* A session without a terminal: what lines give back, completion, being interrupted, being held. */
#include <neap/neap.h>

#include "engine/simkit.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct talk {
    struct kit kit;
    struct neap_session *session;
    char said[65536], problems[65536], words[4096];
    const char *answers[8]; /* for the stepper */
    size_t n_answers, asked;
    bool interrupt; /* while the stepper asks */
};

static void append(char *to, size_t size, const char *text)
{
    size_t n = strlen(to);
    (void)snprintf(to + n, size - n, "%s", text);
}

static void say(void *ctx, const char *text, bool problem)
{
    struct talk *t = ctx;
    append(problem ? t->problems : t->said, sizeof t->said, text);
}

static char *ask(void *ctx, const char *prompt)
{
    struct talk *t = ctx;
    append(t->said, sizeof t->said, prompt);
    if (t->interrupt)
        neap_session_interrupt(t->session);
    return t->asked < t->n_answers ? strdup(t->answers[t->asked++]) : NULL;
}

static void begin(struct talk *t)
{
    static char why[NEAP_WHY];
    *t = (struct talk){.asked = 0};
    kit_new(&t->kit);
    kit_file(&t->kit, "route.lua",
             "return function(req)\n  local first = 'small'\n  return { first, 'big' }\nend\n");
    struct neap_session_options options = {.dir = t->kit.dir, .say = say, .ask = ask, .ctx = t};
    kit_start(&t->kit);
    ck_assert_msg(neap_session_new(&options, &t->session, why) == NEAP_GOOD, "%s", why);
}

static void end(struct talk *t)
{
    neap_session_free(t->session);
    kit_free(&t->kit);
}

static enum neap_line line(struct talk *t, const char *text)
{
    t->said[0] = t->problems[0] = '\0';
    return neap_session_line(t->session, text);
}

static void says(struct talk *t, const char *text, const char *wanted)
{
    ck_assert_int_eq(line(t, text), NEAP_LINE_GOOD);
    ck_assert_str_eq(t->said, wanted);
}

START_TEST(a_line_is_good_unfinished_or_failed_and_quit_leaves)
{
    struct talk t;
    begin(&t);
    says(&t, "1 + 1", "2\n");
    says(&t, "  ", "");
    ck_assert_int_eq(line(&t, "for i = 1, 2 do"), NEAP_LINE_MORE);
    ck_assert_int_eq(line(&t, "for i = 1, 2 do\nprint(i)\nend"), NEAP_LINE_GOOD);
    ck_assert_str_eq(t.said, "1\n2\n");
    ck_assert_int_eq(line(&t, ".load {prompt = \"hi\","), NEAP_LINE_MORE);
    ck_assert_int_eq(line(&t, "1 +* 1"), NEAP_LINE_FAILED);
    ck_assert_str_ne(t.problems, "");
    ck_assert_int_eq(line(&t, ".quit"), NEAP_LINE_LEAVE);
    end(&t);
}
END_TEST

static void take_word(void *ctx, const char *word)
{
    struct talk *t = ctx;
    append(t->words, sizeof t->words, word);
    append(t->words, sizeof t->words, " ");
}

START_TEST(words_complete_by_what_is_there_now)
{
    static const struct {
        const char *typed;
        size_t from;
        const char *words;
    } cases[] = {{".loa", 0, ".load "},
                 {".mock sm", 6, "small "},
                 {"breaker.state(\"b", 15, "big "},
                 {"x = req.temp", 4, "req.temperature "},
                 {"hooks.r", 0, "hooks.route "},
                 {"fruit.ap", 0, "fruit.apple fruit.apricot "},
                 {"nothing.is", 0, ""},
                 {".doc stats.p", 5, "stats.p95 "}};
    struct talk t;
    begin(&t);
    says(&t, "fruit = { apple = 1, apricot = 2, pear = 3 }", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        t.words[0] = '\0';
        size_t from =
            neap_session_complete(t.session, cases[i].typed, strlen(cases[i].typed), take_word, &t);
        ck_assert_str_eq(t.words, cases[i].words);
        ck_assert_msg(cases[i].words[0] == '\0' || from == cases[i].from, "%s: %zu", cases[i].typed,
                      from);
    }
    end(&t);
}
END_TEST

static void *interrupt_soon(void *arg)
{
    struct talk *t = arg;
    (void)usleep(20000);
    neap_session_interrupt(t->session);
    return NULL;
}

START_TEST(an_interrupt_ends_the_line_that_runs_and_no_other)
{
    struct talk t;
    pthread_t thread;
    begin(&t);
    /* A turn of the loop is few steps, and much work: all of them would take minutes. */
    says(&t, "s = ('x'):rep(1500000)", "");
    says(&t, "t = ('x'):rep(1499999) .. 'y'", "");
    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_soon, &t), 0);
    ck_assert_int_eq(line(&t, "for i = 1, 1e6 do local less = s < t end"), NEAP_LINE_FAILED);
    (void)pthread_join(thread, NULL);
    ck_assert_msg(strstr(t.problems, "Ctrl-C"), "%s", t.problems);
    says(&t, "2", "2\n");
    end(&t);
}
END_TEST

START_TEST(a_held_run_obeys_and_shows_what_its_locals_are)
{
    struct talk t;
    begin(&t);
    t.answers[0] = "n";
    t.answers[1] = "p first .. '!'";
    t.answers[2] = "c";
    t.n_answers = 3;
    ck_assert_int_eq(line(&t, ".step route"), NEAP_LINE_GOOD);
    ck_assert_ptr_nonnull(strstr(t.said, "route.lua:2  "));
    ck_assert_ptr_nonnull(strstr(t.said, "route.lua:3> "));
    ck_assert_ptr_nonnull(strstr(t.said, "\"small!\"\n"));
    ck_assert_ptr_nonnull(strstr(t.said, "ok  small"));
    ck_assert_uint_eq(t.asked, 3);
    end(&t);
}
END_TEST

START_TEST(an_interrupt_of_a_held_run_leaves_the_ground_as_it_was)
{
    struct talk t;
    begin(&t);
    t.interrupt = true;
    ck_assert_int_eq(line(&t, ".step route"), NEAP_LINE_FAILED);
    ck_assert_ptr_nonnull(strstr(t.problems, "Ctrl-C"));
    says(&t, "_", "nil\n");
    end(&t);
}
END_TEST

START_TEST(undoing_and_doing_again_is_the_same_however_often)
{
    struct talk t;
    char first[sizeof t.said];
    begin(&t);
    ck_assert_int_eq(line(&t, ".mock small 500, 429, ok \"Yes.\" in 20ms"), NEAP_LINE_GOOD);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(line(&t, ".run"), NEAP_LINE_GOOD);
    ck_assert_int_eq(line(&t, "_.requestId, _.at, _.costUsd, _.latencyMs"), NEAP_LINE_GOOD);
    memcpy(first, t.said, sizeof first);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(line(&t, ".undo"), NEAP_LINE_GOOD);
        ck_assert_int_eq(line(&t, ".undo"), NEAP_LINE_GOOD);
        ck_assert_int_eq(line(&t, ".run"), NEAP_LINE_GOOD);
        ck_assert_int_eq(line(&t, ".run"), NEAP_LINE_GOOD);
        says(&t, "_.requestId, _.at, _.costUsd, _.latencyMs", first);
    }
    end(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session");
    TCase *c = tcase_create("session");
    tcase_add_test(c, a_line_is_good_unfinished_or_failed_and_quit_leaves);
    tcase_add_test(c, words_complete_by_what_is_there_now);
    tcase_add_test(c, an_interrupt_ends_the_line_that_runs_and_no_other);
    tcase_add_test(c, a_held_run_obeys_and_shows_what_its_locals_are);
    tcase_add_test(c, an_interrupt_of_a_held_run_leaves_the_ground_as_it_was);
    tcase_add_test(c, undoing_and_doing_again_is_the_same_however_often);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
