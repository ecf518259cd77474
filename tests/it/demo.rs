//! `holdgate demo`: the tour holds, and nothing is left behind.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

fn demo(temporary: &Path, port: &str) -> Command {
    // The server may run as another user, who must be able to pass.
    std::fs::set_permissions(temporary, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdgate"));
    command.args(["demo", "--port", port, "--http-port", "0"]).env("TMPDIR", temporary);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn every_step_of_the_tour_holds_and_its_files_go() {
    let temporary = TempDir::new().unwrap();
    let output = demo(temporary.path(), "0").arg("--once").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches('✓').count(), 9, "{said}");
    assert!(said.contains("9 of 9 steps held"), "{said}");
    assert!(is_empty(temporary.path()));
}

#[test]
fn a_request_to_end_cleans_up_and_what_was_kept_can_be_read() {
    let temporary = TempDir::new().unwrap();
    let mut child = demo(temporary.path(), "0").arg("--keep-data").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let direct = lines.find(|line| line.trim_start().starts_with("directly")).unwrap();
    assert!(lines.any(|line| line.contains("stays up until Ctrl-C")));
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert!(lines.any(|line| line.contains("Cleaning up")));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    let dsn = direct.split_whitespace().last().unwrap();
    let psql = Command::new("psql").args(["-X", "-c", "SELECT 1", dsn]).output().unwrap();
    assert!(!psql.status.success(), "the server is still there");
    let kept = stderr.lines().find_map(|line| line.strip_prefix("kept: ")).unwrap();
    let state = Path::new(kept).join("state");
    let verified = Command::new(env!("CARGO_BIN_EXE_holdgate")).args(["log", "verify", "--state"]).arg(state).output();
    assert_eq!(verified.unwrap().status.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_said_and_nothing_is_left() {
    let temporary = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = demo(temporary.path(), &port).arg("--once").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("did not start"), "{said}");
    assert!(is_empty(temporary.path()));
}
