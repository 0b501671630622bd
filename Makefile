# The commands of this repository; `make help` lists them.
# ARGS is passed to the program: make run ARGS="--port-base 18080", make loadtest ARGS="--rate 100/s"

ARGS ?=
export LATENCY ?= 120ms
export PORT_BASE ?= 18180
export FUZZ_SECONDS ?= 60
TARGET := $(or $(CARGO_TARGET_DIR),target)

# rustup installs cargo here; it is missing in the PATH of a shell that was started before.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Naming both packages makes cargo resolve one set of features, so `make loadtest` reuses what `make run` built.
UNIFIED := -p weir -p weir-load

.DEFAULT_GOAL := help
.PHONY: help run install test loadtest check fmt bench fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build weir (installing a C compiler and cmake if they lack) and start its demo
	@build/setup.sh build
	@cargo build --release --locked $(UNIFIED) --bin weir
	@exec "$(TARGET)/release/weir" demo $(ARGS)

install: ## put weir and weir-load where cargo puts programs, most often ~/.cargo/bin
	@build/setup.sh build
	@cargo install --locked --path proxy
	@cargo install --locked --path loadtest
	@command -v weir >/dev/null || printf '%s\n' 'put the folder that cargo named into your PATH'

test: ## all checks and tests: format, lints, docs, tests, metrics, scripts
	@build/test.sh

loadtest: ## the gate of CI against the demo: 50/s for 60 s; LATENCY=900ms makes it fail
	@build/loadtest.sh $(ARGS)

check: ## the quick part of `make test`: format and lints
	@build/setup.sh build
	@cargo fmt --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format the code
	@cargo fmt

bench: ## compare weir with a bare pingora proxy and nginx; writes target/bench/report.json
	@build/setup.sh bench
	@bench/run $(ARGS)

fuzz: ## run each fuzz target of proxy/fuzz for FUZZ_SECONDS, 60 by default; ARGS names targets
	@build/fuzz.sh $(ARGS)

clean: ## remove what was built and the tools that `make test` fetched
	@cargo clean
	@rm -rf .tools
