#!/usr/bin/env bash
# luacheck finds nothing in the runtime's Lua, the policy sets and the tests.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

if ! command -v luacheck >/dev/null; then
    echo "luacheck is not installed: src/install-deps.sh test"
    exit 1
fi

folders=(lua policies examples tests)
mapfile -t sources < <(files '*.lua' "${folders[@]}")

faults=0
if [ "${#sources[@]}" -gt 0 ]; then
    luacheck --no-color --quiet "${sources[@]}" || faults=1
fi

finish "$faults" "${#sources[@]}" lua policies
