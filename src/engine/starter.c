/* What the command line writes into a folder of policies: a set to begin with, and types for editors.
 * The files of the set are those of lua/neap/starter/, which the build put into the binary. */
#include <neap/neap.h>

#include "base/buf.h"
#include "base/span.h"
#include "script/embedded.h"
#include "script/words.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_BYTES ((size_t)1 << 20)
#define STARTER "neap/starter/"

/* Where it goes and what came of it. */
struct place {
    const char *dir;
    char *why; /* NEAP_WHY */
    char path[PATH_MAX];
    unsigned written;
};

static enum neap_status cannot(struct place *p, const char *what)
{
    (void)snprintf(p->why, NEAP_WHY, "%s can't be %s: %s", p->path, what, strerror(errno));
    return NEAP_FAILED;
}

/* Makes p->path the path of a file of the folder. */
static enum neap_status go_to(struct place *p, const char *name)
{
    int n = snprintf(p->path, sizeof p->path, "%s/%s", p->dir, name);
    if (n > 0 && (size_t)n < sizeof p->path)
        return NEAP_GOOD;
    (void)snprintf(p->why, NEAP_WHY, "the path is too long: %s", p->dir);
    return NEAP_USAGE;
}

/* The folder at p->path, unless it is there. */
static enum neap_status make_folder(struct place *p)
{
    struct stat st;
    if (mkdir(p->path, 0755) == 0 ||
        (errno == EEXIST && stat(p->path, &st) == 0 && S_ISDIR(st.st_mode)))
        return NEAP_GOOD;
    return cannot(p, "made");
}

static bool put_all(int fd, struct np_span text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            text = np_span_make(text.p + n, text.n - (size_t)n);
    }
    return true;
}

/* Writes the file at p->path; replace: what stands there goes, in one step. */
static enum neap_status put_file(struct place *p, struct np_span text, bool replace)
{
    char temporary[PATH_MAX + 8];
    const char *path = p->path;
    if (replace) {
        (void)snprintf(temporary, sizeof temporary, "%s.tmp", p->path);
        (void)unlink(temporary);
        path = temporary;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return cannot(p, "written");
    bool good = put_all(fd, text);
    good = close(fd) == 0 && good;
    if (good && replace)
        good = rename(temporary, p->path) == 0;
    if (!good) {
        enum neap_status status = cannot(p, "written");
        (void)unlink(path);
        return status;
    }
    p->written++;
    return NEAP_GOOD;
}

/* --- types ----------------------------------------------------------------------------------------- */

static enum neap_status make_text(struct place *p, enum np_words_file file, struct np_buf *out)
{
    struct np_words *words = np_words_new();
    enum np_err err = words ? np_words_write(words, file, out) : NP_E_NOMEM;
    np_words_free(words);
    if (!err)
        return NEAP_GOOD;
    (void)snprintf(p->why, NEAP_WHY, "the types can't be made: %s", np_err_text(err));
    return NEAP_FAILED;
}

static enum neap_status put_made(struct place *p, const char *name, enum np_words_file file,
                                 bool replace)
{
    struct np_buf text;
    np_buf_init(&text, TEXT_BYTES);
    enum neap_status status = make_text(p, file, &text);
    if (!status)
        status = go_to(p, name);
    if (!status)
        status = put_file(p, np_buf_view(&text), replace);
    np_buf_free(&text);
    return status;
}

static bool is_there(const struct place *p)
{
    struct stat st;
    return lstat(p->path, &st) == 0;
}

/* kept: there were settings, which stay as they are. */
static enum neap_status put_types(struct place *p, bool *kept)
{
    enum neap_status status = go_to(p, ".neap");
    if (!status)
        status = make_folder(p);
    if (!status)
        status = put_made(p, ".neap/neap.lua", NP_WORDS_TYPES, true);
    if (!status)
        status = go_to(p, ".luarc.json");
    if (status)
        return status;
    *kept = is_there(p);
    return *kept ? NEAP_GOOD : put_made(p, ".luarc.json", NP_WORDS_SETTINGS, false);
}

enum neap_status neap_types(const char *dir, char **out, char why[NEAP_WHY])
{
    struct place p = {.dir = dir, .why = why};
    struct stat st;
    bool kept = false;
    *out = NULL;
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        (void)snprintf(why, NEAP_WHY, "there is no folder %s; neap init %s makes one", dir, dir);
        return NEAP_FAILED;
    }
    enum neap_status status = put_types(&p, &kept);
    if (status)
        return status;
    if (asprintf(out, "wrote %s/.neap/neap.lua%s\n", dir,
                 kept ? " (.luarc.json was there and stays as it is)" : " and .luarc.json") < 0)
        *out = NULL;
    return NEAP_GOOD;
}

