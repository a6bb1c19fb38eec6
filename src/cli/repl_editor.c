/* Lines from a terminal, by libedit. What libedit lacks is here: pastes that are taken literally,
 * completion in columns, Ctrl-C that drops the line. */
#include "cli/repl.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_ENTRIES 2000
#define PASTE_MAX ((size_t)1 << 20)
#define PASTE_END "\033[201~"
#define MAX_WORDS 400
#define WORD_BYTES 128

struct np_editor {
    EditLine *el; /* the process's one */
    History *history;
    struct neap_session *session;
    char path[4096]; /* of the history's file; "": none */
    char prompt[64];
    char last[1024]; /* the newest entry, so that none is kept twice in a row */
    bool interrupted;
};

/* It lives as long as the process: el_end loses the names of the functions that were added to it. Out of
 * el_gets the terminal is as it was. */
static EditLine *line_editor;

static struct neap_session *volatile signalled;
static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupts = 1;
    if (signalled)
        neap_session_interrupt(signalled);
}

bool np_editor_interrupted(void)
{
    bool was = interrupts != 0;
    interrupts = 0;
    return was;
}

/* --- keys ------------------------------------------------------------------------------------------ */

/* A byte of the terminal; false at its end and after Ctrl-C. The signal is let in only while it is waited
 * for, so that none is lost just before. */
static bool read_byte(struct np_editor *e, char *c)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    sigset_t interrupt, before;
    int ready = 0;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &interrupt, &before);
    while (!interrupts && (ready = ppoll(&in, 1, NULL, &before)) < 0 && errno == EINTR)
        continue;
    e->interrupted = interrupts != 0;
    ssize_t n = !e->interrupted && ready > 0 ? read(STDIN_FILENO, c, 1) : 0;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return n == 1;
}

/* libedit asks for a letter: 1, 0 at the end. */
static int get_letter(EditLine *el, wchar_t *out)
{
    struct np_editor *e;
    mbstate_t state = {0};
    char c;
    (void)el_get(el, EL_CLIENTDATA, &e);
    for (int i = 0; i < (int)MB_CUR_MAX; i++) {
        if (!read_byte(e, &c))
            return 0;
        size_t n = mbrtowc(out, &c, 1, &state);
        if (n == (size_t)-1)
            break;
        if (n == (size_t)-2)
            continue;
        if (n == 0)
            *out = L'\0';
        return 1;
    }
    *out = L'?';
    return 1;
}

/* What is pasted stands in the line as it came: tabs complete nothing, line ends send nothing. */
static unsigned char paste(EditLine *el, int key)
{
    struct np_editor *e;
    size_t n = 0, end = strlen(PASTE_END);
    char *text = malloc(PASTE_MAX + 1), c;
    (void)key;
    (void)el_get(el, EL_CLIENTDATA, &e);
    while (text && n < PASTE_MAX && read_byte(e, &c)) {
        text[n++] = c == '\r' ? '\n' : c;
        if (n >= end && memcmp(text + n - end, PASTE_END, end) == 0) {
            n -= end;
            break;
        }
    }
    if (text) {
        text[n] = '\0';
        if (n > 0)
            (void)el_insertstr(el, text);
    }
    free(text);
    return CC_REFRESH;
}

/* --- completion ------------------------------------------------------------------------------------ */

struct words {
    size_t n;
    char word[MAX_WORDS][WORD_BYTES];
};

static void take_word(void *ctx, const char *word)
{
    struct words *w = ctx;
    if (w->n < MAX_WORDS && strlen(word) < WORD_BYTES)
        (void)snprintf(w->word[w->n++], WORD_BYTES, "%s", word);
}

/* How much all words have in common. */
static size_t common(const struct words *w)
{
    size_t n = strlen(w->word[0]);
    for (size_t i = 1; i < w->n; i++) {
        size_t same = 0;
        while (same < n && w->word[0][same] == w->word[i][same])
            same++;
        n = same;
    }
    /* Not within a letter. */
    while (n > 0 && ((unsigned char)w->word[0][n] & 0xc0) == 0x80)
        n--;
    return n;
}

static unsigned width_of_terminal(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/* Shows the words in columns; of paths what stands behind their last dot. */
static void list(const struct words *w, bool paths)
{
    size_t widest = 1, skip = 0;
    const char *dot = strrchr(w->word[0], '.');
    if (paths && dot && (size_t)(dot - w->word[0]) < common(w))
        skip = (size_t)(dot - w->word[0]) + 1;
    for (size_t i = 0; i < w->n; i++) {
        size_t n = strlen(w->word[i]) - skip;
        widest = n > widest ? n : widest;
    }
    size_t columns = width_of_terminal() / (widest + 2);
    columns = columns ? columns : 1;
    size_t rows = (w->n + columns - 1) / columns;
    (void)putchar('\n');
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = row; i < w->n; i += rows)
            (void)printf("%-*s", i + rows < w->n ? (int)widest + 2 : 0, w->word[i] + skip);
        (void)putchar('\n');
    }
    (void)fflush(stdout);
}

