#!/bin/sh
# Runs the fuzz targets of proxy/fuzz, as many at a time as there are cores: fuzz.sh [TARGET...]
#
# Each starts from its seeds and from the inputs that earlier runs found, and stops after FUZZ_SECONDS (60) or at
# its first finding. Exits with 1 if there is one; its input is then in target/fuzz/findings/TARGET.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
seconds=${FUZZ_SECONDS:-60}

# One target, with its output in a file of its own and one line here.
run() {
    name=$1
    corpus=$CARGO_TARGET_DIR/corpus/$name
    findings=$CARGO_TARGET_DIR/findings/$name
    log=$CARGO_TARGET_DIR/$name.log
    mkdir -p "$corpus" "$findings"
    if "$FUZZ_PROGRAMS/$name" "-artifact_prefix=$findings/" "-max_total_time=$seconds" -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 "$corpus" "proxy/fuzz/seeds/$name" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
        printf '%s: ok, %s runs in %s s, %s edges\n' "$name" "$runs" "$seconds" "$edges"
    else
        printf '%s: FINDING in %s\n' "$name" "$findings"
        tail -n 20 "$log"
        return 1
    fi
}

# Called by itself below.
if [ -n "${FUZZ_PROGRAMS:-}" ]; then
    run "$1"
    exit
fi

target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$top/$target ;; esac
CARGO_TARGET_DIR=$target/fuzz
# cargo-fuzz passes unstable flags. With this the pinned compiler accepts them, and no nightly toolchain is needed.
RUSTC_BOOTSTRAP=1
PATH=$PATH:$top/.tools
export CARGO_TARGET_DIR RUSTC_BOOTSTRAP PATH

build/setup.sh fuzz
# weir has no unsafe code of its own, so a sanitizer would halve the speed and find little.
(cd proxy && cargo fuzz build --sanitizer none)

FUZZ_PROGRAMS=$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/release
export FUZZ_PROGRAMS
if [ $# -gt 0 ]; then
    printf '%s\n' "$@"
else
    (cd proxy && cargo fuzz list)
fi | xargs -P "$(nproc)" -n 1 "$top/build/fuzz.sh"
