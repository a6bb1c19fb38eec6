#!/usr/bin/env bash
# From a fresh clone to a running neap: installs what is missing, builds it, starts it with
# imitation providers (no key, no network), and asks it three questions: while all is well, while
# the model that answered is failing, and while every model is failing. Then it keeps serving.
#
#   examples/quickstart.sh           Ctrl-C stops it
#   examples/quickstart.sh --once    stops after the questions; not 0 if a reply was not as expected
set -euo pipefail
cd "$(dirname "$0")/.."

once=''
case "${1:-}" in
--once) once=yes ;;
'') ;;
*)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

log=build/quickstart.log
build_log=build/quickstart-build.log
decisions=build/quickstart-decisions.jsonl
neap=build/release/neap
endpoint=/api/assistant/reply
question='{"prompt": "How do I reset my VPN token?", "maxTokens": 200}'

bold='' plain=''
if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi

say() {
    printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"
}

give_up() {
    printf '\n%s\n' "quickstart: $*" >&2
    exit 1
}

# ------------------------------------------------------------------------------- start and stop

pid=''

# Stops neap as an operator would; sets `status` to what it exited with.
stop() {
    status=0
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    # A signal may end a wait before neap has ended.
    while kill -0 "$pid" 2>/dev/null; do
        status=0
        wait "$pid" || status=$?
    done
    pid=''
}

# Ends the script by a signal's number, after neap.
# shellcheck disable=SC2317 # called by trap
interrupted() {
    trap '' INT TERM
    if [ -n "$pid" ]; then
        say "Stopping neap"
        stop
        echo "stopped (its log is in $log)"
    fi
    trap - EXIT
    exit "$1"
}

trap stop EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

in_use() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Sets `port` to the first free one from the first argument on.
free_port() {
    port=$1
    while in_use "$port"; do
        port=$((port + 1))
        [ "$port" -lt $(($1 + 100)) ] || give_up "no free port from $1 on"
    done
    if [ "$port" -ne "$1" ]; then
        echo "port $1 is taken, using $port"
    fi
}

build() {
    # The first build of a tree configures it; later ones notice by themselves what has changed.
    if [ ! -f build/release/build.ninja ]; then
        cmake --preset release
    fi
    cmake --build --preset release
}

# A request on this machine, without whatever proxy the environment has.
fetch() {
    curl --silent --show-error --noproxy '*' --max-time 30 "$@"
}

wait_until_ready() {
    local tries=0
    until fetch --fail --max-time 2 --output /dev/null "http://$admin/readyz" 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$log" >&2
            pid=''
            give_up "neap did not start; the end of $log is above"
        fi
        tries=$((tries + 1))
        if [ "$tries" -gt 150 ]; then
            tail -n 20 "$log" >&2
            give_up "neap was not ready within 30 seconds; the end of $log is above"
        fi
        sleep 0.2
    done
}

# ------------------------------------------------------------------------------------ questions

# field NAME JSON: the value of the first field with that name that is text, number or boolean.
field() {
    # An escaped quote is in a text, and there is no field.
    tr '\n' ' ' <<<"${2//\\\"/}" |
        grep -oE "\"$1\"[[:space:]]*:[[:space:]]*(\"[^\"]*\"|[^,}[:space:]]+)" | head -n 1 |
        sed -E 's/^"[^"]*"[[:space:]]*:[[:space:]]*//; s/^"//; s/"$//' || true
}

show() {
    if command -v python3 >/dev/null 2>&1; then
        python3 -m json.tool --no-ensure-ascii <<<"$1" 2>/dev/null && return
    fi
    printf '%s\n' "$1"
}

