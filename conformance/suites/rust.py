"""Suites of Rust's drivers, from their crates."""

import os
import pathlib
import re
import shutil

import fetch
import places
import servers
from suites.suite import Suite

# The port that stands in the tests of tokio-postgres.
PORT = 5433

RESULT = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", re.MULTILINE)

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


class Cargo(Suite):
    """Test programs that cargo builds."""

    # A crate's name and its programs.
    built = {}
    # How many tests run at a time.
    threads = 4

    def build(self, name, *options, **environment):
        """Builds the tests of an unpacked crate."""
        source = places.HOME / "crates" / name
        manifest = source / "Cargo.toml"
        if "[workspace]" not in manifest.read_text():
            manifest.write_text(manifest.read_text() + "\n[workspace]\n")
        # It may name a toolchain that is not here.
        (source / "rust-toolchain.toml").unlink(missing_ok=True)
        log = places.HOME / f"{name}-build.log"
        log.unlink(missing_ok=True)
        variables = {
            **os.environ, "CARGO_TARGET_DIR": str(places.HOME / "crates/target"), "CARGO_PROFILE_DEV_DEBUG": "0", **environment}
        places.must(["cargo", "test", "--no-run", *options], log, cwd=source, env=variables)
        self.built = {**self.built, name: re.findall(r"Executable.*\((.*)\)", log.read_text())}

    def run_built(self, target, **environment):
        """The outcomes of all programs."""
        outcomes = {}
        for name, programs in self.built.items():
            for program in programs:
                before = target.log.stat().st_size if target.log.exists() else 0
                self.execute(target, [program, f"--test-threads={self.threads}"], environment, cwd=places.HOME / "crates" / name)
                said = target.log.read_bytes()[before:].decode(errors="replace")
                where = f"{name}::{pathlib.Path(program).name.rsplit('-', 1)[0]}"
                for test, outcome in RESULT.findall(said):
                    outcomes[f"{where}::{test}"] = {"ok": "ok", "FAILED": "failed", "ignored": "skipped"}[outcome]
        return outcomes


class RustPostgres(Cargo):
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
        for package in self.crates:
            source = fetch.crate(package)
            for file in [*source.glob("tests/**/*.rs"), *source.glob("src/test.rs")]:
                text = file.read_text()
                file.write_text(re.sub(rf"(?<!\d)({PORT}|{self.before})(?!\d)", str(self.port), text))
            name = package.split("==")[0]
            features = ["--features", self.features[name]] if name in self.features else []
            self.build(source.name, "--tests", *features)

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
        return self.run_built(target)


class Sqlx(Cargo):
    """sqlx. Its macros ask a server while they are compiled; a small library that its tests need is here, not in its crate."""

    name = "sqlx"
    # Some drop the database that others have made.
    threads = 1
    package = "sqlx==0.8.6"
    features = "runtime-tokio,postgres,macros,migrate,any,derive,json,bigdecimal,bit-vec,chrono,ipnet,ipnetwork,mac_address," \
        "rust_decimal,time,uuid"
    # Of no test with Postgres, and long to build.
    unneeded = ("async-std", "criterion", "libsqlite3-sys", "trybuild")

    def prepare(self):
        source = fetch.crate(self.package)
        shutil.copytree(pathlib.Path(__file__).parent / "sqlx", source / "sqlx-test", dirs_exist_ok=True)
        manifest = source / "Cargo.toml"
        text = manifest.read_text()
        if "sqlx-test" not in text:
            for name in self.unneeded:
                text = re.sub(rf"\[dev-dependencies\.{name}\]\n(?:.+\n)+", "", text)
            manifest.write_text(text + '\n[dev-dependencies.sqlx-test]\npath = "sqlx-test"\n')
        self.setup = (source / "tests/postgres/setup.sql").read_text()
        cluster = servers.Cluster(("runs", self.name, "build", "server"), self)
        try:
            cluster.sql(self.setup)
            self.build(source.name, "--no-default-features", "--features", self.features, "--test", "postgres*",
                       DATABASE_URL=self.url(cluster.port))
        finally:
            cluster.stop()

    @staticmethod
    def url(port):
        """Where its tests connect to."""
        return f"postgres://postgres@127.0.0.1:{port}/postgres"

    def fill(self, target, cluster):
        cluster.sql(self.setup)

    def run(self, target):
        return self.run_built(target, DATABASE_URL=self.url(target.port))
