//! The HTTP API against its own description, by schemathesis.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Options, Proxy, TestDb};
use crate::node::run;

const PACKAGE: &str = "schemathesis==4.32.5";

/// What must hold of every answer.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth";

/// A Python with schemathesis, made at first use.
fn schemathesis() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(target.join("schemathesis.lock")).unwrap();
    lock.lock().unwrap();
    let venv = target.join("schemathesis");
    let done = venv.join("done");
    if std::fs::read_to_string(&done).ok().as_deref() != Some(PACKAGE) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", PACKAGE]));
        std::fs::write(done, PACKAGE).unwrap();
    }
    venv.join("bin/schemathesis")
}

#[test]
fn no_request_that_the_description_allows_or_forbids_breaks_the_api() {
    let schemathesis = schemathesis();
    let db = TestDb::new("openapi");
    let proxy = Proxy::start(&db, Options::default());
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    for number in 0..3 {
        assert_eq!(client.fails(&format!("ALTER TABLE customers ADD COLUMN note_{number} text")).0, "57H01");
    }
    let folder = tempfile::TempDir::new().unwrap();
    let url = format!("http://{}/api/v1/openapi.json", proxy.http);
    let mut command = Command::new(schemathesis);
    command.current_dir(folder.path()).args(["run", &url, "--checks", CHECKS, "--seed", "7", "--max-examples", "12"]);
    command.args(["-H", &format!("Authorization: Bearer {}", proxy.token), "--no-color"]);
    // It does not end; the tests beside it read it. Readiness asks the upstream each time.
    command.args(["--exclude-path", "/api/v1/holds/stream", "--generation-deterministic"]);
    run(&mut command);
    assert_eq!(proxy.api().request("GET", "/livez", None).0, 200);
}
