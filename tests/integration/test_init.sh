#!/usr/bin/env bash
# What `neap init` writes passes its check and its tests, and nothing is ever written over; `neap types`
# writes types that are Lua and leaves the set's version as it was.
set -u

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
umask 002
faults=0

fault() {
    echo "FAULT: $*"
    faults=$((faults + 1))
}

# wants STATUS TEXT ARGUMENT…: neap with these arguments ends so and prints a line that has TEXT in it.
wants() {
    local status=$1 text=$2 output got
    shift 2
    output=$("$NEAP_BIN" "$@" 2>&1)
    got=$?
    [ "$got" -eq "$status" ] || fault "neap $* ended with $got, not $status: $output"
    grep -qF -- "$text" <<<"$output" || fault "neap $* does not say \"$text\": $output"
}

everything() {
    find . -type f -exec sha256sum {} + | sort
}

# A new folder, checked and tested; each step that is told can be taken.
wants 0 'wrote 13 files into set' init set
wants 0 'no errors' check set --deny-warnings
wants 0 '8 passed, 0 failed' test set
grep -q -- '---@type neap.route' set/route.lua || fault "route.lua has no type above its function"
[ -z "$(find set -perm /022)" ] || fault "others may write: $(find set -perm /022)"

# A second time nothing is written, nor where a single file is in the way.
before=$(everything)
wants 1 'set/route.lua is in the way' init set
wants 1 'nothing was written' init set
mkdir other
echo mine >other/retry.lua
wants 1 'other/retry.lua is in the way' init other
[ "$(ls other)" = retry.lua ] || fault "there is more than retry.lua: $(ls other)"
rm -r other
[ "$(everything)" = "$before" ] || fault "files have changed"

# The folder is ./policies if none is given.
wants 0 'into policies' init
wants 0 'no errors' check --deny-warnings

# Where a folder can't be.
wants 3 'set/route.lua can'\''t be made: ' init set/route.lua
wants 3 'nowhere/set can'\''t be made: ' init nowhere/set
wants 3 'there is no folder nowhere; neap init nowhere' types nowhere
wants 2 'unknown flag --force' init --force

# Types: valid Lua; no part of the set; settings that are there stay.
version=$("$NEAP_BIN" check set)
rm -r set/.neap set/.luarc.json
[ "$("$NEAP_BIN" check set)" = "$version" ] || fault "the types count for the version"
echo '{}' >set/.luarc.json
wants 0 '.luarc.json was there' types set
[ "$(cat set/.luarc.json)" = '{}' ] || fault "the settings were written over"
rm set/.luarc.json
wants 0 'and .luarc.json' types set
python3 -m json.tool set/.luarc.json >/dev/null || fault "the settings are not JSON"
[ "$("$NEAP_BIN" check set)" = "$version" ] || fault "the types count for the version"
echo old >set/.neap/neap.lua
wants 0 'wrote set/.neap/neap.lua' types set
lua5.4 -e 'assert(loadfile("set/.neap/neap.lua"))' || fault "the types are not Lua"
head -n 1 set/.neap/neap.lua | grep -qx -- '---@meta' || fault "the types do not say that they are some"

[ "$faults" -eq 0 ]
