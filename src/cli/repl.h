/* What the files of neap repl share. */
#ifndef NP_CLI_REPL_H
#define NP_CLI_REPL_H

#include "cli/cli.h"

#endif