# Asks the question and sets `reply`, `code`, `model` and `degraded`.
ask() {
    printf "curl http://%s%s -H 'Content-Type: application/json' \\\\\n     -d '%s'\n" \
        "$listen" "$endpoint" "$question"
    reply=$(fetch --write-out '\n%{http_code}' --header 'Content-Type: application/json' \
        --data "$question" "http://$listen$endpoint") || give_up "no reply came; see $log"
    code=${reply##*$'\n'}
    reply=${reply%$'\n'*}
    show "$reply"
    model=$(field model "$reply")
    degraded=$(field degraded "$reply")
}

# unexpected WHAT: notes that a reply was not what it should be.
wrong=0
unexpected() {
    echo "NOT AS EXPECTED: $* (HTTP $code)"
    wrong=$((wrong + 1))
}

# Tells the imitation providers how to behave.
control() {
    fetch --fail --output /dev/null --header 'Content-Type: application/json' --data "$1" \
        "$simulate/control" || give_up "the imitation providers did not take: $1"
}

# ------------------------------------------------------------------------------------- the way

say "Packages that a build needs"
src/install-deps.sh build

say "Building $neap (log: $build_log)"
mkdir -p build
begun=$SECONDS
build >"$build_log" 2>&1 || {
    tail -n 40 "$build_log" >&2
    give_up "the build failed; the end of $build_log is above"
}
echo "built in $((SECONDS - begun)) s"

say "Starting neap with imitation providers and the policies in policies/ (log: $log)"
free_port 8080
listen=127.0.0.1:$port
free_port 9090
admin=127.0.0.1:$port
unset NEAP_ADMIN_TOKEN
printf '%s serve --simulate --policies policies --listen %s --admin %s \\\n    --store memory: --decisions %s\n' \
    "$neap" "$listen" "$admin" "$decisions"
"$neap" serve --simulate --policies policies --listen "$listen" --admin "$admin" \
    --store memory: --decisions "$decisions" >"$log" 2>&1 </dev/null &
pid=$!
wait_until_ready
simulate=$(field simulate "$(fetch --fail "http://$admin/api/status" || true)")
[[ $simulate == http* ]] || give_up "http://$admin/api/status does not say where the imitation providers are"
echo "ready: questions go to http://$listen, operators to http://$admin"

say "1. A question while all is well"
ask
premium=$model
if [ "$code" != 200 ] || [ "$degraded" != false ] || [ -z "$premium" ]; then
    unexpected "a good answer should have come"
    give_up "the first answer was not good, so the rest would mean nothing; see $log"
fi
echo "$premium answered."

say "2. The same question while $premium is failing (every call to it answers 503)"
control "{\"models\": {\"$premium\": {\"status\": 503}}}"
ask
if [ "$code" != 200 ] || [ "$degraded" != false ] || [ "$model" = "$premium" ]; then
    unexpected "another model should have answered"
else
    echo "$model answered instead, after $(field attempts "$reply") attempts."
fi

say "3. The same question while all models are failing"
control '{"models": {"*": {"status": 503}}}'
ask
if [ "$code" != 200 ] || [ "$degraded" != true ]; then
    unexpected "a degraded reply should have come"
else
    echo "A degraded reply from policies/templates, reason: $(field reason "$reply")."
fi

control '{"models": {}}'
echo "The imitation providers are well again."

if [ -n "$once" ]; then
    say "Stopping neap"
    stop
    [ "$status" -eq 0 ] || give_up "neap ended with status $status; see $log"
    [ "$wrong" -eq 0 ] || give_up "$wrong of 3 replies were not as expected"
    echo "all three replies were as expected"
    exit 0
fi

say "neap keeps serving; Ctrl-C stops it. What to try next, in another terminal:"
cat <<END

  ask again            curl http://$listen$endpoint -H 'Content-Type: application/json' \\
                            -d '{"prompt": "Say hello"}'
  see what it decided  tail -n 1 $decisions
  change what it does  edit policies/route.lua; it is in force within a second of saving
  how it is doing      http://$admin/ in a browser
                       curl http://$admin/api/status
                       curl http://$admin/api/breakers
                       curl http://$admin/metrics
  break a model        curl $simulate/control -d '{"models": {"$premium": {"status": 503}}}'
  put it right         curl $simulate/control -d '{"models": {}}'

END

status=0
wait "$pid" || status=$?
pid=''
give_up "neap ended by itself, with status $status; see $log"
