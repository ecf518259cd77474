#!/usr/bin/env python3
"""What a proxy costs: direct, a plain TCP relay, PgBouncer in session mode where it is installed, and Holdgate.

All rounds are interleaved in one run, on a server of its own. Throughput is a ratio to the direct connection; CPU is
that of the proxy process for each query, the minimum of all rounds; system calls are counted by strace in a round of
their own. Absolute times of one machine mean little; the columns of one run may be compared with each other.

Usage: benches/pgbench/run.py [--rounds 7] [--seconds 3] [--only simple,extended,prepared,large,idle,syscalls]
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
TICK = os.sysconf("SC_CLK_TCK")
# Just below the rows at which the shipped policy asks a person.
LARGE_ROWS = 10_000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def as_server(*command, **options):
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    return subprocess.run([*prefix, *map(str, command)], check=True, **options)


class Way:
    """One way to the server: a port, and the process whose cost is measured (none for the direct one)."""

    def __init__(self, name, port, process=None):
        self.name, self.port, self.process = name, port, process

    @property
    def dsn(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def cpu(self):
        """User and system seconds so far."""
        if self.process is None:
            return 0.0, 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) / TICK, int(fields[12]) / TICK

    def resident(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def pgbench(way, protocol, clients, seconds, script=None):
    what = ["-f", str(script)] if script else ["-S"]
    command = ["pgbench", "-n", *what, "-M", protocol, "-c", str(clients), "-j", "1", "-T", str(seconds), way.dsn]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tps = float(re.search(r"^tps = ([0-9.]+)", out, re.M)[1])
    return tps, int(re.search(r"actually processed: (\d+)", out)[1])


def measure(ways, protocol, clients, rounds, seconds, script=None):
    """Rows of (name, throughput against direct, user us, total us), a query."""
    seen = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            user, system = way.cpu()
            tps, count = pgbench(way, protocol, clients, seconds, script)
            user_after, system_after = way.cpu()
            cost = (user_after - user) * 1e6 / count, (user_after - user + system_after - system) * 1e6 / count
            seen[way.name].append((tps, *cost))
    direct = statistics.median(row[0] for row in seen["direct"])
    for way in ways:
        rows = seen[way.name]
        yield (
            way.name,
            statistics.median(row[0] for row in rows) / direct,
            min(row[1] for row in rows),
            min(row[2] for row in rows),
        )


def syscalls(way, protocol, script=None, seconds=2):
    """System calls a query at one client."""
    with tempfile.NamedTemporaryFile("r") as table:
        command = ["strace", "-f", "-c", "-o", table.name, "-p", str(way.process.pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        _, count = pgbench(way, protocol, 1, seconds, script)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        lines = Path(table.name).read_text().splitlines()
    total = next(line for line in lines if line.rstrip().endswith("total"))
    return calls(total) / count


def calls(total):
    """The column of calls in strace's last line: percent, seconds, microseconds a call, calls, errors, 'total'."""
    return int(total.split()[3])


