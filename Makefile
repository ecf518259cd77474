# All the set-up there is: `make test` and `make demo` install what a fresh Debian machine lacks.

CARGO_FLAGS := --locked
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: test demo lint fmt bench setup torture conformance

test: setup
	cargo nextest run $(CARGO_FLAGS)

# The proxy is killed under load again and again; what the log holds afterwards is compared with what Postgres saw.
torture: setup
	HOLDGATE_TORTURE_ROUNDS=$${ROUNDS:-200} cargo test $(CARGO_FLAGS) --test it torture:: -- --nocapture

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
