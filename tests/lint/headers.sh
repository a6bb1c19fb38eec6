#!/usr/bin/env bash
# Each header compiles alone, whatever was or was not included before it, and may be included
# twice. With an argument it looks at that header only.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

read -ra foreign < <(pkg-config --cflags libmicrohttpd libcurl libcrypto lua5.4)
flags=(-std=c17 -D_GNU_SOURCE= -Isrc -Iinclude "${foreign[@]}" -Wall -Wextra -Wpedantic -Wshadow
    -Wconversion -Wstrict-prototypes -Wvla -Werror -fsyntax-only -x c)

if [ "$#" -gt 0 ]; then
    name=${1#src/}
    name=${name#include/}
    printf '#include "%s"\n#include "%s"\nextern int np_lint;\n' "$name" "$name" |
        "${CC:-cc}" "${flags[@]}" - 2>&1 || echo "$1:1: does not compile alone"
    exit 0
fi

mapfile -t headers < <(files '*.h' src include)

faults=0
if [ "${#headers[@]}" -gt 0 ]; then
    said=$(printf '%s\0' "${headers[@]}" | xargs -0 -n 1 -P "$(nproc)" bash tests/lint/headers.sh)
    if [ -n "$said" ]; then
        printf '%s\n' "$said"
        faults=$(grep -c ': does not compile alone$' <<<"$said" || true)
    fi
fi

finish "$faults" "${#headers[@]}" src include
