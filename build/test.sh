#!/bin/sh
# Runs all checks and tests, step by step, with the time of each. The steps after a failed one still run. A step
# whose tool is missing is skipped, reported and counted; with CI=true it fails.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
target=${CARGO_TARGET_DIR:-target}
# Tests run in the directory of their crate.
case $target in /*) ;; *) target=$top/$target ;; esac
PATH=$PATH:$top/.tools
export PATH

passed=0 failed=0 skipped=0 failures=''

step() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    started=$(date +%s)
    # A step exits with 77 when it cannot run here.
    status=0
    "$@" || status=$?
    took=$(($(date +%s) - started))
    if [ "$status" -eq 77 ] && [ "${CI:-}" != true ]; then
        printf '== %s: SKIPPED after %s s\n' "$name" "$took"
        skipped=$((skipped + 1))
    elif [ "$status" -eq 0 ]; then
        printf '== %s: ok, %s s\n' "$name" "$took"
        passed=$((passed + 1))
    else
        printf '== %s: FAILED with %s after %s s\n' "$name" "$status" "$took"
        failed=$((failed + 1))
        failures="$failures $name"
    fi
}

# A step that needs a tool, and is skipped without it.
with_tool() {
    tool=$1
    shift
    if ! command -v "$tool" >/dev/null 2>&1; then
        printf '%s is missing\n' "$tool"
        return 77
    fi
    "$@"
}

# The unit names /usr/local/bin/weir, which need not be there to check it.
check_unit() {
    directory=$(mktemp -d)
    sed 's|/usr/local/bin/weir|/bin/true|' deploy/systemd/weir.service >"$directory/weir.service"
    status=0
    systemd-analyze verify "$directory/weir.service" || status=$?
    rm -rf "$directory"
    return "$status"
}

# The examples select the development dependencies, so cargo resolves the features that the lints have. Without
# them it would check pingora and some thirty other crates a second time.
documentation() { RUSTDOCFLAGS='-D warnings' cargo doc --workspace --lib --examples --no-deps --locked; }

# The whole workspace at once: one set of features, so nothing is built twice, and the binary that
# the end-to-end tests start is built on the way.
tests() {
    cargo test --workspace --locked --no-run
    if [ ! -x "$target/debug/weir" ]; then
        printf 'no binary at %s/debug/weir\n' "$target"
        return 1
    fi
    # Most tests wait for processes and deadlines: with one thread a core, half of the cores would idle.
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))} WEIR_BIN="$target/debug/weir" \
        cargo test --workspace --locked --no-fail-fast
}

build/setup.sh test
step format cargo fmt --check
step lints cargo clippy --workspace --all-targets --locked -- -D warnings
step documentation documentation
step dependencies with_tool cargo-deny build/check-dependencies.sh
step tests tests
step metrics with_tool promtool build/check-metrics.sh "$target/debug/weir"
step alerts with_tool promtool build/check-alerts.sh
step ci build/check-ci.sh "$target/debug/weir-load"
step scripts with_tool shellcheck shellcheck .ci/run build/*.sh deploy/ci/gate.sh
step unit with_tool systemd-analyze check_unit

printf '\nsteps: %s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
if [ "$failed" -gt 0 ]; then
    printf 'failed:%s\n' "$failures"
    exit 1
fi
