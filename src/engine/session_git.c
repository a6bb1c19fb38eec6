/* A folder as it was at a commit, by git. */
#include "engine/session_records.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define LINE_BYTES 4096

/* Runs git without a shell. The first line of what it says goes to out (may be NULL). */
static bool run_git(const char *const *arguments, const char *index, char *out)
{
    posix_spawn_file_actions_t actions;
    char *argv[16] = {(char *)(uintptr_t) "git"};
    int fds[2], status = -1;
    size_t n = 1;
    for (; *arguments && n < 15; arguments++)
        argv[n++] = (char *)(uintptr_t)*arguments;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    if (index)
        (void)setenv("GIT_INDEX_FILE", index, 1);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int error = posix_spawnp(&child, "git", &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (index)
        (void)unsetenv("GIT_INDEX_FILE");
    (void)close(fds[1]);
    FILE *f = fdopen(fds[0], "r");
    char line[LINE_BYTES] = "";
    if (f && fgets(line, sizeof line, f))
        line[strcspn(line, "\n")] = '\0';
    if (f)
        (void)fclose(f);
    if (out)
        (void)snprintf(out, LINE_BYTES, "%s", line);
    while (!error && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return !error && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#define GIT(index, out, ...) run_git((const char *const[]){__VA_ARGS__, NULL}, index, out)

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void np_session_git_drop(char *folder)
{
    if (folder)
        (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

/* Writes a tree into the folder. */
static bool check_out(const char *repository, const char *tree, const char *folder)
{
    char index[LINE_BYTES + 32], prefix[LINE_BYTES + 32], git_dir[LINE_BYTES + 32],
        work_tree[LINE_BYTES + 32];
    (void)snprintf(index, sizeof index, "%s/.index", folder);
    (void)snprintf(prefix, sizeof prefix, "--prefix=%s/", folder);
    (void)snprintf(git_dir, sizeof git_dir, "--git-dir=%s", repository);
    (void)snprintf(work_tree, sizeof work_tree, "--work-tree=%s", folder);
    return GIT(index, NULL, git_dir, work_tree, "read-tree", tree) &&
           GIT(index, NULL, git_dir, work_tree, "checkout-index", "-a", "-q", prefix);
}

char *np_session_git_folder(struct neap_session *s, const char *dir, const char *revision)
{
    char repository[LINE_BYTES], tree[LINE_BYTES], wanted[512];
    const char *base = getenv("TMPDIR");
    if (revision[0] == '-' ||
        !GIT(NULL, repository, "-C", dir, "rev-parse", "--absolute-git-dir")) {
        (void)np_session_fail(s, "%s is no folder, and %s is in no repository of git", revision,
                              dir);
        return NULL;
    }
    (void)snprintf(wanted, sizeof wanted, "%s:./", revision);
    if (!GIT(NULL, tree, "-C", dir, "rev-parse", "--verify", "-q", wanted)) {
        (void)np_session_fail(s, "git knows no %s of %s: .diff HEAD~1, or a folder", revision, dir);
        return NULL;
    }
    char folder[LINE_BYTES];
    (void)snprintf(folder, sizeof folder, "%s/neap-XXXXXX", base && base[0] == '/' ? base : "/tmp");
    char *made = mkdtemp(folder) ? np_session_copy(np_span_of(folder)) : NULL;
    if (made && check_out(repository, tree, made))
        return made;
    (void)np_session_fail(s, "git could not write %s", revision);
    np_session_git_drop(made);
    return NULL;
}
