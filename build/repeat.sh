#!/bin/sh
# Runs all tests N times and reports how often each of them failed: repeat.sh N [--busy] [FILTER...]
#
# --busy keeps all processors busy meanwhile, as on a loaded machine: a test that fails there is flaky. FILTERs are
# those of cargo test: parts of the names of tests. The output of each round is in target/repeat/.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
target=${CARGO_TARGET_DIR:-target}
# Tests run in the directory of their crate.
case $target in /*) ;; *) target=$top/$target ;; esac
PATH=$PATH:$top/.tools
export PATH

usage() {
    printf 'usage: build/repeat.sh N [--busy] [FILTER...]\n' >&2
    exit 2
}

rounds=${1:-}
case $rounds in '' | *[!0-9]* | 0) usage ;; esac
shift
busy=no
if [ "${1:-}" = --busy ]; then
    busy=yes
    shift
fi
case ${1:-} in -*) usage ;; esac

hogs=''
# Ends only the processes that were started here.
release() {
    for hog in $hogs; do kill "$hog" 2>/dev/null || true; done
    hogs=''
}
trap release EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

occupy() {
    count=$(getconf _NPROCESSORS_ONLN)
    while [ "$count" -gt 0 ]; do
        (while :; do :; done) &
        hogs="$hogs $!"
        count=$((count - 1))
    done
}

logs=$target/repeat
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs/failed"
: >"$logs/failed"

cargo test --workspace --locked --no-run
if [ "$busy" = yes ]; then occupy; fi

red=0
round=1
while [ "$round" -le "$rounds" ]; do
    log=$logs/$round.log
    started=$(date +%s)
    status=0
    WEIR_BIN="$target/debug/weir" RUST_BACKTRACE=0 \
        cargo test --workspace --locked --no-fail-fast -- "$@" >"$log" 2>&1 || status=$?
    took=$(($(date +%s) - started))
    if [ "$status" -eq 0 ]; then
        printf 'round %s of %s: ok, %s s\n' "$round" "$rounds" "$took"
    else
        red=$((red + 1))
        printf 'round %s of %s: FAILED after %s s\n' "$round" "$rounds" "$took"
        names=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort -u)
        # A crash names no test; the log has its output.
        if [ -z "$names" ]; then names="no test by its name, see $log"; fi
        printf '%s\n' "$names" | tee -a "$logs/failed" | sed 's/^/    /'
    fi
    round=$((round + 1))
done

printf '\nrounds: %s, red: %s\n' "$rounds" "$red"
if [ "$red" -gt 0 ]; then
    printf 'how often, and which:\n'
    sort "$logs/failed" | uniq -c | sort -rn
    exit 1
fi