static unsigned char complete(EditLine *el, int key)
{
    struct np_editor *e;
    const LineInfo *line = el_line(el);
    size_t cursor = (size_t)(line->cursor - line->buffer);
    char *text = strndup(line->buffer, (size_t)(line->lastchar - line->buffer));
    struct words *w = calloc(1, sizeof *w);
    unsigned char result = CC_REFRESH_BEEP;
    (void)key;
    (void)el_get(el, EL_CLIENTDATA, &e);
    if (text && w) {
        size_t from = neap_session_complete(e->session, text, cursor, take_word, w);
        size_t typed = cursor - from, n = w->n ? common(w) : 0;
        if (n > typed) {
            char rest[WORD_BYTES];
            (void)snprintf(rest, sizeof rest, "%.*s", (int)(n - typed), w->word[0] + typed);
            (void)el_insertstr(el, rest);
            result = CC_REFRESH;
        } else if (w->n > 1) {
            list(w, from == 0 || text[from - 1] != '"');
            result = CC_REDISPLAY;
        }
    }
    free(text);
    free(w);
    return result;
}

/* --- life ------------------------------------------------------------------------------------------ */

static char *prompt(EditLine *el)
{
    struct np_editor *e;
    (void)el_get(el, EL_CLIENTDATA, &e);
    return e->prompt;
}

static void load_entry(void *ctx, const char *text)
{
    struct np_editor *e = ctx;
    HistEvent event;
    (void)history(e->history, &event, H_ENTER, text);
    (void)snprintf(e->last, sizeof e->last, "%s", text);
}

static void set_mode(void *ctx, const char *editor)
{
    struct np_editor *e = ctx;
    (void)el_set(e->el, EL_EDITOR, editor);
}

static void bind_key(void *ctx, const char *key, const char *function)
{
    struct np_editor *e = ctx;
    (void)el_set(e->el, EL_BIND, key, function, NULL);
}

static void set_keys(struct np_editor *e)
{
    (void)el_set(e->el, EL_EDITOR, "emacs");
    np_inputrc_read(set_mode, bind_key, e);
    (void)el_set(e->el, EL_ADDFN, "neap-complete", "completes the word", complete);
    (void)el_set(e->el, EL_ADDFN, "neap-paste", "takes a paste as it is", paste);
    (void)el_set(e->el, EL_BIND, "\t", "neap-complete", NULL);
    (void)el_set(e->el, EL_BIND, "\033[200~", "neap-paste", NULL);
    (void)el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    (void)el_source(e->el, NULL);
}

/* Text beyond ASCII needs a locale that knows it, which containers often have not set. */
static void set_locale(void)
{
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
        (void)setlocale(LC_CTYPE, "C.UTF-8");
}

struct np_editor *np_editor_new(struct neap_session *session)
{
    HistEvent event;
    struct np_editor *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    set_locale();
    e->session = session;
    if (!line_editor)
        line_editor = el_init("neap", stdin, stdout, stderr);
    e->el = line_editor;
    e->history = history_init();
    if (!e->el || !e->history) {
        np_editor_free(e);
        return NULL;
    }
    (void)history(e->history, &event, H_SETSIZE, HISTORY_ENTRIES);
    (void)el_set(e->el, EL_CLIENTDATA, e);
    (void)el_set(e->el, EL_PROMPT_ESC, prompt, '\1');
    (void)el_set(e->el, EL_SIGNAL, 0);
    (void)el_set(e->el, EL_GETCFN, get_letter);
    (void)el_set(e->el, EL_HIST, history, e->history);
    set_keys(e);
    np_history_path(e->path, sizeof e->path);
    np_history_read(e->path, load_entry, e);
    signalled = session;
    struct sigaction action = {.sa_handler = on_interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    return e;
}

void np_editor_free(struct np_editor *e)
{
    if (!e)
        return;
    signalled = NULL;
    if (e->history)
        history_end(e->history);
    free(e);
}

void np_editor_remember(struct np_editor *e, const char *text)
{
    if (!text[0] || strcmp(text, e->last) == 0)
        return;
    load_entry(e, text);
    /* As in shells: a blank before it, and it is kept for this session alone. */
    if (text[0] != ' ')
        np_history_append(e->path, text);
}

enum np_editor_end np_editor_read(struct np_editor *e, const char *shown, char **text)
{
    int n = 0;
    interrupts = 0;
    e->interrupted = false;
    (void)snprintf(e->prompt, sizeof e->prompt, "%s", shown);
    (void)fputs("\033[?2004h", stdout);
    (void)fflush(stdout);
    el_resize(e->el);
    const char *line = el_gets(e->el, &n);
    (void)fputs("\033[?2004l", stdout);
    if (e->interrupted)
        (void)fputs("^C\n", stdout);
    else if (!line || n <= 0)
        (void)fputs("\n", stdout);
    (void)fflush(stdout);
    if (e->interrupted) {
        el_reset(e->el);
        return NP_EDITOR_INTERRUPTED;
    }
    if (!line || n <= 0)
        return NP_EDITOR_CLOSED;
    *text = strndup(line, (size_t)n);
    if (*text && n > 0 && (*text)[n - 1] == '\n')
        (*text)[n - 1] = '\0';
    return *text ? NP_EDITOR_LINE : NP_EDITOR_CLOSED;
}