/* --- init ------------------------------------------------------------------------------------------ */

/* The name in the set of a file of the binary; NULL: it is none of the starter's. */
static const char *starter_name(const struct np_embedded_file *file)
{
    return strncmp(file->name, STARTER, strlen(STARTER)) == 0 ? file->name + strlen(STARTER) : NULL;
}

/* Says which files are in the way; nothing is written then. */
static enum neap_status look(struct place *p)
{
    size_t n = 0;
    for (size_t i = 0; i < np_embedded_count; i++) {
        const char *name = starter_name(&np_embedded_files[i]);
        enum neap_status status = name ? go_to(p, name) : NEAP_GOOD;
        if (status)
            return status;
        if (!name || !is_there(p))
            continue;
        int m =
            snprintf(p->why + n, NEAP_WHY - n, "%s%s is in the way\n", n ? "    " : "", p->path);
        n += m > 0 && n + (size_t)m < NEAP_WHY ? (size_t)m : 0;
    }
    if (n == 0)
        return NEAP_GOOD;
    (void)snprintf(p->why + n, NEAP_WHY - n,
                   "    nothing was written; give another folder: neap init DIR");
    return NEAP_NO;
}

static enum neap_status put_starter(struct place *p)
{
    for (size_t i = 0; i < np_embedded_count; i++) {
        const struct np_embedded_file *file = &np_embedded_files[i];
        const char *name = starter_name(file);
        enum neap_status status = name ? go_to(p, name) : NEAP_GOOD;
        if (!status && name)
            status = put_file(p, np_span_make((const char *)file->bytes, file->size), false);
        if (status)
            return status;
    }
    return NEAP_GOOD;
}

/* "    neap check DIR          what is wrong, by file and line" */
static void tell_step(struct np_buf *b, const char *before, const char *dir, const char *after,
                      const char *what)
{
    size_t from = b->n;
    (void)np_buf_printf(b, "    neap %s%s%s", before, dir, after);
    (void)np_buf_printf(b, "%*s  %s\n", (int)(strlen(dir) + 40 - (b->n - from)), "", what);
}

static void tell_next(const struct place *p, char **out)
{
    struct np_buf b;
    np_buf_init(&b, TEXT_BYTES);
    (void)np_buf_printf(&b, "wrote %u files into %s\n\nnext:\n", p->written, p->dir);
    tell_step(&b, "check ", p->dir, "", "what is wrong, by file and line");
    tell_step(&b, "test ", p->dir, " -v", "its tests: the real engine, virtual time");
    tell_step(&b, "serve --policies ", p->dir, " --simulate",
              "imitation providers: no key is needed");
    tell_step(&b, "serve --policies ", p->dir, "", "with OPENAI_API_KEY and ANTHROPIC_API_KEY set");
    (void)np_buf_printf(&b, "\n%s/README.md says what each file decides; begin with route.lua.\n",
                        p->dir);
    *out = strndup(b.n ? b.p : "", b.n);
    np_buf_free(&b);
}

enum neap_status neap_init(const char *dir, char **out, char why[NEAP_WHY])
{
    struct place p = {.dir = dir, .why = why};
    bool kept = false;
    *out = NULL;
    enum neap_status status = look(&p);
    if (status)
        return status;
    (void)snprintf(p.path, sizeof p.path, "%s", dir);
    status = make_folder(&p);
    if (!status)
        status = go_to(&p, "templates");
    if (!status)
        status = make_folder(&p);
    if (!status)
        status = put_starter(&p);
    if (!status)
        status = put_types(&p, &kept);
    if (!status)
        tell_next(&p, out);
    return status;
}