def idle(way, sessions=1000):
    """Bytes of memory an idle session."""
    before = way.resident()
    opened = []
    startup = b"user\0postgres\0database\0postgres\0\0"
    packet = (len(startup) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + startup
    try:
        for _ in range(sessions):
            s = socket.create_connection(("127.0.0.1", way.port))
            s.sendall(packet)
            opened.append(s)
            read_until_ready(s)
        query = b"SELECT 1\0"
        for s in opened:
            s.sendall(b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
            read_until_ready(s)
        time.sleep(1)
        return (way.resident() - before) / sessions
    finally:
        for s in opened:
            s.close()


def read_until_ready(s):
    data = b""
    while not (len(data) >= 6 and data[-6:-1] == b"Z\0\0\0\5"):
        more = s.recv(65536)
        if not more:
            raise SystemExit("a session was closed: " + repr(data[-200:]))
        data += more


@contextlib.contextmanager
def everything(ways_wanted):
    """A server, and the ways to it."""
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack:
        work = Path(work)
        os.chmod(work, 0o755)
        home = work / "server"
        home.mkdir()
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
        port = free_port()
        as_server(BIN / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "-N", stdout=subprocess.DEVNULL)
        options = f"-p {port} -c fsync=off -c max_connections=2300 -c unix_socket_directories='{home}' -c listen_addresses=127.0.0.1"
        as_server(BIN / "pg_ctl", "-D", home / "data", "-w", "-l", home / "log", "-o", options, "start", stdout=subprocess.DEVNULL)
        stack.callback(as_server, BIN / "pg_ctl", "-D", home / "data", "-m", "immediate", "stop", stdout=subprocess.DEVNULL)
        direct = Way("direct", port)
        subprocess.run(["pgbench", "-i", "-q", "-s", "5", direct.dsn], check=True, capture_output=True)
        ways = [direct]
        for name in ways_wanted:
            listen = free_port()
            process = START[name](work, port, listen)
            if process is None:
                continue
            stack.callback(stop, process)
            ways.append(Way(name, listen, process))
        for way in ways:
            wait_for(way)
        yield ways, work


def stop(process):
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()


def wait_for(way):
    for _ in range(200):
        if subprocess.run(["psql", "-qAtc", "select 1", way.dsn], capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise SystemExit(f"{way.name} does not answer")


def start_relay(_work, server, listen):
    return subprocess.Popen([ROOT / "target/release/examples/tcp_relay", f"127.0.0.1:{listen}", f"127.0.0.1:{server}"])


def start_pgbouncer(work, server, listen):
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        return None
    config = work / "pgbouncer.ini"
    (work / "users.txt").write_text('"postgres" ""\n')
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={listen}\n"
        f"pool_mode=session\nauth_type=trust\nauth_file={work}/users.txt\nmax_client_conn=2000\ndefault_pool_size=1050\n"
        "unix_socket_dir=\nlogfile=\nverbose=0\nlog_connections=0\nlog_disconnections=0\n"
    )
    for path in (config, work / "users.txt"):
        path.chmod(0o644)
    prefix = ["setpriv", "--reuid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return subprocess.Popen([*prefix, program, "-q", str(config)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def start_holdgate(*more):
    def start(work, server, listen):
        state = work / f"state-{listen}"
        command = [ROOT / "target/release/holdgate", "serve", "--upstream", f"postgres://postgres@127.0.0.1:{server}/postgres"]
        command += ["--listen", f"127.0.0.1:{listen}", "--http", "127.0.0.1:0", "--state", state, *more]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    return start


START = {
    "relay": start_relay,
    "pgbouncer": start_pgbouncer,
    "observe": start_holdgate("--mode", "observe"),
    "holdgate": start_holdgate("--mode", "enforce"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--ways", default="relay,pgbouncer,holdgate")
    parser.add_argument("--only", default="simple,extended,prepared,large,syscalls,idle")
    args = parser.parse_args()
    if "PREBUILT" not in os.environ:
        build = ["cargo", "build", "--release", "--locked", "--example", "tcp_relay", "--bin", "holdgate"]
        subprocess.run(build, cwd=ROOT, check=True)
    only = args.only.split(",")
    with everything(args.ways.split(",")) as (ways, work):
        large = work / "large.sql"
        large.write_text(f"SELECT aid, bid, abalance, filler FROM pgbench_accounts LIMIT {LARGE_ROWS};\n")
        megabytes = result_megabytes(ways[0])
        print(f"{'workload':<10} {'through':<10} {'tps/direct':>10} {'user us/q':>10} {'cpu us/q':>10} {'cpu/relay':>10}")
        for workload in only:
            if workload in ("simple", "extended", "prepared"):
                report(workload, measure(ways, workload, 4, args.rounds, args.seconds))
            elif workload == "large":
                rows = measure(ways, "simple", 1, args.rounds, args.seconds, large)
                report("large, MB", ((n, r, u / megabytes, t / megabytes) for n, r, u, t in rows))
        if "syscalls" in only and shutil.which("strace"):
            for way in ways[1:]:
                each = [f"{syscalls(way, p):.1f} {p}" for p in ("simple", "extended", "prepared")]
                print(f"{'syscalls':<10} {way.name:<10} {', '.join(each)}, {syscalls(way, 'simple', large) / megabytes:.1f} a MB")
        if "idle" in only:
            for way in ways[1:]:
                print(f"{'idle':<10} {way.name:<10} {idle(way) / 1024:.1f} KiB a session")


def report(workload, rows):
    rows = list(rows)
    base = next((row[3] for row in rows if row[0] == "relay"), None)
    for name, ratio, user, total in rows:
        against = f"{total / base:.2f}" if base and name != "direct" else ""
        print(f"{workload:<10} {name:<10} {ratio:>10.2f} {user:>10.1f} {total:>10.1f} {against:>10}", flush=True)


def result_megabytes(direct):
    query = f"COPY (SELECT aid, bid, abalance, filler FROM pgbench_accounts LIMIT {LARGE_ROWS}) TO STDOUT"
    text = subprocess.run(["psql", "-qAtc", query, direct.dsn], check=True, capture_output=True).stdout
    # A row travels with a header of 7 bytes and a length of 4 bytes for each of 4 columns, without separators.
    return (len(text) + LARGE_ROWS * (7 + 16 - 4)) / 1e6


if __name__ == "__main__":
    main()
