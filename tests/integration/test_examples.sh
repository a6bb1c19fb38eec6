#!/usr/bin/env bash
# Each of the example policy sets passes its check without a warning and its tests, and says what it is for.
set -u

faults=0
fault() {
    echo "FAULT: $*"
    faults=$((faults + 1))
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sets=("$NEAP_SOURCE"/examples/policies/*/)
[ "${#sets[@]}" -ge 8 ] || fault "there are only ${#sets[@]} examples"

for set in "${sets[@]}"; do
    name=$(basename "$set")
    # Whatever the clone's umask was.
    cp -r "$set" "$folder/$name"
    chmod -R go-w "$folder/$name"
    output=$("$NEAP_BIN" check --deny-warnings "$folder/$name" 2>&1) || fault "$name does not pass the check: $output"
    output=$("$NEAP_BIN" test "$folder/$name" 2>&1) || fault "$name does not pass its tests: $output"
    passed=$(sed -n 's/^\([0-9]*\) passed, 0 failed.*/\1/p' <<<"$output")
    echo "$name: ${passed:-0} tests"
    [ "${passed:-0}" -ge 3 ] || fault "$name has ${passed:-0} tests only"
    lines=$(wc -l <"$set/README.md") || lines=0
    ((lines >= 3 && lines <= 20)) || fault "$name/README.md has $lines lines"
    grep -q "($name)" "$NEAP_SOURCE/examples/policies/README.md" || fault "$name is not in the list of examples"
done

[ "$faults" -eq 0 ]
