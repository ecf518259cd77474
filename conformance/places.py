"""Where things are, and as whom servers and suites run: never as root."""

import os
import pathlib
import pwd
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Downloads, builds and runs; kept between runs, so that the second one starts at once.
HOME = pathlib.Path(os.environ.get("CONFORMANCE_HOME", "/var/tmp/holdgate-conformance"))
HOLDGATE = pathlib.Path(os.environ.get("HOLDGATE", ROOT / "target/debug/holdgate"))


def pg_bin():
    """The server's programs, of the newest version that is installed unless PG_BIN says otherwise."""
    if "PG_BIN" in os.environ:
        return pathlib.Path(os.environ["PG_BIN"])
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise SystemExit("no PostgreSQL server is installed: run `make setup`")
    return found[-1].parent


def unprivileged():
    """The words before a command that give up root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] if os.getuid() == 0 else []


def folder(*parts):
    """A folder below HOME that servers and suites may write to."""
    path = HOME.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    own(path)
    return path


def fresh(*parts):
    """The same, empty."""
    shutil.rmtree(HOME.joinpath(*parts), ignore_errors=True)
    return folder(*parts)


def own(path):
    """Gives a path to whom servers and suites run as."""
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(path, user.pw_uid, user.pw_gid)


def own_tree(path):
    """Gives everything below a path to whom servers and suites run as."""
    own(path)
    for parent, folders, files in os.walk(path):
        for name in folders + files:
            if not os.path.islink(os.path.join(parent, name)):
                own(os.path.join(parent, name))


def must(command, log, **options):
    """Runs a step of the preparation; what it prints is in a file."""
    with open(log, "ab") as out:
        done = subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed: see {log}")
