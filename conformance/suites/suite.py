"""What all suites have in common."""

import contextlib
import os
import signal
import subprocess

import places


class Missing(Exception):
    """The package managers do not carry what the suite needs."""


class Suite:
    """One suite; `run` gives the outcome of each test by its name: ok, failed or skipped."""

    name = ""
    # Seconds that one run may take.
    limit = 1800
    # Lines for postgresql.conf.
    settings = ""
    # Lines for the head of pg_hba.conf.
    hba = ""
    # The one port that its tests know.
    port = None

    def prepare(self):
        """Fetches and builds."""

    def fill(self, target, cluster):
        """Gives a new server the roles and databases that the tests expect, directly."""

    def run(self, target):
        """Runs all tests against a target."""
        raise NotImplementedError

    def execute(self, target, command, environment=None, cwd=None):
        """Runs a suite's own runner as nobody's root; its output is in the target's log."""
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "HOME": str(target.place),
            "LANG": "C.UTF-8",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(target.port),
            "PGUSER": "postgres",
            **(environment or {}),
        }
        with open(target.log, "ab") as log:
            runner = subprocess.Popen(
                [*places.unprivileged(), *map(str, command)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=variables, cwd=cwd or target.place, start_new_session=True)
            try:
                runner.wait(timeout=self.limit)
            except subprocess.TimeoutExpired:
                log.write(f"\n{self.name}: not done after {self.limit} s\n".encode())
            finally:
                # Whatever it started and left behind ends with it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(runner.pid, signal.SIGKILL)
                runner.wait()
        return target.log.read_text(errors="replace")
