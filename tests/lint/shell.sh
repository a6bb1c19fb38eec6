#!/usr/bin/env bash
# The shell scripts are free of what shellcheck knows to be wrong or doubtful.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

if ! command -v shellcheck >/dev/null; then
    echo "shellcheck is not installed: src/install-deps.sh test"
    exit 1
fi

mapfile -t sources < <(files '*.sh' src tests examples policies && echo .ci/run)

faults=0
printf '%s\0' "${sources[@]}" | xargs -0 -n 4 -P "$(nproc)" shellcheck -x || faults=1

finish "$faults" "${#sources[@]}" src tests
