# The two commands to know: `make demo` and `make test`. `make help` lists the others.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The newest server with headers among those the extension supports, unless PG_CONFIG says which.
PG_CONFIG ?= $(shell scripts/find-pg-config.sh)
NO_SERVER = There is no PostgreSQL 14 to 18 with server headers: run `make setup`, or set PG_CONFIG
PG_MAJOR = $(if $(PG_CONFIG),$(shell $(PG_CONFIG) --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/'),$(error $(NO_SERVER)))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
EXTENSION_DIR = $(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension
LIBRARY_DIR = $(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)

export PG_CONFIG
export PGRX_PG_CONFIG_PATH = $(PG_CONFIG)
export CARGO_TARGET_DIR = $(CURDIR)/target
# Servers and their clients inherit the environment; a backtrace in DETAIL helps nobody.
unexport RUST_BACKTRACE

# Always the same packages together, so that cargo never builds a dependency twice.
BUILD = cargo build --release --features notify_json/pg$(PG_MAJOR) \
	-p notify_json -p notify-json-cli -p notify-json-tests

# The benchmark is no member of the workspace, so that nobody else has to build its peers.
BENCH = cargo run --release --locked --manifest-path benches/Cargo.toml

.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

.PHONY: demo
demo: packages build ## Build everything and watch JSON of every size go from psql to Rust
	target/release/demo

.PHONY: demo-stop
demo-stop: ## Stop the demo's server
	test -x target/release/demo || $(MAKE) build
	target/release/demo stop

.PHONY: shop
shop: packages examples ## Run the client's example: orders change by SQL, two services follow
	target/release/shop

.PHONY: test
test: setup build ## Run every test, against servers that the tests start themselves
	scripts/test.sh

.PHONY: soak
soak: packages build ## Long runs under random faults (SEED chooses which), and long histories
	target/release/soak slow-reader 1000000
	target/release/soak faults 200 $(or $(SEED),1)
	target/release/soak durable 1000000 100 $(or $(SEED),1)
	target/release/soak mirror 1000 $(or $(SEED),1)
	target/release/soak retention 24
	target/release/soak drain 5000000

.PHONY: lint
lint: lint-features ## Check the formatting and run clippy over everything
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

# What the two commands of lint leave out.
.PHONY: lint-features
lint-features: packages
	cargo fmt --check --manifest-path benches/Cargo.toml
	cargo clippy -p notify-json-client --no-default-features --all-targets -- -D warnings
	cargo clippy --workspace --features notify_json/pg$(PG_MAJOR),notify-json-tests/metrics \
		--all-targets -- -D warnings
	cargo clippy --manifest-path benches/Cargo.toml --locked --all-targets -- -D warnings

.PHONY: bench
bench: packages build ## Measure beside peers, in a quarter of an hour; ONLY=live chooses scenarios
	$(BENCH) -- $(if $(ONLY),--only '$(ONLY)')

.PHONY: bench-costs
bench-costs: packages build ## Measure watch() beside triggers by hand, and what a contract costs
	target/release/soak watch 100000 7
	target/release/soak contract 5

.PHONY: bench-docs
bench-docs: ## Write the last measurement into README.md and benches/measured/
	$(BENCH) -- --docs

# That every scenario works; the figures mean nothing.
.PHONY: bench-quick
bench-quick: packages build
	$(BENCH) -- --quick >target/bench-quick.log || { tail -n 50 target/bench-quick.log; exit 1; }

.PHONY: fuzz
fuzz: ## Fuzz the wire format for SECONDS (60) a target
	scripts/fuzz.sh $(SECONDS)

.PHONY: setup
setup: packages ## Install what building and testing need
	scripts/private-pgbouncer.sh >/dev/null

.PHONY: packages
packages:
	scripts/setup.sh

.PHONY: build
build: ## Build the extension for PG_CONFIG's server, and the programs
	$(BUILD)

.PHONY: examples
examples: ## Build the client's examples as well
	$(BUILD) -p notify-json-client --lib --bins --examples

# Puts what $(2) puts into "$$stage" into a folder. Each file comes whole, for a server that reads it
# meanwhile.
place = stage=$$(mktemp -d '$(1)/.notify_json.XXXXXX') && trap 'rm -rf "$$stage"' EXIT \
	&& $(strip $(2)) && mv -f "$$stage"/* '$(1)'

.PHONY: install
install: build ## Install the extension into PG_CONFIG's server
	install -d '$(EXTENSION_DIR)' '$(LIBRARY_DIR)'
	$(call place,$(LIBRARY_DIR),\
		install -m 755 target/release/libnotify_json.so "$$stage/notify_json.so")
	$(call place,$(EXTENSION_DIR),\
		install -m 644 sql/notify_json--*.sql "$$stage" \
		&& sed 's/@CARGO_VERSION@/$(VERSION)/' extension/notify_json.control \
			| install -m 644 /dev/stdin "$$stage/notify_json.control")

.PHONY: sql
sql: build ## Regenerate sql/notify_json--VERSION.sql from the extension
	target/release/generate-sql
