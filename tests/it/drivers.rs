//! Real drivers of other languages through the proxy.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb};
use crate::node::{self, run};

const PACKAGES: [&str; 2] = ["psycopg[binary]==3.2.9", "asyncpg==0.30.0"];

/// A Python with the drivers, made at first use.
pub fn python() -> PathBuf {
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

const NODE_PACKAGES: [&str; 3] = ["pg@8.16.3", "pg-cursor@2.15.3", "pg-copy-streams@7.0.0"];

/// A folder with Node's drivers, made at first use.
pub fn node_modules() -> PathBuf {
    node::modules("node", &NODE_PACKAGES)
}

#[test]
fn psycopg_and_asyncpg_work_as_directly() {
    let python = python();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers/python.py");
    directly_and_through("python", |dsn| run(Command::new(&python).arg(script).arg(dsn)));
}

#[test]
fn node_postgres_works_as_directly() {
    let modules = node_modules();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers/node.js");
    directly_and_through("node", |dsn| run(Command::new("node").env("NODE_PATH", &modules).arg(script).arg(dsn)));
}

/// The suite passes directly, or it says nothing about the proxy.
fn directly_and_through(label: &str, suite: impl Fn(&str)) {
    let db = TestDb::new(label);
    suite(&db.dsn());
    for options in
        [Options { observe: true, ..Options::default() }, Options { policy: Some(ALLOW_ALL), ..Options::default() }]
    {
        let proxy = Proxy::start(&db, options);
        suite(&proxy.dsn("postgres"));
    }
}
