"""PostgreSQL's own suites, from the source of the version that is installed."""

import re
import subprocess

import fetch
import places
from suites.suite import Suite

RESULT = re.compile(r"^(?:test| +)\s*(\S+)\s+\.\.\. (ok|FAILED|failed)", re.MULTILINE)


class Regress(Suite):
    """The core suite, file by file; where a file fails directly too, what it printed must be the same."""

    name = "pg_regress"
    # Thousands of definitions, each of which is read back; an unoptimised proxy takes its time.
    limit = 7200
    folder = "src/test/regress"
    runner = "pgxs/src/test/regress/pg_regress"
    schedule = "parallel_schedule"
    database = "regression"

    def prepare(self):
        self.source = fetch.postgres()
        self.inputs = self.source / self.folder
        if not (self.source / "src/test/regress/regress.so").exists():
            log = places.HOME / "postgres-build.log"
            for folder, *goals in [
                ("src/backend", "generated-headers"),
                ("src/test/regress", "regress.so", "refint.so", "autoinc.so"),
            ]:
                places.must(["make", "-C", self.source / folder, *goals], log)
        places.own_tree(self.inputs)

    def run(self, target):
        outputs = places.fresh(*target.parts, "out")
        text = self.execute(target, [
            places.pg_bin().parent / "lib" / self.runner, f"--bindir={places.pg_bin()}",
            f"--dlpath={self.source / 'src/test/regress'}", f"--inputdir={self.inputs}", f"--outputdir={outputs}",
            f"--schedule={self.inputs / self.schedule}", "--host=127.0.0.1", f"--port={target.port}",
            "--user=postgres", f"--dbname={self.database}", "--max-concurrent-tests=20",
        ], cwd=outputs)
        return {test: self.outcome(outputs, test, said) for test, said in RESULT.findall(text)}

    @staticmethod
    def outcome(outputs, test, said):
        """What fails directly is compared by what it printed, but for the numbers that differ between any two runs."""
        if said == "ok":
            return "ok"
        printed = outputs / "results" / f"{test}.out"
        text = printed.read_text(errors="replace") if printed.exists() else ""
        return "failed: " + re.sub(r"\d+", "N", text)


class Isolation(Regress):
    """Statements of several sessions, interleaved."""

    name = "isolation"
    folder = "src/test/isolation"
    runner = "pgxs/src/test/isolation/pg_isolation_regress"
    schedule = "isolation_schedule"
    database = "isolation_regression"


class Pipeline(Suite):
    """libpq's pipeline mode, with the traces of its messages."""

    name = "libpq_pipeline"
    rows = 700
    traced = "simple_pipeline nosync multi_pipelines prepared singlerow pipeline_abort pipeline_idle transaction " \
        "disallowed_in_pipeline".split()

    def prepare(self):
        source = fetch.postgres()
        self.traces = source / "src/test/modules/libpq_pipeline/traces"
        self.program = places.HOME / "libpq_pipeline"
        if self.program.exists():
            return
        log = places.HOME / "postgres-build.log"
        for folder in ["src/backend generated-headers", "src/port libpgport.a", "src/common libpgcommon.a"]:
            where, goal = folder.split()
            places.must(["make", "-C", source / where, goal], log)
        places.must([
            "cc", "-I", source / "src/include", "-I", source / "src/interfaces/libpq", "-o", self.program,
            source / "src/test/modules/libpq_pipeline/libpq_pipeline.c", "-lpq",
            source / "src/common/libpgcommon.a", source / "src/port/libpgport.a",
        ], log)

    def run(self, target):
        outcomes = {}
        tests = subprocess.run([self.program, "tests"], capture_output=True, text=True, check=True).stdout.split()
        for test in tests:
            trace = target.place / f"{test}.trace"
            before = target.log.stat().st_size if target.log.exists() else 0
            self.execute(target, [
                "sh", "-c", 'timeout 600 "$0" "$@" && echo "passed: $1"; true',
                self.program, "-r", self.rows, "-t", trace, test, f"host=127.0.0.1 port={target.port} dbname=postgres",
            ])
            said = target.log.read_bytes()[before:].decode(errors="replace")
            outcomes[test] = "ok" if "passed: " in said else "failed"
            if test in self.traced:
                expected, found = self.traces / f"{test}.trace", trace.read_text() if trace.exists() else ""
                outcomes[f"{test} trace"] = "ok" if expected.read_text() == found else "failed: " + found
        return outcomes
