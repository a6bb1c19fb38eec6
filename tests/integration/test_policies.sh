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
wants 1 '    ok  gpt-4.1  1 attempt' test "$folder"
wants 0 '1 passed, 0 failed' test "$folder" --filter good
wants 1 'no test has "nowhere" in its name' test "$folder" --filter nowhere

# What does not load is not tested.
echo 'return {' >"$folder/route.lua"
wants 1 'route.lua:' test "$folder"
wants 1 'nothing was tested' test "$folder"
wants 3 'nothing was tested' test "$folder/nowhere"
wants 2 'unknown flag --fliter' test --fliter good

# The examples of the authoring guide: each file on its own in the shipped set. Those of its tables run in
# tests/lua/words.lua.
guide=$NEAP_SOURCE/policies/README.md
rm "$folder/some_test.lua"
cp "$NEAP_SOURCE/policies/route.lua" "$folder"
mkdir "$folder.guide"
trap 'rm -rf "$folder" "$folder.guide"' EXIT
awk -v into="$folder.guide/" '
    /^```lua$/ { getline; number++; out = into number " " $2 }
    /^```$/ { out = "" }
    out { print > out }' "$guide"
cat >"$folder/calm_test.lua" <<'END'
local long = { id = "a", text = ("word "):rep(9000), priority = 1 }
local faults = { "Sure.", 429, { status = 429, retry_after = 9 }, 503, { error = "bad_reply" }, { error = "filtered" },
  { text = "x", finish = "length" } }

test.each("no_hook_of_the_guide_fails", faults, function(fault)
  for _, metadata in ipairs { { tier = "gold" }, { team = "guests" } } do
    local run = play {
      request = { prompt = "call 12345678", metadata = metadata, context = { long } },
      providers = { openai = fault, anthropic = fault },
    }
    for name, calls in pairs(run.hooks) do
      for _, call in ipairs(calls) do
        expect({ name, call.returned:find("failed", 1, true) }, { name })
      end
    end
  end
end)
END
mapfile -t examples < <(printf '%s\n' "$folder.guide"/* | sort -V)
for example in "${examples[@]}"; do
    name=${example##* }
    cp "$example" "$folder/$name"
    chmod go-w "$folder/$name"
    output=$(ANTHROPIC_API_KEY=x ANTHROPIC_API_KEY_2=x OPENAI_API_KEY=x \
        "$NEAP_BIN" check "$folder" --deny-warnings 2>&1) ||
        fault "the guide's $name does not pass the check: $output"
    wants 0 ' passed, 0 failed' test "$folder"
    case $name in
    *_test.lua) rm -f "$folder/$name" "$folder/alert.lua" ;;
    alert.lua) ;; # the next is its test
    *) cp "$NEAP_SOURCE/policies/$name" "$folder" 2>/dev/null || rm "$folder/$name" ;;
    esac
done
rm "$folder/calm_test.lua"
[ "${#examples[@]}" -ge 11 ] || fault "only ${#examples[@]} examples were found in the guide"

[ "$faults" -eq 0 ]
