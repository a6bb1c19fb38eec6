/* Flags and their environment twins. */
#include "cli/cli.h"

#include "base/span.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FLAGS 32

void np_say(const struct np_command *cmd, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "neap %s: ", cmd->name);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
}

/* Takes a value for a flag; from says where it stood. */
static bool take(const struct np_command *cmd, const struct np_flag *f, const char *from,
                 const char *value)
{
    unsigned long long n;
    switch (f->kind) {
    case NP_FLAG_TEXT:
        *(const char **)f->into = value;
        return true;
    case NP_FLAG_NUMBER:
        if (!np_span_to_u64(np_span_of(value), &n) || n < f->min || n > f->max) {
            np_say(cmd, "%s must be a whole number from %u to %u, got \"%s\"", from, f->min, f->max,
                   value);
            return false;
        }
        *(unsigned *)f->into = (unsigned)n;
        return true;
    default:
        if (strcmp(value, "1") != 0 && strcmp(value, "0") != 0 && strcmp(value, "true") != 0 &&
            strcmp(value, "false") != 0) {
            np_say(cmd, "%s must be 1, 0, true or false, got \"%s\"", from, value);
            return false;
        }
        *(bool *)f->into = value[0] == '1' || value[0] == 't';
        return true;
    }
}

/* "NEAP_LISTEN" of "--listen", of which n bytes are the flag. */
static void name_twin(const char *flag, size_t n, char name[64])
{
    size_t at = 5, from = strspn(flag, "-");
    memcpy(name, "NEAP_", 5);
    for (size_t i = from; i < n && at + 1 < 64; i++)
        name[at++] = flag[i] == '-' ? '_' : (char)toupper((unsigned char)flag[i]);
    name[at] = '\0';
}

static bool read_environment(const struct np_command *cmd, const struct np_flag *flags, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[64];
        name_twin(flags[i].name, strlen(flags[i].name), name);
        const char *value = getenv(name);
        if (value && value[0] && !take(cmd, &flags[i], name, value))
            return false;
    }
    return true;
}

static const struct np_flag *find(const struct np_flag *flags, size_t n, struct np_span name)
{
    for (size_t i = 0; i < n; i++) {
        if (np_span_is(name, flags[i].name))
            return &flags[i];
    }
    return NULL;
}

static void unknown(const struct np_command *cmd, const struct np_flag *flags, size_t n,
                    struct np_span name)
{
    const char *names[MAX_FLAGS];
    for (size_t i = 0; i < n && i < MAX_FLAGS; i++)
        names[i] = flags[i].name;
    const char *guess = np_span_guess(name, names, n < MAX_FLAGS ? n : MAX_FLAGS);
    np_say(cmd, "unknown flag %.*s%s%s%s", (int)name.n, name.p, guess ? ", did you mean " : "",
           guess ? guess : "", guess ? "?" : "");
}

/* Reads one flag at argv[*i], and its value behind it. */
static bool read_flag(const struct np_command *cmd, const struct np_flag *flags, size_t n, int argc,
                      char **argv, int *i)
{
    const char *arg = argv[*i];
    const char *equals = strchr(arg, '=');
    struct np_span name = np_span_make(arg, equals ? (size_t)(equals - arg) : strlen(arg));
    const struct np_flag *f = find(flags, n, name);
    if (!f) {
        unknown(cmd, flags, n, name);
        return false;
    }
    if (f->kind == NP_FLAG_SWITCH && !equals) {
        *(bool *)f->into = true;
        return true;
    }
    if (equals)
        return take(cmd, f, f->name, equals + 1);
    if (*i + 1 >= argc) {
        np_say(cmd, "%s needs a value", f->name);
        return false;
    }
    return take(cmd, f, f->name, argv[++*i]);
}

bool np_flag_given(const char *name, int argc, char **argv)
{
    size_t n = strlen(name);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], name, n) == 0 && (argv[i][n] == '\0' || argv[i][n] == '='))
            return true;
    }
    return false;
}

void np_say_twin(const struct np_command *cmd, const char *why, int argc, char **argv)
{
    char twin[64], flag[64];
    const char *at = strstr(why, "--");
    size_t n = at ? strspn(at, "-abcdefghijklmnopqrstuvwxyz") : 0;
    if (n < 3 || n >= sizeof flag)
        return;
    memcpy(flag, at, n);
    flag[n] = '\0';
    name_twin(flag, n, twin);
    const char *value = getenv(twin);
    if (value && value[0] && !np_flag_given(flag, argc, argv))
        np_say(cmd, "%s comes from %s in the environment", flag, twin);
}

const char *np_default_set(void)
{
    const char *dir = getenv("NEAP_POLICIES");
    return dir && dir[0] ? dir : "policies";
}

bool np_flags_read(const struct np_command *cmd, const struct np_flag *flags, size_t n, int argc,
                   char **argv, const char **rest, size_t max_rest, size_t *n_rest)
{
    bool ended = false; /* by "--" */
    *n_rest = 0;
    if (!read_environment(cmd, flags, n))
        return false;
    for (int i = 1; i < argc; i++) {
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (!ended && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!read_flag(cmd, flags, n, argc, argv, &i))
                return false;
        } else if (*n_rest < max_rest) {
            rest[(*n_rest)++] = argv[i];
        } else {
            np_say(cmd, "unexpected argument \"%s\"", argv[i]);
            return false;
        }
    }
    return true;
}
