//! Observe mode: what would have happened is recorded, and nothing is enforced.

use crate::harness::{Options, Proxy, TestDb, eventually};

#[test]
fn what_would_be_held_passes_and_is_recorded_as_observed() {
    let db = TestDb::new("observe");
    let proxy = Proxy::start(&db, Options { observe: true, ..Options::default() });
    let client = proxy.connect();
    client.query("CREATE TABLE t_observed (a int)").unwrap();
    assert_eq!(client.query("SELECT * FROM orders").unwrap().len(), 20_000);
    let line = eventually("the record", || {
        let (_, out, _) = proxy.holdgate(&["log", "query", "--text", "t_observed", "--format", "jsonl"]);
        out.lines().find(|line| line.contains("\"closed\"")).map(str::to_owned)
    });
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["verdict"], "hold");
    assert_eq!(record["observed"], true);
    assert_eq!(record["outcome"], "complete");
}

#[test]
fn a_tagged_read_is_recorded_with_column_tag_principal_rows_and_bytes() {
    let db = TestDb::new("record");
    let proxy = Proxy::start(&db, Options::default());
    let email = proxy.connect().query("SELECT email FROM customers WHERE id = 7").unwrap();
    assert_eq!(email, ["user7@example.org"]);
    let line = eventually("the record", || {
        let (code, out, err) = proxy.holdgate(&["log", "query", "--column", "customers.email", "--format", "jsonl"]);
        assert_eq!(code, 0, "{err}");
        out.lines().find(|line| line.contains("\"closed\"")).map(str::to_owned)
    });
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    let column = format!("{}.public.customers.email", db.name);
    assert_eq!(record["columns"][&column]["tags"], serde_json::json!(["user.contact.email"]));
    assert_eq!(record["principal"]["name"], "postgres");
    assert_eq!(record["rows"], 1);
    assert!(record["bytes"].as_u64().unwrap() > 0);
    assert!(!line.contains("user7@"), "no value in the log");
}

#[test]
fn the_log_of_a_running_proxy_is_intact_and_a_changed_byte_is_named() {
    let db = TestDb::new("verify");
    let proxy = Proxy::start(&db, Options::default());
    proxy.connect().query("SELECT email FROM customers WHERE id = 7").unwrap();
    let (code, out, err) = proxy.holdgate(&["log", "verify"]);
    assert_eq!(code, 0, "{out}{err}");
    let copy = tempfile::TempDir::new().unwrap();
    let log = copy.path().join("log");
    std::fs::create_dir(&log).unwrap();
    for entry in std::fs::read_dir(proxy.state.path().join("log")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), log.join(entry.file_name())).unwrap();
    }
    let segment = log.join("00000000.jsonl");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|window| window == b"email").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"))
        .args(["log", "verify", "--state"])
        .arg(copy.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("00000000.jsonl"), "{said}");
}

#[test]
fn health_and_metrics_answer_and_a_drain_ends_idle_sessions() {
    let db = TestDb::new("drain");
    let mut proxy = Proxy::start(&db, Options::default());
    let client = proxy.connect();
    client.query("SELECT 1").unwrap();
    let api = proxy.api();
    assert_eq!(api.request("GET", "/livez", None).0, 200);
    assert_eq!(api.request("GET", "/readyz", None).0, 200);
    let metrics = api.request("GET", "/metrics", None).1;
    assert!(metrics.contains("holdgate_statements_total"), "{metrics}");
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    assert!(client.query("SELECT 1").is_err());
    let (_, out, _) = proxy.holdgate(&["log", "query", "--event", "system", "--format", "jsonl"]);
    assert!(out.contains("the proxy stopped"), "{out}");
}

#[test]
fn what_is_held_is_what_analyze_says_would_be_held() {
    let db = TestDb::new("parity");
    let proxy = Proxy::start(&db, Options::default());
    let statements = [
        "SELECT 1",
        "SELECT id FROM customers LIMIT 10",
        "SELECT email FROM customers WHERE id = 7",
        "SELECT * FROM customers",
        "CREATE TABLE t_parity (a int)",
        "COPY orders TO STDOUT",
        "GRANT SELECT ON orders TO agent_trust",
        "DO $$ BEGIN END $$",
        "UPDATE orders SET total = 0 WHERE id = 1",
        "SELECT string_agg(email, ',') FROM customers",
    ];
    let file = proxy.state.path().join("statements.jsonl");
    let lines = statements.iter().enumerate().map(|(id, sql)| serde_json::json!({"id": id, "sql": sql}).to_string());
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"))
        .args(["analyze", "--upstream", &db.dsn(), "--input", "jsonl", "--format", "jsonl"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    for (line, sql) in String::from_utf8_lossy(&output.stdout).lines().zip(statements) {
        let said: serde_json::Value = serde_json::from_str(line).unwrap();
        let verdict = match client.query(sql) {
            Ok(_) => "allow",
            Err(error) if error.code().unwrap().code() == "57H01" => "hold",
            Err(error) => panic!("{sql}: {error}"),
        };
        assert_eq!(said["verdict"], verdict, "{sql}: {said}");
    }
}

#[test]
fn a_temporary_table_and_a_changed_search_path_are_known_to_their_session() {
    let db = TestDb::new("names");
    db.direct("CREATE SCHEMA other; CREATE TABLE other.orders (email text); INSERT INTO other.orders VALUES ('x')");
    let proxy = Proxy::start(&db, Options::default());
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    client.query("CREATE TEMP TABLE mine (a int)").unwrap();
    client.query("INSERT INTO mine VALUES (1)").unwrap();
    assert_eq!(client.query("SELECT a FROM mine").unwrap(), ["1"]);
    for change in ["SET search_path = other, public", "SELECT set_config('search_path', 'other, public', false)"] {
        client.query("SET search_path = public").unwrap();
        assert_eq!(client.query("SELECT count(*) FROM orders").unwrap(), ["20000"]);
        client.query(change).unwrap();
        let code = client.fails("SELECT string_agg(email, ',') FROM orders").0;
        assert_eq!(code, "57H01", "{change}: orders is another table now, with a tagged column");
    }
    client.query("BEGIN").unwrap();
    client.query("SET LOCAL search_path = public").unwrap();
    assert_eq!(client.query("SELECT count(total) FROM orders").unwrap(), ["20000"]);
    client.query("ROLLBACK").unwrap();
    assert_eq!(client.fails("SELECT string_agg(email, ',') FROM orders").0, "57H01");
}
