# Weft. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One target directory for everything, so that nothing is built twice.
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
BIN := $(CARGO_TARGET_DIR)/debug
CARGO := cargo

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/\1 \2/' \
	| while read -r target text; do printf '  make %-16s %s\n' "$$target" "$$text"; done

.PHONY: install-deps
install-deps: # What is needed beside Rust: a C++ compiler and libclang, for RocksDB; iproute2, for tests
	@./scripts/install-deps

.PHONY: build
build: install-deps ## Build all programs (the first time about 15 minutes on two cores, most of it RocksDB)
	$(CARGO) build --bins

.PHONY: demo
demo: build ## Watch four validators, a full node and three light clients at work on real blobs (DEMO_DATA=<dir>)
	$(BIN)/da-node demo

.PHONY: devnet
devnet: build ## Start the same network and keep it running
	$(BIN)/da-node devnet

.PHONY: test
test: build ## Run every test that takes less than minutes
	$(CARGO) test --no-fail-fast

.PHONY: test-long
test-long: faults catch-up ## Run the tests that take minutes
	$(MAKE) soak MINUTES=10

.PHONY: faults
faults: build ## Cause every fault of docs/faults.md on separate machines in namespaces, and write what happened into it
	$(CARGO) build --example misbehave --example crash
	$(CARGO) test --test it -- --ignored --test-threads=1 faults::

.PHONY: soak
soak: build ## Run fifteen machines under random faults and load, MINUTES=60 SEED=<number>: target/soak/report.html
	SOAK_MINUTES=$(or $(MINUTES),60) SOAK_SEED=$(SEED) \
	$(CARGO) test --test it -- --ignored --exact --nocapture soak::soak

.PHONY: catch-up
catch-up: build ## Measure how nodes catch up with a thousand blocks: after being away, from genesis, from a snapshot
	$(CARGO) test --test it -- --ignored --nocapture catch_up::

.PHONY: test-celestia
test-celestia: install-deps ## Try the gateway with Celestia's own Rust client
	$(CARGO) test --package gateway-tests

.PHONY: lint
lint: install-deps ## Check format, clippy, documentation, dependency directions and licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet
	$(CARGO) test --quiet --test it -- dependencies
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline check licenses bans sources; \
	else echo "cargo-deny is not installed: licences not checked (cargo install cargo-deny)"; fi

.PHONY: bench
bench: build ## Measure a commit of an 8 MiB square, a block's state transition, certificates and the sampling question
	$(CARGO) run --example commit_speed
	$(CARGO) run --example transition_speed
	$(CARGO) run --example certificate_speed
	$(BIN)/sim sampling

.PHONY: bench-gateway
bench-gateway: build ## Measure how long the OP Stack's door takes to answer fifty puts, one at a time
	WEFT_GATEWAY_PUTS=50 $(CARGO) test --test it -- a_put_is_answered_by_finality --nocapture

.PHONY: bench-consensus
bench-consensus: build ## Measure how the time to a decision grows with the block, over links of 75 ms and of none
	$(CARGO) test --test it -- --ignored --nocapture digests::

.PHONY: bench-sim
bench-sim: ## Measure the simulator: events a second, a million light clients, memory
	$(CARGO) build --bin sim
	$(BIN)/sim events
	$(BIN)/sim sampling --width 512 --samples 200 --adversary unlinkable
	$(BIN)/sim propagation --clients 1000000 --runs 1

.PHONY: bench-erasure
bench-erasure: ## Measure the erasure engine beside its peers; ROUNDS=<factor> for more rounds or fewer
	$(CARGO) run --package bench-erasure -- $(or $(ROUNDS),1)

.PHONY: bench-light
bench-light: ## Measure a light client's memory, processor and bytes (needs root or user namespaces): target/bench/light.json
	$(CARGO) build --bin light-client
	$(CARGO) run --example bench_light -- $(CARGO_TARGET_DIR)/bench/light.json

.PHONY: bench-api
bench-api: build ## Measure submissions and quotes on four validators, and compare with what is promised
	$(CARGO) run --example bench-api

SCHEMATHESIS := $(CARGO_TARGET_DIR)/schemathesis
$(SCHEMATHESIS)/bin/schemathesis:
	python3 -m venv $(SCHEMATHESIS)
	$(SCHEMATHESIS)/bin/pip install --quiet schemathesis==4.32.5

# Streams never end, and protobuf bodies are fuzzed by the tests of blob-api; all else is tried.
.PHONY: schemathesis
schemathesis: build $(SCHEMATHESIS)/bin/schemathesis ## Try the HTTP API of a development chain against its description
	@log=$$(mktemp); sleep infinity | $(BIN)/da-node dev --api 127.0.0.1:0 --until-stdin-closes > $$log & \
	trap 'kill $$!' EXIT; until grep -q '^Try' $$log; do sleep 0.1; done; \
	$(SCHEMATHESIS)/bin/schemathesis --config-file blob-api/schemathesis.toml run \
	  "$$(sed -n 's/^ *API *//p' $$log)/openapi.json" \
	  --exclude-path-regex '(events|follow)$$|^/v1/tx$$|^/v1/bodies' --phases coverage,fuzzing
