#!/bin/sh
# A load test as a quality gate for CI: starts the sidecar, waits until it is ready, runs `weir-load run`
# with the given arguments, stops the sidecar, and exits with the load tester's exit code. A change that
# makes responses slow or incorrect then fails its pull request before it reaches production.
#
#   deploy/ci/gate.sh --target http://127.0.0.1:8080 --config weir.yaml --admin http://127.0.0.1:8081 \
#     --scenario chat --rate 50/s --duration 60s --slo 'p99<800ms' --slo 'error_rate<0.5%' --junit load.xml
#
# Start the assistant before the gate, and stop it afterwards. Standard output contains only the output of
# the load tester; messages of the gate go to standard error. The gate requires curl.
#
# Exit codes: 0, all thresholds are met; 1, one is not; 2, the test could not run, or the sidecar did not
# start, ended before it was ready, or ended during a test that passed otherwise; 128 plus the number of the
# signal that ended the gate.
#
# Environment:
#   WEIR          the sidecar's program (weir)
#   WEIR_CONFIG   its configuration (weir.yaml)
#   SIDECAR       the command line that runs the sidecar in the foreground
#                 ("$WEIR" run --config "$WEIR_CONFIG")
#   WEIR_LOAD     the load tester's program (weir-load)
#   WEIR_ADMIN    the sidecar's admin address, whose /readyz is polled (http://127.0.0.1:8081)
#   WEIR_LOG      a file for the sidecar's output (a temporary file, removed at the end)
#   READY_WITHIN  seconds until the sidecar must be ready (30)
#   STOP_WITHIN   seconds until it is killed if it does not stop (40, more than shutdown.drain)
#
# shellcheck disable=SC2317 # functions called by traps look unused
set -eu

if [ "$#" -eq 0 ]; then
    printf "usage: gate.sh ARGUMENTS OF 'weir-load run'\n" >&2
    exit 2
fi

WEIR=${WEIR:-weir}
WEIR_CONFIG=${WEIR_CONFIG:-weir.yaml}
# A separate shell evaluates it, so that paths with spaces stay intact.
# shellcheck disable=SC2016 # expanded there
sidecar_command=${SIDECAR:-'"$WEIR" run --config "$WEIR_CONFIG"'}
export WEIR WEIR_CONFIG
load_tester=${WEIR_LOAD:-weir-load}
admin=${WEIR_ADMIN:-http://127.0.0.1:8081}
admin=${admin%/}
ready_within=${READY_WITHIN:-30}
stop_within=${STOP_WITHIN:-40}
log=${WEIR_LOG:-}
# CI systems kill a job at most ten seconds after they interrupt it, and no responses are needed then.
stop_within_interrupted=3
lines_shown=20

sidecar='' load='' log_made=''

say() { printf 'gate: %s\n' "$*" >&2; }

# Reports that the test could not run, and exits.
give_up() {
    say "$*"
    exit 2
}

# Replaces this process with the command, as the leader of a process group where setsid exists, so that the
# children of a wrapper are stopped with it.
become() {
    if command -v setsid >/dev/null 2>&1; then exec setsid "$@"; else exec "$@"; fi
}

send() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null || true; }

# Whether a process of the group still exists.
is_there() { kill -s 0 -- "-$1" 2>/dev/null || kill -s 0 "$1" 2>/dev/null; }

# Stops a process and its group: stop NAME PROCESS SECONDS.
stop() {
    stop_until=$(($(date +%s) + $3))
    send TERM "$2"
    while is_there "$2"; do
        if [ "$(date +%s)" -ge "$stop_until" ]; then
            say "$1 did not stop within $3 s of SIGTERM; sending SIGKILL"
            send KILL "$2"
            break
        fi
        sleep 0.1
    done
    wait "$2" 2>/dev/null || true
}

# Runs on every exit. The load tester is stopped first: without clients the sidecar has nothing to drain.
cleanup() {
    trap '' HUP INT TERM
    trap - EXIT
    if [ -n "$load" ]; then stop 'the load tester' "$load" "$stop_within"; fi
    if [ -n "$sidecar" ]; then stop 'the sidecar' "$sidecar" "$stop_within"; fi
    if [ -n "$log_made" ]; then rm -f "$log_made"; fi
}

interrupted() {
    stop_within=$stop_within_interrupted
    exit "$1"
}

show_log() {
    say "last lines of its output:"
    tail -n "$lines_shown" "$log" >&2
}

# The status of /readyz, 000 if there is no response. Proxies configured in the environment are bypassed.
readiness() { curl -s -m 2 --noproxy '*' -o /dev/null -w '%{http_code}' "$admin/readyz" || true; }

await_ready() {
    ready_until=$(($(date +%s) + ready_within))
    while [ "$(readiness)" != 200 ]; do
        if ! kill -s 0 "$sidecar" 2>/dev/null; then
            code=0
            wait "$sidecar" || code=$?
            say "the sidecar exited with code $code before it was ready"
            show_log
            exit 2
        fi
        if [ "$(date +%s)" -ge "$ready_until" ]; then
            say "the sidecar is not ready after $ready_within s: $admin/readyz does not return 200"
            show_log
            exit 2
        fi
        sleep 0.1
    done
}

command -v curl >/dev/null 2>&1 || give_up "curl not found"
command -v "$load_tester" >/dev/null 2>&1 || give_up "$load_tester not found: set WEIR_LOAD"
# Otherwise the test would measure that process, and the sidecar could not listen anyway.
[ "$(readiness)" = 000 ] || give_up "$admin already responds before the sidecar is started"

trap cleanup EXIT
trap 'interrupted 129' HUP
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

if [ -z "$log" ]; then
    log_made=$(mktemp)
    log=$log_made
fi
printf '' >"$log" || give_up "WEIR_LOG: cannot write $log"

become sh -c "$sidecar_command" >"$log" 2>&1 </dev/null &
sidecar=$!
await_ready
say "the sidecar is ready"

# In the background, because a shell handles no signal while it waits for a foreground process.
become "$load_tester" run "$@" &
load=$!
code=0
wait "$load" || code=$?
load=''

if ! kill -s 0 "$sidecar" 2>/dev/null; then
    say "the sidecar exited during the test"
    show_log
    # A test that passed until then must not let the change through.
    if [ "$code" -eq 0 ]; then code=2; fi
fi
if [ "$code" -gt 2 ]; then
    say "the load tester exited with unexpected code $code"
    code=2
fi
exit "$code"
