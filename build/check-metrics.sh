#!/bin/sh
# Starts the demo, sends some requests, and checks the output of /metrics with promtool: check-metrics.sh WEIR
#
# Also stops the idle demo with SIGTERM: it must end at once and exit with 0.
set -eu
weir=${1:?usage: build/check-metrics.sh PATH-OF-WEIR}
directory=$(mktemp -d)
demo=''

cleanup() {
    if [ -n "$demo" ]; then kill -KILL "$demo" 2>/dev/null || true; fi
    rm -rf "$directory"
}
trap cleanup EXIT INT TERM

# Three consecutive free ports, below the range of ephemeral ports. If another process takes one in the meantime, the
# demo ends at once, and the next base is tried.
start_demo() {
    try=0
    while [ "$try" -lt 20 ]; do
        base=$((20000 + ($$ + try * 131) % 10000))
        "$weir" demo --port-base "$base" >"$directory/log" 2>&1 &
        demo=$!
        waited=0
        while kill -0 "$demo" 2>/dev/null && [ "$waited" -lt 100 ]; do
            if curl -sf -m 2 -o "$directory/ready" "http://127.0.0.1:$((base + 1))/readyz"; then
                # The response may be from another server.
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
    printf 'the demo did not start; its log:\n'
    cat "$directory/log"
    return 1
}

# The demo writes its events to the working directory.
weir=$(cd "$(dirname "$weir")" && pwd)/$(basename "$weir")
cd "$directory"
start_demo

proxy=http://127.0.0.1:$base
admin=http://127.0.0.1:$((base + 1))
# A rejection, an unknown route and an invalid method create counters with labels.
for path in /v1/chat/completions /nothing-here; do
    curl -s -m 10 -o response -d '{"messages":[]}' "$proxy$path"
    curl -s -m 10 -o response "$proxy$path"
done
curl -sf -m 10 -o scrape "$admin/metrics"
if ! grep -q '^weir_requests_total{' scrape; then
    printf 'no weir_requests_total after four requests:\n'
    cat scrape
    exit 1
fi
promtool check metrics <scrape
printf 'promtool reports no problems in %s metrics\n' "$(grep -c '^# TYPE ' scrape)"

kill -TERM "$demo"
status=0
wait "$demo" || status=$?
demo=''
if [ "$status" -ne 0 ]; then
    printf 'after SIGTERM, the demo exited with %s:\n' "$status"
    cat log
    exit 1
fi
