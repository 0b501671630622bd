#!/bin/sh
# Starts the demo, asks a little, and lets promtool judge what /metrics shows: check-metrics.sh WEIR
#
# The demo is also told to stop: idle, it must be gone at once and exit with 0.
set -eu
weir=${1:?usage: build/check-metrics.sh PATH-OF-WEIR}
directory=$(mktemp -d)
demo=''

cleanup() {
    if [ -n "$demo" ]; then kill -KILL "$demo" 2>/dev/null || true; fi
    rm -rf "$directory"
}
trap cleanup EXIT INT TERM

# Three ports in a row that nobody listens on, below those that the system hands out by itself.
# Somebody may take one in between: then the demo ends at once, and the next base is tried.
start_demo() {
    try=0
    while [ "$try" -lt 20 ]; do
        base=$((20000 + ($$ + try * 131) % 10000))
        "$weir" demo --port-base "$base" >"$directory/log" 2>&1 &
        demo=$!
        waited=0
        while kill -0 "$demo" 2>/dev/null && [ "$waited" -lt 100 ]; do
            if curl -sf -m 2 -o "$directory/ready" "http://127.0.0.1:$((base + 1))/readyz"; then
                # Somebody else's server could answer there, too.
                kill -0 "$demo" 2>/dev/null && return 0
            fi
            waited=$((waited + 1))
            sleep 0.1
        done
        kill -KILL "$demo" 2>/dev/null || true
        wait "$demo" 2>/dev/null || true
        demo=''
        try=$((try + 1))
    done
    printf 'the demo did not come up; its last words:\n'
    cat "$directory/log"
    return 1
}

# The demo keeps its events beside where it is started.
weir=$(cd "$(dirname "$weir")" && pwd)/$(basename "$weir")
cd "$directory"
start_demo

proxy=http://127.0.0.1:$base
admin=http://127.0.0.1:$((base + 1))
# A refusal, a route that is not there, and a wrong method: counters with labels come to be.
for path in /v1/chat/completions /nothing-here; do
    curl -s -m 10 -o answer -d '{"messages":[]}' "$proxy$path"
    curl -s -m 10 -o answer "$proxy$path"
done
curl -sf -m 10 -o scrape "$admin/metrics"
if ! grep -q '^weir_requests_total{' scrape; then
    printf 'no weir_requests_total after four requests:\n'
    cat scrape
    exit 1
fi
promtool check metrics <scrape
printf 'promtool has nothing to say about %s metrics\n' "$(grep -c '^# TYPE ' scrape)"

kill -TERM "$demo"
status=0
wait "$demo" || status=$?
demo=''
if [ "$status" -ne 0 ]; then
    printf 'told to stop, the demo exited with %s:\n' "$status"
    cat log
    exit 1
fi
