"""A throw-away cluster and the proxy in front of it, on free ports."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

import places

ALLOW_ALL = "version: 1\nerrors: pass\nrules: []\ndefault: allow\n"

SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 200
max_prepared_transactions = 10
wal_level = logical
max_wal_senders = 10
log_min_messages = fatal
"""

# Suites try how much a server takes; the proxy's bounds are its operator's to set.
CONFIG = "limits: { statement_max: 256MiB, bind_max: 256MiB }\n"

READY_WITHIN_S = 60


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port):
    """Nobody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Cluster:
    """A running server; every role may log in without a password from this machine."""

    def __init__(self, place, suite, port=None):
        self.data = places.folder(*place) / "data"
        shutil.rmtree(self.data, ignore_errors=True)
        template = self.template()
        subprocess.run([*places.unprivileged(), "cp", "-a", template, self.data], check=True)
        self.port = port or free_port()
        with open(self.data / "postgresql.auto.conf", "a") as conf:
            conf.write(SETTINGS + suite.settings + f"port = {self.port}\nunix_socket_directories = '{self.data.parent}'\n")
        hba = self.data / "pg_hba.conf"
        hba.write_text(suite.hba + hba.read_text())
        self.ctl("start", "-l", str(self.data.parent / "server.log"), "-o", "-c listen_addresses=127.0.0.1")

    @staticmethod
    def template():
        """What initdb makes, made once."""
        path = places.folder("cluster") / "data"
        if not (path / "done").exists():
            shutil.rmtree(path, ignore_errors=True)
            initdb = [places.pg_bin() / "initdb", "-D", path, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
            places.must([*places.unprivileged(), *initdb], places.HOME / "initdb.log")
            (path / "done").touch()
        return path

    def ctl(self, action, *more):
        """pg_ctl."""
        command = [*places.unprivileged(), places.pg_bin() / "pg_ctl", "-D", self.data, "-w", "-s", action, *more]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, cwd=self.data)

    def sql(self, text, database="postgres"):
        """Runs a statement as the superuser."""
        psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        subprocess.run([*psql, "-d", database, "-c", text], check=True, stdin=subprocess.DEVNULL)

    def stop(self):
        """Ends it, whoever is connected, and removes it."""
        self.ctl("stop", "-m", "immediate")
        shutil.rmtree(self.data, ignore_errors=True)


class Proxy:
    """A running proxy in front of a cluster; it serves all of its databases."""

    def __init__(self, cluster, mode, place, port=None):
        state = places.fresh(*place, "state")
        policy = state.parent / "allow-all.yaml"
        policy.write_text(ALLOW_ALL)
        config = state.parent / "holdgate.yaml"
        config.write_text(CONFIG)
        upstream = f"host=127.0.0.1 port={cluster.port} user=postgres sslmode=disable"
        command = [places.HOLDGATE, "serve", "--config", config, "--upstream", upstream, "--listen", f"127.0.0.1:{port or 0}", "--http", "off"]
        command += ["--state", state, "--mode", mode]
        command += ["--policies", policy] if mode == "enforce" else []
        self.said = state.parent / "proxy.log"
        with open(self.said, "wb") as log:
            environment = {"PATH": os.environ["PATH"], "HOME": str(state)}
            self.process = subprocess.Popen(
                [*places.unprivileged(), *command], stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=state)
        self.port = self.ready()

    def ready(self):
        """The port, once it listens."""
        end = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end and self.process.poll() is None:
            for line in pathlib.Path(self.said).read_text().splitlines():
                if line.startswith("ready postgres="):
                    return int(line.rsplit(":", 1)[1])
            time.sleep(0.05)
        raise SystemExit(f"the proxy did not start: see {self.said}")

    def stop(self):
        """Ends it as an operator would."""
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
