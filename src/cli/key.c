/* neap key: makes keys for tenants.lua, or hashes one. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#define KEY_BYTES 511

/* A new key: the key itself for the tenant, the line for tenants.lua. */
static int new_key(const char *tenant)
{
    char key[64], hash[80];
    if (!tenant || !tenant[0]) {
        np_say(&np_cmd_key, "new needs --tenant NAME");
        return NEAP_USAGE;
    }
    const char *why = neap_key_tenant_fault(tenant);
    if (why) {
        np_say(&np_cmd_key, "--tenant %s", why);
        return NEAP_USAGE;
    }
    neap_key_new(key, hash);
    (void)printf("key (shown once, give it to %s):\n    %s\n\nin tenants.lua:\n"
                 "    [\"%s\"] = { keys = { \"%s\" } },\n",
                 tenant, key, tenant, hash);
    return NEAP_GOOD;
}

static int refuse(const char *why)
{
    np_say(&np_cmd_key, "%s", why);
    return NEAP_USAGE;
}

/* The hash of the key on standard input, so that it is in no shell history. One line is one key; what a
 * header could not carry never is one. */
static int hash_key(void)
{
    char line[KEY_BYTES + 3], hash[80];
    size_t n = fread(line, 1, sizeof line, stdin);
    bool more = n == sizeof line;
    n -= n > 0 && line[n - 1] == '\n';
    n -= n > 0 && line[n - 1] == '\r';
    if (n == 0)
        return refuse("hash reads the key from standard input, which is empty");
    for (size_t i = 0; i < n; i++) {
        if (line[i] == '\n')
            return refuse("hash takes one key, in one line");
        if ((unsigned char)line[i] < 0x21 || (unsigned char)line[i] > 0x7e)
            return refuse("a key holds printable ASCII alone, without blanks: this one has another "
                          "byte, which no request could send");
    }
    if (more || n > KEY_BYTES)
        return refuse("a key has at most 511 bytes");
    if (!neap_key_hash(line, n, hash))
        return refuse(
            "this key is mistyped or cut: neap_ and 49 letters and digits are what neap key "
            "new makes, the last six being the checksum of the others");
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
    "new prints a key (256 random bits) and its line for tenants.lua; hash reads a key, one line, from\n"
    "standard input and prints its hash. A name has letters, digits and . _ -, 64 at most. Exit status: 0\n"
    "done, 2 the command is wrong or what was given is no name or key.",
    run};
