#!/usr/bin/env bash
# Runs the fuzz targets with clang's libFuzzer, one after the other; what they found to be new is kept.
#
#   tests/fuzz/run.sh [-s SECONDS] [-c CORPUS] [TARGET…]      60 s each, build/fuzz/corpus, all
#
# The exit status is 1 when one of them failed; its input is in build/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=60
corpus=build/fuzz/corpus
while getopts s:c: option; do
    case $option in
    s) seconds=$OPTARG ;;
    c) corpus=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

src/install-deps.sh fuzz
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --parallel "$(nproc)" >build/fuzz/build.log 2>&1 || {
    cat build/fuzz/build.log
    exit 3
}

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in tests/fuzz/fuzz_*.c; do
        name=$(basename "$file" .c)
        targets+=("${name#fuzz_}")
    done
fi

# Random addresses beyond what clang 14 expects stop its sanitizers at start.
run=()
if setarch -R true 2>/dev/null; then
    run=(setarch -R)
fi

status=0
mkdir -p build/fuzz/found
for target in "${targets[@]}"; do
    mkdir -p "$corpus/$target"
    log=build/fuzz/$target.log
    good=yes
    # The seeds are written before all else; the run after it reads them.
    NEAP_FUZZ_SEEDS="$corpus/$target" "${run[@]}" "build/fuzz/fuzz_$target" -runs=0 >"$log" 2>&1 || good=no
    "${run[@]}" "build/fuzz/fuzz_$target" "$corpus/$target" -max_total_time="$seconds" -max_len=8192 -timeout=20 \
        -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix=build/fuzz/found/"$target"- >"$log" 2>&1 || good=no
    figures=$(awk '/stat::number_of_executed_units/ { n = $2 } /stat::average_exec_per_sec/ { rate = $2 }
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        END { printf "%d inputs, %d a second, coverage %d", n, rate, cov }' "$log")
    echo "$target: $figures"
    if [ $good = no ]; then
        status=1
        tail -40 "$log"
    fi
done
exit "$status"
