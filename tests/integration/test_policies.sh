#!/usr/bin/env bash
# The shipped policies pass their tests and `neap check`; `neap test` says what it should, with the right
# exit status.
set -u

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
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

wants 0 ' passed, 0 failed' test "$NEAP_SOURCE/policies"
wants 0 'no errors' check "$NEAP_SOURCE/policies" --deny-warnings

# Each hook file has its tests.
for hook in admit route truncate budget retry respond degrade; do
    wants 0 "pass  ${hook}_test.lua:" test "$NEAP_SOURCE/policies" -v --filter "${hook}_test.lua"
done

# The same set without tests, then with some that fail.
cp "$NEAP_SOURCE"/policies/*.lua "$folder"
cp -r "$NEAP_SOURCE/policies/lib" "$NEAP_SOURCE/policies/templates" "$folder"
rm "$folder"/*_test.lua
chmod -R go-w "$folder"
wants 0 'has no tests' test "$folder"
wants 0 '0 passed, 0 failed' test "$folder"

cat >"$folder/some_test.lua" <<'END'
test("good", function() expect(play({ request = { prompt = "hi" } }).status, 200) end)
test("bad", function()
  local run = play { request = { prompt = "hi" } }
  expect(run.model, "gpt-4.1-mini")
end)
END
wants 1 '1 passed, 1 failed' test "$folder"
wants 1 'FAIL  some_test.lua:2: bad' test "$folder"
wants 1 '  some_test.lua:4:  expect(run.model, "gpt-4.1-mini")' test "$folder"
wants 1 '    got       "gpt-4.1"' test "$folder"
wants 1 '    expected  "gpt-4.1-mini"' test "$folder"
wants 1 '    answered   gpt-4.1, 1 attempt' test "$folder"
wants 0 '1 passed, 0 failed' test "$folder" --filter good
wants 1 'no test has "nowhere" in its name' test "$folder" --filter nowhere

# What does not load is not tested.
echo 'return {' >"$folder/route.lua"
wants 1 'route.lua:' test "$folder"
wants 1 'nothing was tested' test "$folder"
wants 1 'nothing was tested' test "$folder/nowhere"
wants 2 'unknown flag --fliter' test --fliter good

[ "$faults" -eq 0 ]
