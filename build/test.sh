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

# Runs a step, and counts how it ended.
step() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    started=$(date +%s)
    # A step exits with 77 when it cannot run here.
    status=0
    "$@" || status=$?
    count "$name" "$status" "$(($(date +%s) - started))"
}

count() {
    if [ "$2" -eq 77 ] && [ "${CI:-}" != true ]; then
        printf '== %s: SKIPPED after %s s\n' "$1" "$3"
        skipped=$((skipped + 1))
    elif [ "$2" -eq 0 ]; then
        printf '== %s: ok, %s s\n' "$1" "$3"
        passed=$((passed + 1))
    else
        printf '== %s: FAILED with %s after %s s\n' "$1" "$2" "$3"
        failed=$((failed + 1))
        failures="$failures $1"
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
build_tests() {
    cargo test --workspace --locked --no-run
    if [ ! -x "$target/debug/weir" ]; then
        printf 'no binary at %s/debug/weir\n' "$target"
        return 1
    fi
}

# Most tests wait for processes and deadlines: with one thread a core, the cores would idle. For the same reason they
# run beside the steps that compute; their output is printed when they have ended. They have a process group of their
# own, so that an interrupt ends everything that they have started.
start_tests() {
    tests_log=$target/tests.log
    tests_started=$(date +%s)
    setsid env "RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}" "WEIR_BIN=$target/debug/weir" \
        cargo test --workspace --locked --no-fail-fast >"$tests_log" 2>&1 &
    tests_pid=$!
    trap 'kill -- "-$tests_pid" 2>/dev/null || true' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

finish_tests() {
    printf '\n== tests\n'
    status=0
    wait "$tests_pid" || status=$?
    trap - EXIT INT TERM
    cat "$tests_log"
    count tests "$status" "$(($(date -r "$tests_log" +%s) - tests_started))"
}

build/setup.sh test
step format cargo fmt --check
step build build_tests
start_tests
step lints cargo clippy --workspace --all-targets --locked -- -D warnings
step documentation documentation
step dependencies with_tool cargo-deny build/check-dependencies.sh
step scripts with_tool shellcheck shellcheck .ci/run build/*.sh deploy/ci/gate.sh
step unit with_tool systemd-analyze check_unit
finish_tests
step metrics with_tool promtool build/check-metrics.sh "$target/debug/weir"
step alerts with_tool promtool build/check-alerts.sh
step ci build/check-ci.sh "$target/debug/weir-load"

printf '\nsteps: %s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
if [ "$failed" -gt 0 ]; then
    printf 'failed:%s\n' "$failures"
    exit 1
fi
