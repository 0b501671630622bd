#!/bin/sh
# A load test as a gate for CI: starts the sidecar, waits until it is ready, runs `weir-load run` with
# the arguments given here, stops the sidecar, and exits as the load tester did. So a change that makes
# answers slow or wrong fails its pull request, and not the service.
#
#   deploy/ci/gate.sh --target http://127.0.0.1:8080 --config weir.yaml --admin http://127.0.0.1:8081 \
#     --scenario chat --rate 50/s --duration 60s --slo 'p99<800ms' --slo 'error_rate<0.5%' --junit load.xml
#
# The assistant is yours to start before, and to stop. Standard output is the load tester's alone, to be
# pasted as it is; what the gate has to say goes to standard error. It needs curl.
#
# Exit codes: 0, every objective held; 1, one did not; 2, the test could not run: also when the sidecar
# does not start, dies before it is ready or during a test that held otherwise; 128 and the number of a
# signal that ended the gate.
#
# Environment:
#   WEIR          the sidecar's program (weir)
#   WEIR_CONFIG   its configuration (weir.yaml)
#   SIDECAR       the command line that starts the sidecar, and stays in the foreground
#                 ("$WEIR" run --config "$WEIR_CONFIG")
#   WEIR_LOAD     the load tester's program (weir-load)
#   WEIR_ADMIN    the sidecar's admin address, where /readyz is asked (http://127.0.0.1:8081)
#   WEIR_LOG      a file for the sidecar's output (a temporary one, gone at the end)
#   READY_WITHIN  seconds until the sidecar must be ready (30)
#   STOP_WITHIN   seconds that it has to stop before it is killed (40, more than shutdown.drain)
#
# shellcheck disable=SC2317 # what traps call looks as if nobody called it
set -eu

if [ "$#" -eq 0 ]; then
    printf "usage: gate.sh ARGUMENTS OF 'weir-load run'\n" >&2
    exit 2
fi

WEIR=${WEIR:-weir}
WEIR_CONFIG=${WEIR_CONFIG:-weir.yaml}
# A shell of its own reads it, so that paths with spaces stay whole.
# shellcheck disable=SC2016 # expanded there
sidecar_command=${SIDECAR:-'"$WEIR" run --config "$WEIR_CONFIG"'}
export WEIR WEIR_CONFIG
load_tester=${WEIR_LOAD:-weir-load}
admin=${WEIR_ADMIN:-http://127.0.0.1:8081}
admin=${admin%/}
ready_within=${READY_WITHIN:-30}
stop_within=${STOP_WITHIN:-40}
log=${WEIR_LOG:-}
# What CI sends before it kills leaves ten seconds at most; nobody waits for answers then.
stop_within_interrupted=3
lines_shown=20

sidecar='' load='' log_made=''

say() { printf 'gate: %s\n' "$*" >&2; }

# A test that could not run.
give_up() {
    say "$*"
    exit 2
}

# Becomes the command, as the first of a process group where that can be had: then a wrapper's children
# are stopped with it.
become() {
    if command -v setsid >/dev/null 2>&1; then exec setsid "$@"; else exec "$@"; fi
}

send() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null || true; }

# Whether anything of its group is still there.
is_there() { kill -s 0 -- "-$1" 2>/dev/null || kill -s 0 "$1" 2>/dev/null; }

# Ends a process and its group: stop NAME PROCESS SECONDS.
stop() {
    stop_until=$(($(date +%s) + $3))
    send TERM "$2"
    while is_there "$2"; do
        if [ "$(date +%s)" -ge "$stop_until" ]; then
            say "$1 did not end within $3 s of SIGTERM, so it is killed"
            send KILL "$2"
            break
        fi
        sleep 0.1
    done
    wait "$2" 2>/dev/null || true
}

# Runs at every end. The load tester goes first: without clients the sidecar has nothing to drain.
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
    say "the last lines of its output:"
    tail -n "$lines_shown" "$log" >&2
}

# The code of /readyz, 000 where nobody answers. A proxy of the environment has no business in between.
readiness() { curl -s -m 2 --noproxy '*' -o /dev/null -w '%{http_code}' "$admin/readyz" || true; }

await_ready() {
    ready_until=$(($(date +%s) + ready_within))
    while [ "$(readiness)" != 200 ]; do
        if ! kill -s 0 "$sidecar" 2>/dev/null; then
            code=0
            wait "$sidecar" || code=$?
            say "the sidecar ended with $code before it was ready"
            show_log
            exit 2
        fi
        if [ "$(date +%s)" -ge "$ready_until" ]; then
            say "the sidecar is not ready after $ready_within s: $admin/readyz does not answer 200"
            show_log
            exit 2
        fi
        sleep 0.1
    done
}

command -v curl >/dev/null 2>&1 || give_up "curl is missing"
command -v "$load_tester" >/dev/null 2>&1 || give_up "there is no $load_tester: set WEIR_LOAD"
# Else the test would measure that one, and the sidecar could not listen anyway.
[ "$(readiness)" = 000 ] || give_up "something answers at $admin before the sidecar was started"

trap cleanup EXIT
trap 'interrupted 129' HUP
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

if [ -z "$log" ]; then
    log_made=$(mktemp)
    log=$log_made
fi
printf '' >"$log" || give_up "WEIR_LOG: $log cannot be written"

become sh -c "$sidecar_command" >"$log" 2>&1 </dev/null &
sidecar=$!
await_ready
say "the sidecar is ready"

# In the background, because a shell that waits for a program hears of no signal until that has ended.
become "$load_tester" run "$@" &
load=$!
code=0
wait "$load" || code=$?
load=''

if ! kill -s 0 "$sidecar" 2>/dev/null; then
    say "the sidecar ended during the test"
    show_log
    # What held until then is no reason to let the change in.
    if [ "$code" -eq 0 ]; then code=2; fi
fi
if [ "$code" -gt 2 ]; then
    say "the load tester ended with $code, which is none of its own exit codes"
    code=2
fi
exit "$code"
