/* neap types: what editors want to know of the names of policies. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static int run(int argc, char **argv)
{
    const char *dir = np_default_set();
    size_t n_rest;
    if (!np_flags_read(&np_cmd_types, NULL, 0, argc, argv, &dir, 1, &n_rest))
        return NEAP_USAGE;
    char why[NEAP_WHY] = "", *text = NULL;
    enum neap_status status = neap_types(dir, &text, why);
    if (status)
        np_say(&np_cmd_types, "%s", why);
    else if (text)
        (void)fputs(text, stdout);
    free(text);
    return (int)status;
}

const struct np_command np_cmd_types = {
    "types", "write a policy set's types for editors",
    "types [DIR]\n\n"
    "Writes DIR/.neap/neap.lua, the hooks, fields and functions of policies as lua-language-server reads\n"
    "them (LuaCATS), and DIR/.luarc.json unless there is one. Neither is part of the policy set. Above a\n"
    "hook's function `---@type neap.route` gives its parameters their types. DIR is that of\n"
    "NEAP_POLICIES, else ./policies, if not given.",
    run};
