/* For libFuzzer: writes a target's seeds into the folder that NEAP_FUZZ_SEEDS names, before all else. */
#include "fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    const char *dir = getenv("NEAP_FUZZ_SEEDS");
    for (size_t i = 0; dir && i < fuzz_n_seeds; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/seed-%zu", dir, i);
        FILE *f = fopen(path, "w");
        np_require(f && fwrite(fuzz_seeds[i].p, 1, fuzz_seeds[i].n, f) == fuzz_seeds[i].n);
        fclose(f);
    }
    return 0;
}
