"""Sources of the suites, by the package managers."""

import os
import pathlib
import re
import shutil
import subprocess

import places
from suites.suite import Missing

def postgres():
    """The source of the server that is installed, configured."""
    said = subprocess.run([places.pg_bin() / "postgres", "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"\d+\.\d+", said.stdout)[0]
    source = places.HOME / f"postgresql-{version}"
    if not (source / "src/include/pg_config.h").exists():
        tarball = debian(f"postgresql-{version.split('.')[0]}", version)
        places.must(["tar", "-xf", tarball, "-C", places.HOME], places.HOME / "fetch.log")
        log = places.HOME / "postgres-build.log"
        places.must(["./configure", "--without-readline", "--without-zlib"], log, cwd=source)
    return source


def debian(package, version):
    """The original tarball of a source package, from where the system's packages come; apt's sources stay as they are."""
    place = places.folder("debian")
    (place / "lists/partial").mkdir(parents=True, exist_ok=True)
    fields = "$(ORIGIN) deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"
    indexes = subprocess.run(
        ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"], capture_output=True, text=True)
    ours = {line.removeprefix("Debian ") for line in indexes.stdout.splitlines() if line.startswith("Debian ")}
    (place / "sources.list").write_text("\n".join(sorted(ours)) + "\n")
    options = ["Dir::Etc::SourceList=" + str(place / "sources.list"), "Dir::Etc::SourceParts=-",
               "Dir::State::Lists=" + str(place / "lists"), "Dir::Cache::srcpkgcache=", "Dir::Cache::pkgcache="]
    apt = ["apt-get", *[word for option in options for word in ("-o", option)]]
    log = places.HOME / "fetch.log"
    places.must([*apt, "update"], log)
    known = subprocess.run(["apt-cache", *apt[1:], "showsrc", package], capture_output=True, text=True).stdout
    full = next((line.split()[1] for line in known.splitlines() if line.startswith(f"Version: {version}")), None)
    if full is None:
        raise Missing(f"{package} {version} has no source package")
    with open(log, "ab") as out:
        source = [*apt, "source", "--download-only", "--tar-only", f"{package}={full}"]
        subprocess.run(source, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=place, check=False)
    tarball = next(place.glob(f"{package}_{version}*.orig.tar.*"), None)
    if tarball is None:
        raise Missing(f"the mirror lists the source package of {package} {version} and does not have it: see {log}")
    return tarball


def debian_tree(package, version):
    """The same, unpacked."""
    source = places.HOME / f"{package}-{version}"
    if not source.exists():
        tarball = debian(package, version)
        source.mkdir()
        places.must(["tar", "-xf", tarball, "-C", source, "--strip-components=1"], places.HOME / "fetch.log")
        places.own_tree(source)
    return source


def sdist(package):
    """The source of a Python package, unpacked, at the version that its tests are run with."""
    name, version = package.split("==")
    source = places.HOME / "sdist" / f"{name}-{version}"
    if not source.exists():
        place = places.folder("sdist")
        log = places.HOME / "fetch.log"
        pip = ["/usr/bin/python3", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name]
        places.must([*pip, "-d", place, package], log)
        places.must(["tar", "-xf", next(place.glob(f"{name}-{version}.tar.gz")), "-C", place], log)
        places.own_tree(source)
    return source


def venv(name, *packages):
    """A virtual environment with packages; its interpreter, which must be one that everybody may run."""
    python = places.HOME / "venv" / name / "bin/python"
    done = places.HOME / "venv" / name / "done"
    wanted = "\n".join(map(str, packages))
    if not done.exists() or done.read_text() != wanted:
        log = places.HOME / "fetch.log"
        shutil.rmtree(done.parent, ignore_errors=True)
        places.must(["/usr/bin/python3", "-m", "venv", done.parent], log)
        places.must([python, "-m", "pip", "install", "-q", *packages], log)
        done.write_text(wanted)
    return python


def npm(name, *packages):
    """A folder with packages of npm, whose own scripts are not run; its node_modules."""
    place = places.folder("npm", name)
    done = place / "done"
    wanted = "\n".join(packages)
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(place / "node_modules", ignore_errors=True)
        install = ["npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--prefix", place]
        places.must([*install, *packages], places.HOME / "fetch.log")
        done.write_text(wanted)
    return place / "node_modules"


def npm_tests(package, into):
    """The folder `test` of a package of npm, as the packages of a driver had it until some version."""
    if (into / "test").exists():
        return
    place = places.folder("npm", "tests")
    packed = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", place, package]
    places.must(packed, places.HOME / "fetch.log")
    tarball = place / f"{package.replace('@', '-')}.tgz"
    unpack = ["tar", "-xf", tarball, "-C", into, "--strip-components=1", "package/test"]
    places.must(unpack, places.HOME / "fetch.log")


def crate(package):
    """The source of a crate, unpacked."""
    name, version = package.split("==")
    source = places.HOME / "crates" / f"{name}-{version}"
    if not source.exists():
        # Cargo unpacks what a manifest depends on.
        user = places.folder("crates", f"fetch-{name}")
        (user / "src").mkdir(exist_ok=True)
        (user / "src/lib.rs").touch()
        (user / "Cargo.toml").write_text(
            f'[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'
            f'[dependencies]\n{name} = {{ version = "={version}", default-features = false }}\n')
        places.must(["cargo", "fetch"], places.HOME / "fetch.log", cwd=user)
        home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
        unpacked = next(home.glob(f"registry/src/*/{name}-{version}"))
        shutil.copytree(unpacked, source)
    return source
