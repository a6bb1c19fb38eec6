#!/usr/bin/env bash
# Runs a command that needs a program of build/tsan: tests/tsan.sh PROGRAM COMMAND…
# Skipped (77) where that program was not built. Addresses are not randomised, as far as the
# system lets us: on kernels with more than 28 random bits older ThreadSanitizers do not start.
set -euo pipefail

program=$1
shift
if [ ! -x "$program" ]; then
    echo "skipped: $program is not there; cmake --preset tsan && cmake --build --preset tsan" >&2
    exit 77
fi
if setarch -R true 2>/dev/null; then
    exec setarch -R "$@"
fi
exec "$@"
