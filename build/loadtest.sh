#!/bin/sh
# Runs the load test as a local quality gate: deploy/ci/gate.sh against `weir demo` with its assistant and a real
# search node to ship to, through signature, limits, cache and shipping. Arguments are passed to `weir-load run`.
# Exits like it: 0 if all objectives hold, 1 if one does not, 2 if it could not run.
#
# Environment: LATENCY of the assistant (120ms), PORT_BASE, the first of four free ports (18180), PROFILE release or
# debug, NO_BUILD=1 to use the existing programs.
#
# shellcheck disable=SC2317 # what traps call looks as if nobody called it
set -eu
cd "$(dirname "$0")/.."
top=$PWD
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$top/$target ;; esac
profile=${PROFILE:-release}
base=${PORT_BASE:-18180}
search=http://127.0.0.1:$((base + 3))

say() { printf 'loadtest: %s\n' "$*" >&2; }

if [ "${NO_BUILD:-}" != 1 ]; then
    build/setup.sh loadtest || exit 2
    case $profile in release) flags=--release ;; *) flags= ;; esac
    # shellcheck disable=SC2086 # a flag or none
    cargo build $flags --locked -p weir -p weir-load || exit 2
fi

WEIR=$target/$profile/weir
WEIR_LOAD=$target/$profile/weir-load
WEIR_ADMIN=http://127.0.0.1:$((base + 1))
export WEIR WEIR_LOAD WEIR_ADMIN

folder=$(mktemp -d)
node=''
cleanup() {
    if [ -n "$node" ]; then
        kill "$node" 2>/dev/null || true
        wait "$node" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The node ends when its standard input is closed; this pipe stays open and empty.
mkdir "$folder/node"
mkfifo "$folder/input"
java -Xms400m -Xmx400m -cp "$top/.tools/opensearch/*" build/opensearch/Node.java \
    "$folder/node" "$((base + 3))" <"$folder/input" >"$folder/node.log" 2>&1 &
node=$!
exec 9>"$folder/input"
until=$(($(date +%s) + 120))
say "starting a search node at $search"
until curl -s -m 2 --noproxy '*' -o /dev/null -f "$search"; do
    if ! kill -0 "$node" 2>/dev/null || [ "$(date +%s)" -ge "$until" ]; then
        say "the search node did not start; its last lines:"
        tail -n 5 "$folder/node.log" >&2
        exit 2
    fi
    sleep 0.2
done

"$WEIR" demo --port-base "$base" --elasticsearch "$search" --print-config >"$folder/weir.yaml"
# The demo writes its files where it is started.
export FOLDER="$folder" SEARCH="$search" BASE="$base" LATENCY="${LATENCY:-120ms}"
# shellcheck disable=SC2016 # the gate expands it
export SIDECAR='cd "$FOLDER" && exec "$WEIR" demo --port-base "$BASE" --elasticsearch "$SEARCH" --latency "$LATENCY"'

code=0
deploy/ci/gate.sh --target "http://127.0.0.1:$base" --config "$folder/weir.yaml" --admin "$WEIR_ADMIN" \
    --scenario chat --rate 50/s --duration 60s --slo 'p99<800ms' --slo 'error_rate<0.5%' \
    --json "$folder/load.json" "$@" || code=$?

# Every event must be in the index.
if [ "$code" -le 1 ]; then
    curl -s --noproxy '*' -o /dev/null -X POST "$search/logs-weir.access-default/_refresh"
    shipped=$(curl -s --noproxy '*' "$search/logs-weir.access-default/_count" | sed -n 's/.*"count":\([0-9]*\).*/\1/p')
    written=$(wc -l <"$folder/data/events.ndjson")
    say "events written $written, in the index ${shipped:-0}"
    if [ "${shipped:-0}" -ne "$written" ]; then
        say "events were lost on the way to the index"
        code=2
    fi
fi
exit "$code"
