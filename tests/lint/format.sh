#!/usr/bin/env bash
# C sources are laid out as .clang-format says. Versions of clang-format differ in small things,
# so the word of one of them counts: elsewhere this is skipped.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

reference=14

formatter=''
for candidate in "clang-format-$reference" clang-format; do
    if command -v "$candidate" >/dev/null &&
        [[ $("$candidate" --version) =~ version\ $reference\. ]]; then
        formatter=$candidate
        break
    fi
done
if [ -z "$formatter" ]; then
    echo "skipped: the reference is clang-format $reference, here is: $(clang-format --version 2>/dev/null || echo none)"
    exit 77
fi

mapfile -t sources < <(files '*.[ch]' src include tests)

faults=0
if [ "${#sources[@]}" -gt 0 ]; then
    said=$(printf '%s\0' "${sources[@]}" |
        xargs -0 -n 8 -P "$(nproc)" "$formatter" --style=file --dry-run -Werror 2>&1) || true
    if [ -n "$said" ]; then
        printf '%s\n' "$said"
        faults=$(grep -c 'error:' <<<"$said" || true)
        [ "$faults" -gt 0 ] || faults=1
        echo "to lay out anew: $formatter -i FILE"
    fi
fi

finish "$faults" "${#sources[@]}" src include tests
