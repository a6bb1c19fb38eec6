/* ~/.inputrc for libedit: of readline's file, what most people have in theirs. */
#include "cli/repl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 512

/* readline's functions and libedit's. */
static const char *const functions[][2] = {
    {"history-search-backward", "ed-search-prev-history"},
    {"history-search-forward", "ed-search-next-history"},
    {"history-substring-search-backward", "ed-search-prev-history"},
    {"history-substring-search-forward", "ed-search-next-history"},
    {"previous-history", "ed-prev-history"},
    {"next-history", "ed-next-history"},
    {"beginning-of-line", "ed-move-to-beg"},
    {"end-of-line", "ed-move-to-end"},
    {"forward-word", "em-next-word"},
    {"backward-word", "ed-prev-word"},
    {"forward-char", "ed-next-char"},
    {"backward-char", "ed-prev-char"},
    {"kill-line", "ed-kill-line"},
    {"kill-whole-line", "em-kill-line"},
    {"unix-line-discard", "em-kill-line"},
    {"kill-word", "em-delete-next-word"},
    {"backward-kill-word", "ed-delete-prev-word"},
    {"unix-word-rubout", "ed-delete-prev-word"},
    {"delete-char", "ed-delete-next-char"},
    {"backward-delete-char", "em-delete-prev-char"},
    {"yank", "em-yank"},
    {"transpose-chars", "ed-transpose-chars"},
    {"clear-screen", "ed-clear-screen"},
    {"reverse-search-history", "em-inc-search-prev"},
    {"forward-search-history", "em-inc-search-next"},
    {"complete", "neap-complete"},
};

struct reading {
    void (*mode)(void *ctx, const char *editor);
    void (*bind)(void *ctx, const char *key, const char *function);
    void *ctx;
};

/* "\e[A" and "\C-x" as libedit writes them: ^[[A, ^X. False: the key is not understood. */
static bool translate(const char *from, size_t n, char key[64])
{
    size_t at = 0;
    for (size_t i = 0; i < n && at + 3 < 64; i++) {
        if (from[i] != '\\') {
            if (from[i] == '^')
                key[at++] = '\\';
            key[at++] = from[i];
        } else if (i + 1 < n && from[i + 1] == 'e') {
            key[at++] = '^';
            key[at++] = '[';
            i++;
        } else if (i + 3 < n && from[i + 1] == 'C' && from[i + 2] == '-') {
            char c = from[i + 3];
            key[at++] = '^';
            key[at++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
            i += 3;
        } else {
            return false;
        }
    }
    key[at] = '\0';
    return at > 0;
}

/* "KEY": function */
static void read_key(const struct reading *r, char *line)
{
    char key[64], name[64];
    char *end = strchr(line + 1, '"');
    if (!end || sscanf(end + 1, " : %63[a-z-]", name) != 1 ||
        !translate(line + 1, (size_t)(end - line - 1), key))
        return;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcmp(functions[i][0], name) == 0)
            r->bind(r->ctx, key, functions[i][1]);
    }
}

/* Parts for certain programs or modes ($if … $endif) are passed over. */
static void read_lines(const struct reading *r, FILE *f)
{
    char line[LINE_BYTES], word[64];
    int inside = 0;
    while (fgets(line, sizeof line, f)) {
        char *p = line + strspn(line, " \t");
        if (strncmp(p, "$if", 3) == 0)
            inside++;
        else if (strncmp(p, "$endif", 6) == 0)
            inside -= inside > 0;
        else if (inside == 0 && sscanf(p, "set editing-mode %63s", word) == 1)
            r->mode(r->ctx, strcmp(word, "vi") == 0 ? "vi" : "emacs");
        else if (inside == 0 && *p == '"')
            read_key(r, p);
    }
}

void np_inputrc_read(void (*mode)(void *ctx, const char *editor),
                     void (*bind)(void *ctx, const char *key, const char *function), void *ctx)
{
    const struct reading r = {mode, bind, ctx};
    const char *own = getenv("INPUTRC"), *home = getenv("HOME");
    char path[4096];
    int n = own && own[0] ? snprintf(path, sizeof path, "%s", own)
                          : snprintf(path, sizeof path, "%s/.inputrc", home ? home : "");
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "r") : NULL;
    if (!f)
        return;
    read_lines(&r, f);
    (void)fclose(f);
}
