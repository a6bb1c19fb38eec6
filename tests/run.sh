#!/usr/bin/env bash
# Builds neap with sanitizers and runs the tests; installs what is missing first.
#
#   tests/run.sh                 everything but the tests labelled `long`
#   tests/run.sh -L unit         arguments go to ctest: by label, …
#   tests/run.sh -R breaker      … by name, …
#   tests/run.sh -L long         … and the long ones too
#
# The exit status is ctest's.
set -euo pipefail
cd "$(dirname "$0")/.."

src/install-deps.sh test

jobs=$(nproc)

# Output of a step that went well is noise: it is shown when the step fails.
quietly() {
    local what=$1 log
    shift
    log=$(mktemp)
    printf '%s … ' "$what"
    if "$@" >"$log" 2>&1; then
        rm -f "$log"
        printf 'done (%d s)\n' "$SECONDS"
    else
        printf 'FAILED: %s\n' "$*"
        cat "$log"
        rm -f "$log"
        exit 1
    fi
}

for preset in dev tsan; do
    quietly "configure $preset" cmake --preset "$preset" -DNEAP_WERROR=ON
    quietly "build $preset" cmake --build --preset "$preset" --parallel "$jobs"
done

# `long` in what the caller asks for lets those tests in; else they stay out.
exclude=(--label-exclude '^long$')
asked=" $* "
if [[ $asked =~ \ (-L|--label-regex)[=\ ]?[^\ ]*long ]]; then
    exclude=()
fi

# Kernels with more random address bits than the sanitizers of gcc 12 expect stop them at start.
run=()
bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)
if [ "$bits" -gt 28 ] && setarch -R true 2>/dev/null; then
    run=(setarch -R)
fi

status=0
"${run[@]}" ctest --test-dir build/dev --output-on-failure --no-tests=error --parallel "$jobs" \
    "${exclude[@]}" "$@" || status=$?
exit "$status"
