/* Runs a fuzz target without libFuzzer: its seeds, and changes of them by seeded chance.
 *
 *   fuzz_NAME              for NEAP_FUZZ_SECONDS (3)
 *   fuzz_NAME --round N    the one that ended it
 *   fuzz_NAME FILE…        these inputs */
#include "fuzz/fuzz.h"

#include "base/clock.h"
#include "base/rng.h"

#include <inttypes.h>
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_BYTES 8192

struct input {
    size_t n;
    char p[INPUT_BYTES];
};

static uint64_t present;
static struct input in_use;

/* The input that ended it, as a C string. */
static void tell(void)
{
    fprintf(stderr, "it was --round %" PRIu64 ": \"", present);
    for (size_t i = 0; i < in_use.n; i++) {
        unsigned char c = (unsigned char)in_use.p[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        fprintf(stderr, plain ? "%c" : "\\%03o", c);
    }
    fputs("\"\n", stderr);
}

static void on_abort(int number)
{
    tell();
    signal(number, SIG_DFL);
    raise(number);
}

/* ---------------------------------------------------------------------------------------- changes */

static void insert(struct input *in, size_t at, const char *p, size_t n)
{
    if (n > INPUT_BYTES - in->n)
        return;
    memmove(in->p + at + n, in->p + at, in->n - at);
    memcpy(in->p + at, p, n);
    in->n += n;
}

static void cut(struct input *in, size_t at, size_t n)
{
    if (n > in->n - at)
        n = in->n - at;
    memmove(in->p + at, in->p + at + n, in->n - at - n);
    in->n -= n;
}

static const struct np_span *any_seed(struct np_rng *r)
{
    return &fuzz_seeds[np_rng_below(r, fuzz_n_seeds)];
}

/* A part of a seed, somewhere else. */
static void splice(struct input *in, struct np_rng *r, size_t at)
{
    const struct np_span *s = any_seed(r);
    if (s->n == 0)
        return;
    size_t from = np_rng_below(r, s->n);
    size_t n = 1 + np_rng_below(r, s->n - from);
    insert(in, at, s->p + from, n);
}

static void change(struct input *in, struct np_rng *r)
{
    static const char odd[] = "\0\xff\x7f\x80\r\n\t \"\\{}[]:,;0-9.eE+'%/<>=()";
    size_t at = np_rng_below(r, in->n + 1);
    size_t some = 1 + np_rng_below(r, 16);
    char byte = odd[np_rng_below(r, sizeof odd)];
    switch (np_rng_below(r, 8)) {
    case 0:
        cut(in, at, some);
        break;
    case 1:
        splice(in, r, at);
        break;
    case 2:
        byte = (char)np_rng_below(r, 256);
        insert(in, at, &byte, 1);
        break;
    case 3:
        insert(in, at, &byte, 1);
        break;
    case 4:
        if (at < in->n)
            in->p[at] = (char)(in->p[at] ^ (1 << np_rng_below(r, 8)));
        break;
    case 5:
        if (at < in->n)
            in->p[at] = byte;
        break;
    case 6:
        in->n = at; /* it ends early */
        break;
    default: { /* a part twice */
        char copy[64];
        size_t n = in->n - at < sizeof copy ? in->n - at : sizeof copy;
        memcpy(copy, in->p + at, n);
        insert(in, at, copy, n);
        break;
    }
    }
}

/* The first rounds are the seeds as they are. */
static void run_round(uint64_t round)
{
    struct input *in = &in_use;
    struct np_rng r;
    np_rng_seed(&r, round);
    const struct np_span *s = round < fuzz_n_seeds ? &fuzz_seeds[round] : any_seed(&r);
    in->n = 0;
    insert(in, 0, s->p, s->n < INPUT_BYTES ? s->n : INPUT_BYTES);
    if (round >= fuzz_n_seeds) {
        for (uint64_t n = 1 + np_rng_below(&r, 6); n > 0; n--)
            change(in, &r);
    }
    present = round;
    /* On the heap, so that a byte too far is seen. */
    uint8_t *copy = malloc(in->n + (in->n == 0));
    np_require(copy);
    memcpy(copy, in->p, in->n);
    (void)LLVMFuzzerTestOneInput(copy, in->n);
    free(copy);
}

/* ------------------------------------------------------------------------------------------- main */

static int run_file(const char *path)
{
    FILE *f = fopen(path, "r");
    uint8_t *p = malloc(INPUT_BYTES * 16);
    if (!f || !p) {
        perror(path);
        return 3;
    }
    size_t n = fread(p, 1, INPUT_BYTES * 16, f);
    fclose(f);
    (void)LLVMFuzzerTestOneInput(p, n);
    free(p);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGABRT, on_abort);
    __sanitizer_set_death_callback(tell);
    if (argc == 3 && strcmp(argv[1], "--round") == 0) {
        run_round(strtoull(argv[2], NULL, 10));
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        int status = run_file(argv[i]);
        if (status)
            return status;
    }
    const char *seconds = getenv("NEAP_FUZZ_SECONDS");
    uint64_t start = np_clock_mono_ns(&np_clock_live), took = 0, round = 0;
    uint64_t limit = (seconds ? strtoull(seconds, NULL, 10) : 3) * NP_NS_PER_S;
    for (; argc == 1 && (round < fuzz_n_seeds || took < limit); round++) {
        run_round(round);
        took = np_clock_mono_ns(&np_clock_live) - start;
    }
    printf("  %" PRIu64 " inputs, %" PRIu64 " a second\n", round,
           took ? round * NP_NS_PER_S / took : 0);
    return 0;
}
