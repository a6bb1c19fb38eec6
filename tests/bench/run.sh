#!/bin/sh
# Builds the benchmark's client and provider in a temporary folder and measures; --help says how.
# What is measured, and how to read it: README.md beside this file.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

for tool in python3 gcc; do
    if ! command -v "$tool" >/dev/null; then
        echo "bench: $tool is not installed" >&2
        exit 3
    fi
done

tools=$(mktemp -d)
child=
# The folder goes last: a signal must first reach those who work in it.
trap '[ -z "$child" ] || kill "$child" || true; wait; rm -rf "$tools"' EXIT
trap 'exit 3' INT TERM

for name in load streams upstream; do
    gcc -std=c17 -O2 -Wall -Wextra -o "$tools/$name" "$here/$name.c" || exit 3
done

python3 -B "$here/bench.py" --tools "$tools" "$@" &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
