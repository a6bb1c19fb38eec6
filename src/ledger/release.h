/* Giving back what an instance holds that will not come back for it. */
#ifndef NP_LEDGER_RELEASE_H
#define NP_LEDGER_RELEASE_H

#include "ledger/store.h"

/* One account of money and window, as it was before. */
struct np_release_line {
    const char *account;
    int64_t start_ms;
    int64_t leased;  /* granted - returned */
    int64_t settled; /* as the store knows */
    int64_t nusd;    /* what goes back */
};

struct np_release {
    const char *store, *state, *instance;
    void (*tell)(void *ctx, const struct np_release_line *line);
    void *ctx;
    size_t given;     /* answer: what was told and went back, even where the rest then failed */
    size_t others;    /* answer: the same of calls, requests and tokens, which are not told */
    int64_t heard_ms; /* answer: when the store heard of it last; 0: unknown */
    char name[4200];  /* answer: the store */
};

/* Gives back in every account and window what is leased and not known to be settled. A file all or
 * nothing, a shared store one by one: what went back before a failure is free. *why says what
 * failed: NP_E_BUSY: the instance lives, or may; NP_E_NOTFOUND: the store knows no such instance;
 * NP_E_INVALID, NP_E_UNSUPPORTED: the store's name; NP_E_IO, NP_E_NOMEM. */
enum np_err np_release(struct np_release *r, char *why, size_t size) NP_MUST_CHECK;

#endif
