"""Runs test suites of PostgreSQL and of its drivers directly and through the proxy, and prints what differs.

A test that passes directly and not through the proxy is lost. Exit code 1: a test was lost, or a suite ran no test.
"""

import argparse
import dataclasses
import pathlib
import signal
import sys
import time

import places
import servers
from suites import SUITES
from suites.suite import Missing

MODES = ("observe", "enforce")


@dataclasses.dataclass
class Target:
    """Where a suite connects to, and where it may write."""

    parts: tuple
    port: int = 0

    @property
    def place(self):
        return places.folder(*self.parts)

    @property
    def log(self):
        return self.place / "suite.log"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--modes", default=" ".join(MODES), help="observe, enforce (a policy that allows everything)")
    arguments.add_argument("suites", nargs="*", metavar="SUITE", help=f"all of {', '.join(SUITES)}")
    options = arguments.parse_args()
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        arguments.error(f"no suite is called {', '.join(sorted(unknown))}")
    # Servers are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    # Whoever runs the suites reads what is here.
    places.folder().chmod(0o755)
    reports = [report(SUITES[name], options.modes.split()) for name in options.suites or SUITES]
    print(f"\n{'suite':<16}{'passes directly':>16}" + "".join(f"{'lost, ' + mode:>16}" for mode in options.modes.split()))
    for name, passed, lost in reports:
        print(f"{name:<16}{passed:>16}" + "".join(f"{count:>16}" for count in lost))
    sys.exit(any(passed == 0 or any(lost) for _, passed, lost in reports if passed is not MISSING))


MISSING = "not to be had"


def report(suite, modes):
    """Runs one suite everywhere; its name, how many tests pass directly, and how many are lost in each mode."""
    try:
        print(f"{suite.name}: preparing", flush=True)
        suite.prepare()
    except Missing as missing:
        print(f"{suite.name}: {missing}")
        return suite.name, MISSING, ["-" for _ in modes]
    direct = outcomes(suite, "direct")
    passed = [test for test, outcome in direct.items() if outcome == "ok"]
    lost = []
    for mode in modes:
        through = outcomes(suite, mode)
        differences = [(test, through.get(test, "not run")) for test in direct if is_lost(direct[test], through.get(test))]
        for test, outcome in differences:
            print(f"{suite.name}: {mode}: {test}: {outcome.partition(':')[0]}", flush=True)
        lost.append(len(differences))
    return suite.name, len(passed), lost


def is_lost(direct, through):
    """It passes directly alone; or it fails directly, runs to the same end, and prints something else."""
    if direct == "ok":
        return through != "ok"
    return direct.startswith("failed: ") and through != "ok" and direct != through


def outcomes(suite, mode):
    """One run against a server of its own."""
    began = time.monotonic()
    target = Target(("runs", suite.name, mode))
    places.fresh(*target.parts)
    fixed = suite.port
    cluster = servers.Cluster((*target.parts, "server"), suite, fixed if mode == "direct" else None)
    proxy = None
    try:
        if mode != "direct":
            proxy = servers.Proxy(cluster, mode, (*target.parts, "proxy"), fixed)
        target.port = proxy.port if proxy else cluster.port
        suite.fill(target, cluster)
        found = suite.run(target)
    finally:
        if proxy:
            proxy.stop()
        cluster.stop()
    counts = {word: sum(outcome.startswith(word) for outcome in found.values()) for word in ("ok", "failed", "skipped")}
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    print(f"{suite.name}: {mode}: {said}, {time.monotonic() - began:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
