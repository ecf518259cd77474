//! Real drivers of other languages through the proxy.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb};

const PACKAGES: [&str; 2] = ["psycopg[binary]==3.2.9", "asyncpg==0.30.0"];

/// A Python with the drivers, made at first use.
fn python() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(target.join("python.lock")).unwrap();
    lock.lock().unwrap();
    let venv = target.join("python");
    let done = venv.join("done");
    if !done.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES));
        std::fs::write(done, b"").unwrap();
    }
    venv.join("bin/python")
}

fn run(command: &mut Command) {
    let output = command.output().expect("python3 is missing: install python3 and python3-venv");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

#[test]
fn psycopg_and_asyncpg_work_as_directly() {
    let python = python();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers/python.py");
    let db = TestDb::new("python");
    run(Command::new(&python).arg(script).arg(db.dsn()));
    for options in
        [Options { observe: true, ..Options::default() }, Options { policy: Some(ALLOW_ALL), ..Options::default() }]
    {
        let proxy = Proxy::start(&db, options);
        run(Command::new(&python).arg(script).arg(proxy.dsn("postgres")));
    }
}
