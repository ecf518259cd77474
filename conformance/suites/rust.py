"""Suites of Rust's drivers, from their crates."""

import os
import re

import fetch
import places
import servers
from suites.suite import Suite

# The port that stands in the tests.
PORT = 5433

ROLES = """
SET password_encryption TO 'md5';
CREATE ROLE pass_user PASSWORD 'password' LOGIN;
CREATE ROLE md5_user PASSWORD 'password' LOGIN;
SET password_encryption TO 'scram-sha-256';
CREATE ROLE scram_user PASSWORD 'password' LOGIN;
CREATE ROLE ssl_user LOGIN;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
"""


class RustPostgres(Suite):
    """tokio-postgres, its blocking sister, and their types."""

    name = "rust-postgres"
    crates = ("tokio-postgres==0.7.18", "postgres==0.19.14")
    features = {
        "tokio-postgres": "with-bit-vec-0_6,with-chrono-0_4,with-eui48-1,with-geo-types-0_7,with-serde_json-1,"
        "with-smol_str-01,with-time-0_3,with-uuid-1,array-impls,runtime",
    }
    hba = "host all pass_user all password\nhost all md5_user all md5\nhost all scram_user all scram-sha-256\n"

    def prepare(self):
        self.port = self.chosen_port()
        self.built = {}
        for package in self.crates:
            name = package.split("==")[0]
            source = fetch.crate(package)
            for file in [*source.glob("tests/**/*.rs"), *source.glob("src/test.rs")]:
                text = file.read_text()
                file.write_text(re.sub(rf"(?<!\d)({PORT}|{self.before})(?!\d)", str(self.port), text))
            with open(source / "Cargo.toml", "a") as manifest:
                if "[workspace]" not in (source / "Cargo.toml").read_text():
                    manifest.write("\n[workspace]\n")
            features = ["--features", self.features[name]] if name in self.features else []
            log = places.HOME / f"{name}-build.log"
            log.unlink(missing_ok=True)
            environment = {**os.environ, "CARGO_TARGET_DIR": str(places.HOME / "crates/target")}
            places.must(["cargo", "test", "--no-run", "--tests", *features], log, cwd=source, env=environment)
            self.built[name] = re.findall(r"Executable.*\((.*)\)", log.read_text())

    def chosen_port(self):
        """The port that is compiled in: chosen once, kept while it is free."""
        chosen = places.folder("crates") / "port"
        self.before = int(chosen.read_text()) if chosen.exists() else PORT
        port = self.before if chosen.exists() and servers.is_free(self.before) else servers.free_port()
        chosen.write_text(str(port))
        return port

    def fill(self, target, cluster):
        cluster.sql(ROLES)

    def run(self, target):
        outcomes = {}
        for name, programs in self.built.items():
            for program in programs:
                before = target.log.stat().st_size if target.log.exists() else 0
                self.execute(target, [program, "--test-threads=4"], cwd=places.HOME / "crates")
                said = target.log.read_bytes()[before:].decode(errors="replace")
                for test, outcome in re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", said, re.MULTILINE):
                    outcomes[f"{name}::{test}"] = {"ok": "ok", "FAILED": "failed", "ignored": "skipped"}[outcome]
        return outcomes
