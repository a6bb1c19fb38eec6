#!/usr/bin/env bash
# Files, functions and decisions stay small; the figures and how they are counted are in
# lengths.py, exceptions (FILE or FILE:FUNCTION, one a line) in lengths.exceptions.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

exec python3 -B tests/lint/lengths.py
