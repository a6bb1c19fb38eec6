/* What is seen of a policy folder's changes, and what is not its business. */
#include "engine/folder.h"

#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOON_MS 3000

/* A folder of its own, entered: names below are relative to it. */
static char top[64];
static struct np_folder *folder;

static void open_top(void)
{
    (void)snprintf(top, sizeof top, "/tmp/neap-folder-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    ck_assert_int_eq(chdir(top), 0);
}

static void close_top(void)
{
    char command[128];
    np_folder_free(folder);
    folder = NULL;
    ck_assert_int_eq(chdir("/"), 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", top);
    ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void append(const char *name, const char *text)
{
    FILE *f = fopen(name, "a");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void make_folder(const char *name)
{
    ck_assert_int_eq(mkdir(name, 0700), 0);
}

static void make_link(const char *target, const char *name)
{
    ck_assert_int_eq(symlink(target, name), 0);
}

/* As kubelet and deploy tools do it: a new link is put in the place of the old one. */
static void swap_link(const char *target, const char *name)
{
    make_link(target, ".next");
    ck_assert_int_eq(rename(".next", name), 0);
}

static void watch(const char *path)
{
    folder = np_folder_new(path);
    ck_assert_ptr_nonnull(folder);
    ck_assert_int_ge(np_folder_fd(folder), 0);
    np_folder_watch(folder);
}

/* Whether an event that concerns the folder comes. */
static bool is_seen(int wait_ms)
{
    struct pollfd p = {np_folder_fd(folder), POLLIN, 0};
    while (poll(&p, 1, wait_ms) > 0) {
        if (np_folder_read(folder))
            return true;
    }
    return false;
}

/* Whether the kernel tells anything of this name. */
static bool is_told_of(const char *name, int wait_ms)
{
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    struct pollfd p = {np_folder_fd(folder), POLLIN, 0};
    while (poll(&p, 1, wait_ms) > 0) {
        ssize_t n = read(p.fd, buf, sizeof buf);
        for (const char *at = buf; at < buf + n;) {
            const struct inotify_event *e = (const void *)at;
            if (e->len > 0 && strcmp(e->name, name) == 0)
                return true;
            at += sizeof *e + e->len;
        }
    }
    return false;
}

static void assert_seen(void)
{
    ck_assert(is_seen(SOON_MS));
    np_folder_watch(folder);
    while (is_seen(0)) {
    }
}

START_TEST(files_that_are_written_renamed_or_deleted_are_seen)
{
    open_top();
    make_folder("p");
    make_folder("p/lib");
    write_file("p/route.lua", "1");
    watch("p");
    write_file("p/route.lua", "2");
    assert_seen();
    write_file("p/.next", "3");
    ck_assert_int_eq(rename("p/.next", "p/route.lua"), 0);
    assert_seen();
    ck_assert_int_eq(chmod("p/route.lua", 0640), 0);
    assert_seen();
    write_file("p/lib/a.lua", "1");
    assert_seen();
    ck_assert_int_eq(unlink("p/lib/a.lua"), 0);
    assert_seen();
    make_folder("p/templates");
    assert_seen();
    write_file("p/templates/budget.txt", "1");
    assert_seen();
    close_top();
}
END_TEST

START_TEST(what_happens_beside_the_way_is_not_seen)
{
    open_top();
    make_folder("p");
    make_folder("q");
    write_file("p/route.lua", "1");
    watch("p");
    write_file("other", "1");
    write_file("q/route.lua", "1");
    ck_assert_int_eq(rename("q", "r"), 0);
    ck_assert(!is_seen(50));
    write_file("p/route.lua", "2");
    assert_seen();
    close_top();
}
END_TEST

/* The log, the records and the store lie beside the policies, where nothing else is said. */
START_TEST(what_is_written_beside_the_way_wakes_nobody)
{
    open_top();
    make_folder("p");
    write_file("p/route.lua", "1");
    write_file("log", "1");
    watch("p");
    append("log", "a line");
    ck_assert(!is_told_of("log", 50));
    ck_assert_int_eq(rename("log", "log.1"), 0);
    ck_assert(is_told_of("log.1", SOON_MS));
    close_top();
}
END_TEST

START_TEST(a_file_on_the_way_that_a_link_of_the_set_leads_to_is_seen_when_it_is_written)
{
    open_top();
    make_folder("p");
    write_file("shared.lua", "1");
    make_link("../shared.lua", "p/route.lua");
    watch("p");
    for (int i = 0; i < 2; i++) {
        append("shared.lua", "2");
        assert_seen();
    }
    close_top();
}
END_TEST

START_TEST(a_folder_that_is_a_link_is_seen_when_the_link_is_swapped)
{
    open_top();
    make_folder("v1");
    make_folder("v2");
    write_file("v1/route.lua", "1");
    write_file("v2/route.lua", "22");
    make_link("v1", "current");
    watch("current");
    uint64_t print = np_folder_print(folder);
    swap_link("v2", "current");
    assert_seen();
    ck_assert_uint_ne(np_folder_print(folder), print);
    write_file("v2/route.lua", "333");
    assert_seen();
    /* What it led to before is nobody's business any more. */
    write_file("v1/route.lua", "4444");
    ck_assert(!is_seen(50));
    close_top();
}
END_TEST

START_TEST(a_link_or_a_rename_higher_up_is_seen)
{
    open_top();
    make_folder("r1");
    make_folder("r1/etc");
    make_folder("r2");
    make_folder("r2/etc");
    write_file("r1/etc/route.lua", "1");
    write_file("r2/etc/route.lua", "22");
    make_folder("links");
    make_link("../r1", "links/app");
    watch("links/app/etc");
    swap_link("../r2", "links/app");
    assert_seen();
    write_file("r2/etc/route.lua", "333");
    assert_seen();
    ck_assert_int_eq(rename("r2", "r3"), 0);
    assert_seen();
    ck_assert_uint_eq(np_folder_print(folder), 0);
    ck_assert_int_eq(rename("r3", "r2"), 0);
    assert_seen();
    ck_assert_uint_ne(np_folder_print(folder), 0);
    close_top();
}
END_TEST

START_TEST(a_mounted_configmap_is_seen_when_its_inner_link_is_swapped)
{
    open_top();
    make_folder("p");
    make_folder("p/..1");
    make_folder("p/..2");
    write_file("p/..1/route.lua", "1");
    write_file("p/..2/route.lua", "22");
    make_link("..1", "p/..data");
    make_link("..data/route.lua", "p/route.lua");
    watch("p");
    uint64_t print = np_folder_print(folder);
    ck_assert_int_eq(chdir("p"), 0);
    swap_link("..2", "..data");
    ck_assert_int_eq(chdir(".."), 0);
    assert_seen();
    ck_assert_uint_ne(np_folder_print(folder), print);
    write_file("p/..2/route.lua", "333");
    assert_seen();
    close_top();
}
END_TEST

START_TEST(a_folder_that_is_deleted_and_made_again_is_seen)
{
    open_top();
    make_folder("p");
    watch("p");
    ck_assert_int_eq(rmdir("p"), 0);
    assert_seen();
    ck_assert_uint_eq(np_folder_print(folder), 0);
    make_folder("p");
    assert_seen();
    write_file("p/route.lua", "1");
    assert_seen();
    ck_assert_uint_ne(np_folder_print(folder), 0);
    close_top();
}
END_TEST

START_TEST(the_print_tells_what_events_would_tell)
{
    open_top();
    make_folder("p");
    make_folder("p/lib");
    write_file("p/route.lua", "1");
    watch("p");
    uint64_t print[5];
    print[0] = np_folder_print(folder);
    ck_assert_uint_eq(np_folder_print(folder), print[0]);
    write_file("p/.route.lua.swp", "1");
    ck_assert_uint_eq(np_folder_print(folder), print[0]);
    write_file("p/route.lua", "22");
    print[1] = np_folder_print(folder);
    write_file("p/lib/a.lua", "1");
    print[2] = np_folder_print(folder);
    ck_assert_int_eq(chmod("p/route.lua", 0604), 0);
    print[3] = np_folder_print(folder);
    ck_assert_int_eq(unlink("p/lib/a.lua"), 0);
    print[4] = np_folder_print(folder);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(print[i], print[j]);
    }
    close_top();
}
END_TEST

START_TEST(links_in_a_circle_and_more_folders_than_watches_end)
{
    open_top();
    make_link("b", "a");
    make_link("a", "b");
    watch("a/p");
    ck_assert_uint_eq(np_folder_print(folder), 0);
    np_folder_free(folder);
    make_folder("p");
    for (int i = 0; i < 400; i++) {
        char name[64], target[64];
        (void)snprintf(name, sizeof name, "p/..%d", i);
        make_folder(name);
        (void)snprintf(target, sizeof target, "p/..%d/f.lua", i);
        write_file(target, "1");
        (void)snprintf(target, sizeof target, "..%d/f.lua", i);
        (void)snprintf(name, sizeof name, "p/f%d.lua", i);
        make_link(target, name);
    }
    watch("p");
    write_file("p/route.lua", "1");
    assert_seen();
    close_top();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("folder");
    TCase *tc = tcase_create("folder");
    tcase_add_test(tc, files_that_are_written_renamed_or_deleted_are_seen);
    tcase_add_test(tc, what_happens_beside_the_way_is_not_seen);
    tcase_add_test(tc, what_is_written_beside_the_way_wakes_nobody);
    tcase_add_test(tc,
                   a_file_on_the_way_that_a_link_of_the_set_leads_to_is_seen_when_it_is_written);
    tcase_add_test(tc, a_folder_that_is_a_link_is_seen_when_the_link_is_swapped);
    tcase_add_test(tc, a_link_or_a_rename_higher_up_is_seen);
    tcase_add_test(tc, a_mounted_configmap_is_seen_when_its_inner_link_is_swapped);
    tcase_add_test(tc, a_folder_that_is_deleted_and_made_again_is_seen);
    tcase_add_test(tc, the_print_tells_what_events_would_tell);
    tcase_add_test(tc, links_in_a_circle_and_more_folders_than_watches_end);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
