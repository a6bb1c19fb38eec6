# What the lints share; sourced by them, which then stand at the top of the tree.
# shellcheck shell=bash
#
# A lint prints what is wrong as file:line: text, ends with how many files it looked at, and exits
# 1 where something is wrong. Exit 77 is ctest's "skipped". A folder that is not there yet has no
# files; a lint that found no files at all in folders that are there has looked in the wrong place.

set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2

# files PATTERN FOLDER…: the files of the folders whose names match, sorted.
files() {
    local pattern=$1 folder
    shift
    for folder in "$@"; do
        if [ -d "$folder" ]; then
            find "$folder" -type f -name "$pattern" -not -path '*/.*' -print
        fi
    done | sort
}

# any FOLDER…: whether one of the folders is there.
any() {
    local folder
    for folder in "$@"; do
        if [ -d "$folder" ]; then
            return 0
        fi
    done
    return 1
}

# finish FAULTS LOOKED-AT FOLDER…: says how it went and ends the lint.
finish() {
    local faults=$1 looked=$2
    shift 2
    if [ "$looked" -eq 0 ] && any "$@"; then
        echo "looked at no file in: $*"
        exit 1
    fi
    echo "looked at $looked files: $faults problems"
    [ "$faults" -eq 0 ]
    exit
}
