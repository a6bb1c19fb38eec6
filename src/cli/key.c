/* neap key: makes keys for tenants.lua, or hashes one. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* A new key: the key itself for the tenant, the line for tenants.lua. */
static int new_key(const char *tenant)
{
    char key[64], hash[80];
    if (!tenant || !tenant[0]) {
        np_say(&np_cmd_key, "new needs --tenant NAME");
        return NEAP_USAGE;
    }
    neap_key_new(key, hash);
    (void)printf("key (shown once, give it to %s):\n    %s\n\nin tenants.lua:\n"
                 "    [\"%s\"] = { keys = { \"%s\" } },\n",
                 tenant, key, tenant, hash);
    return NEAP_GOOD;
}

/* The hash of the key on standard input, so that it is in no shell history. */
static int hash_key(void)
{
    char line[512], hash[80];
    if (!fgets(line, sizeof line, stdin)) {
        np_say(&np_cmd_key, "hash reads the key from standard input, which is empty");
        return NEAP_USAGE;
    }
    size_t n = strcspn(line, "\r\n");
    if (n == 0) {
        np_say(&np_cmd_key, "hash reads the key from standard input, which is empty");
        return NEAP_USAGE;
    }
    neap_key_hash(line, n, hash);
    (void)printf("%s\n", hash);
    return NEAP_GOOD;
}

static int run(int argc, char **argv)
{
    const char *tenant = NULL;
    const struct np_flag flags[] = {{"--tenant", NP_FLAG_TEXT, &tenant, 0, 0}};
    const char *verb = "";
    size_t n_rest;
    if (!np_flags_read(&np_cmd_key, flags, 1, argc, argv, &verb, 1, &n_rest))
        return NEAP_USAGE;
    if (strcmp(verb, "new") == 0)
        return new_key(tenant);
    if (strcmp(verb, "hash") == 0)
        return hash_key();
    np_say(&np_cmd_key, "new --tenant NAME, or hash; got \"%s\"", verb);
    return NEAP_USAGE;
}

const struct np_command np_cmd_key = {
    "key", "make or hash a tenant's key",
    "key new --tenant NAME | hash\n\n"
    "new prints a key (256 random bits) and its line for tenants.lua; hash reads a key from standard\n"
    "input and prints its hash.",
    run};
