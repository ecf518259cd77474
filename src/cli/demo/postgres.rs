//! A throw-away Postgres server.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

use super::home::Home;
use crate::config::Environment;
use crate::ids::random_base32;

/// Who owns the server's files where this program runs as root: Postgres does not run as root.
const SYSTEM_USER: &str = "postgres";
/// The server's superuser.
pub(super) const SUPERUSER: &str = "postgres";
/// Where Debian puts the binaries of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// How often a port is chosen: another program may take it before the server has it.
const TRIES: usize = 3;

/// Made for speed, not for keeping: nothing of it outlives the demo.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
";

/// A running server; stopped when this is dropped. All log-ins are by password.
#[derive(Debug)]
pub(super) struct Postgres {
    programs: Programs,
    data: PathBuf,
    /// On 127.0.0.1.
    pub(super) port: u16,
    /// The superuser's password.
    pub(super) password: String,
}

impl Postgres {
    /// Makes the files and starts the server; blocks for a second or two.
    pub(super) fn start(home: &Home) -> anyhow::Result<Self> {
        let programs = Programs { bin: find()?, as_root: home.is_roots()? };
        let base = home.path().join("postgres");
        DirBuilder::new().mode(0o700).create(&base)?;
        programs.give_away(&base)?;
        let data = base.join("data");
        let password = random_base32(24);
        programs.initdb(&base, &data, &password)?;
        let mut server = Self { programs, data, port: 0, password };
        let mut said = String::new();
        for _ in 0..TRIES {
            server.port = free_port()?;
            match server.launch(&base.join("server.log")) {
                Ok(()) => return Ok(server),
                Err(error) => said = format!("{error:#}"),
            }
        }
        bail!("Postgres did not start: {said}")
    }

    fn launch(&self, log: &Path) -> anyhow::Result<()> {
        let options = format!("-p {}", self.port);
        let mut command = self.programs.command("pg_ctl");
        command.args(["-w", "-t", "30", "-o", &options, "-l"]).arg(log).arg("-D").arg(&self.data).arg("start");
        // The server keeps what it inherits: a pipe would never end.
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut command = self.programs.command("pg_ctl");
        command.args(["-m", "immediate", "-w", "-D"]).arg(&self.data).arg("stop");
        // Where it did not start, there is nothing to stop.
        drop(command.stdin(Stdio::null()).output());
    }
}

/// Postgres's own programs, and how they are run.
#[derive(Debug)]
struct Programs {
    bin: PathBuf,
    as_root: bool,
}

impl Programs {
    fn command(&self, name: &str) -> Command {
        self.owned(&self.bin.join(name))
    }

    /// A program that runs as the owner of the server's files.
    fn owned(&self, program: &Path) -> Command {
        let mut command = if self.as_root {
            let mut command = Command::new("runuser");
            command.args(["-u", SYSTEM_USER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // The working directory may be closed to the other user. A group of its own: Ctrl-C comes to the demo alone.
        command.current_dir("/").process_group(0);
        command
    }

    /// Makes the owner of the server's files the owner of a directory.
    fn give_away(&self, base: &Path) -> anyhow::Result<()> {
        if !self.as_root {
            return Ok(());
        }
        run(Command::new("chown").arg(SYSTEM_USER).arg(base))
            .with_context(|| format!("Postgres does not run as root, and there is no user {SYSTEM_USER} for it"))
    }

    fn initdb(&self, base: &Path, data: &Path, password: &str) -> anyhow::Result<()> {
        // By a file: the arguments of a program can be read by others.
        let secret = base.join("password");
        self.append(&secret, password)?;
        let mut command = self.command("initdb");
        command.args(["-N", "-E", "UTF8", "--no-locale", "-A", "scram-sha-256", "-U", SUPERUSER]);
        run(command.arg("--pwfile").arg(secret).arg("-D").arg(data)).context("initdb failed")?;
        self.append(&data.join("postgresql.conf"), SETTINGS)
    }

    /// Appends to a file of the server, as its owner.
    fn append(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let mut command = self.owned("tee".as_ref());
        let mut child = command.arg("-a").arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        ensure!(child.wait()?.success(), "{} cannot be written", path.display());
        Ok(())
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Where the programs are: Debian's directory, the newest major version first, then the path.
fn find() -> anyhow::Result<PathBuf> {
    let installed = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut majors: Vec<(u32, PathBuf)> =
        installed.filter_map(|path| Some((major(path.file_name()?)?, path.join("bin")))).collect();
    majors.sort_unstable_by(|one, other| other.cmp(one));
    let environment = Environment::process();
    let path = environment.var("PATH").unwrap_or_default();
    let places = majors.into_iter().map(|(_, path)| path).chain(std::env::split_paths(path));
    places.into_iter().find(|bin| ["initdb", "pg_ctl", "postgres"].iter().all(|name| bin.join(name).is_file())).context(
        "no Postgres server is installed: initdb, pg_ctl and postgres are neither under /usr/lib/postgresql nor on the \
         PATH; on Debian or Ubuntu, install the package postgresql",
    )
}

fn major(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

/// Free at this moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_major_version() {
        assert_eq!(major(OsStr::new("17")), Some(17));
        assert_eq!(major(OsStr::new("common")), None);
    }
}
