#!/usr/bin/env bash
# No file names a path or a host that is true for one machine only: whoever clones the tree has
# other ones.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    mapfile -t sources < <(git ls-files --cached --others --exclude-standard)
else
    mapfile -t sources < <(find . -type f -not -path './build/*' -not -path './.git/*' | sed 's,^\./,,')
fi

# Written so that they do not find themselves.
patterns=(
    '(^|[^A-Za-z0-9_.~/-])/(wor[k]|roo[t])/'
    '(^|[^A-Za-z0-9_.~/-])/hom[e]/[a-z]'
    '(deb|ftp|security|snapshot|archive|packages)[.](debian|ubuntu)[.]'
    'registry[.]npmj[s]'
    '(files[.]python[h]osted|pypi[.]or[g]|proxy[.]golan[g]|crates[.]i[o]|luarocks[.]or[g])'
)

faults=0
for pattern in "${patterns[@]}"; do
    # A file that is listed may have gone from the disk; binary files have no words.
    if printf '%s\0' "${sources[@]}" | xargs -0 grep -nIHE --no-messages -- "$pattern"; then
        faults=$((faults + 1))
    fi
done

finish "$faults" "${#sources[@]}" src
