//! Migrations that are asked for ahead of time, tickets, and what is allowed instead: what an agent lives on.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::conn::{Conn, bind, describe_portal, execute, frame, parse, query, sync};
use crate::harness::postgres_client_fault as fault;
use crate::harness::{Api, Client, Options, Proxy, TestDb, eventually};

const MIGRATION: &str = "-- adds a column and fills it\nALTER TABLE orders ADD COLUMN note text;\n\
                         CREATE INDEX orders_note ON orders (note);\nINSERT INTO orders (id, total) VALUES (0, 1);\n\
                         ALTER TABLE orders ALTER COLUMN note SET DEFAULT 'a;b';\n";
const STATEMENTS: [&str; 3] = [
    "ALTER TABLE orders ADD COLUMN note text",
    "CREATE INDEX orders_note ON orders (note)",
    "ALTER TABLE orders ALTER COLUMN note SET DEFAULT 'a;b'",
];

fn start(label: &str) -> (TestDb, Proxy, Client) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options::default());
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    (db, proxy, client)
}

fn asked(db: &TestDb, api: &Api, sql: &str) -> (u16, Value) {
    let body = json!({"principal": "postgres", "upstream": db.name, "sql": sql});
    let (status, body) = api.request("POST", "/api/v1/requests", Some(&body));
    (status, serde_json::from_str(&body).unwrap())
}

pub fn approved(db: &TestDb, proxy: &Proxy, sql: &str) -> String {
    let (status, hold) = asked(db, &proxy.api(), sql);
    assert_eq!(status, 201, "{hold}");
    let id = hold["id"].as_str().unwrap().to_owned();
    // Somebody else than who asked: the first operator asked.
    let (status, problem) = proxy.api().decide(&id, "approve", "mine");
    assert_eq!(status, 403, "{problem}");
    assert!(problem["type"].as_str().unwrap().ends_with("self-approval"), "{problem}");
    id
}

/// A second person with a token of their own.
pub fn with_carol(label: &str) -> (TestDb, Proxy, Client, Api, tempfile::TempDir) {
    let db = TestDb::new(label);
    let dir = tempfile::TempDir::new().unwrap();
    let token = "carol-token-0123456789abcdef";
    fs::write(dir.path().join("carol"), token).unwrap();
    let config = format!(
        "operators:\n  - {{ name: carol, human: carol, groups: [dba], roles: [operator], token_file: {} }}\n",
        dir.path().join("carol").display()
    );
    let path = dir.path().join("holdgate.yaml");
    fs::write(&path, config).unwrap();
    let arguments = ["--config", path.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { arguments: &arguments, ..Options::default() });
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    let carol = Api::new(&proxy.http, token);
    (db, proxy, client, carol, dir)
}

#[test]
fn a_migration_is_one_card_and_one_decision_and_each_statement_runs_once_in_order() {
    let (db, proxy, client, carol, _dir) = with_carol("bundle");
    let id = approved(&db, &proxy, MIGRATION);
    let card = carol.get(&format!("/api/v1/holds/{id}"));
    let steps = card["bundle"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4);
    assert_eq!(steps[2]["state"], "allowed");
    assert!(steps[1]["opaque"].as_array().unwrap().is_empty(), "it knows the column of the step before: {}", steps[1]);
    assert_eq!(client.fails(STATEMENTS[0]).0, "57H01", "nothing of it is approved yet");
    assert_eq!(carol.decide(&id, "approve", "read").0, 200);
    assert_eq!(client.fails(STATEMENTS[1]).0, "57H01", "out of order");
    assert_eq!(client.fails("ALTER TABLE orders ADD COLUMN note varchar").0, "57H01", "changed");
    client.query(&format!("{};", STATEMENTS[0])).unwrap();
    assert_eq!(client.fails(STATEMENTS[0]).0, "57H01", "twice");
    let other = proxy.connect();
    other.query("SET holdgate.wait = '0s'").unwrap();
    other.query("INSERT INTO orders (id, total) VALUES (0, 1)").unwrap();
    other.query(STATEMENTS[1]).unwrap();
    client.query(STATEMENTS[2]).unwrap();
    eventually("the bundle is finished", || {
        (carol.get(&format!("/api/v1/holds/{id}"))["state"] == "finished").then_some(())
    });
    assert_eq!(db.direct("SELECT count(*) FROM pg_indexes WHERE indexname = 'orders_note'"), "1");
}

#[test]
fn a_change_behind_a_bundle_voids_the_rest_of_it() {
    let (db, proxy, client, carol, _dir) = with_carol("bundle_drift");
    let id = approved(&db, &proxy, MIGRATION);
    assert_eq!(carol.decide(&id, "approve", "read").0, 200);
    client.query(STATEMENTS[0]).unwrap();
    db.direct("ALTER TABLE orders ADD COLUMN other int");
    let (code, _) = client.fails(STATEMENTS[1]);
    assert!(code == "57H03" || code == "57H01", "{code}");
    eventually("the bundle is void", || {
        let state = carol.get(&format!("/api/v1/holds/{id}"))["state"].clone();
        (state == "void").then_some(()).or_else(|| {
            drop(client.query(STATEMENTS[1]));
            None
        })
    });
    assert_eq!(db.direct("SELECT count(*) FROM pg_indexes WHERE indexname = 'orders_note'"), "0");
}

#[test]
fn a_bundle_with_a_denied_or_unreadable_statement_is_refused_as_a_whole() {
    let db = TestDb::new("bundle_no");
    let policy = "version: 1\nrules:\n  - { name: no-drops, match: { command: \"DROP*\" }, effect: deny }\n  - { name: ddl, match: { kind: ddl }, effect: hold }\ndefault: allow\n";
    let proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    let (status, problem) = asked(&db, &proxy.api(), "CREATE TABLE a (i int); DROP TABLE orders");
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().unwrap().contains("statement 2 is denied by rule \"no-drops\""), "{problem}");
    assert_eq!(asked(&db, &proxy.api(), "CREATE TABEL x").0, 422);
    let (_, none) = asked(&db, &proxy.api(), "SELECT 1");
    assert!(none["type"].as_str().unwrap().ends_with("nothing-to-approve"), "{none}");
    assert_eq!(
        asked(
            &TestDb { name: "no_such_db".into(), port: db.port, root: db.root.clone() },
            &proxy.api(),
            "CREATE TABLE a (i int)"
        )
        .0,
        422
    );
}

#[test]
fn the_command_line_is_a_gate_for_pipelines() {
    let (db, proxy, client, carol, dir) = with_carol("bundle_cli");
    let file = dir.path().join("m.sql");
    for (word, code) in [("deny", 1), ("approve", 0)] {
        fs::write(&file, format!("CREATE TABLE t_{word} (a int);")).unwrap();
        let url = format!("http://{}", proxy.http);
        let run = Command::new(env!("CARGO_BIN_EXE_holdgate"))
            .args(["request", file.to_str().unwrap(), "--as", "postgres", "--upstream", &db.name, "--wait"])
            .args(["--url", &url, "--token", &proxy.token])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn();
        let decided = carol.decide_later(&format!("t_{word}"), word);
        assert_eq!(run.unwrap().wait().unwrap().code(), Some(code), "{word}");
        decided.join().unwrap();
    }
    client.query("CREATE TABLE t_approve (a int)").unwrap();
    assert_eq!(client.fails("CREATE TABLE t_deny (a int)").0, "57H01");
}

/// What tickets show: id and state.
fn tickets(client: &Client) -> Vec<String> {
    client.query("SHOW holdgate.tickets").unwrap()
}

#[test]
fn an_agent_sees_its_own_tickets_in_both_protocols_and_no_others() {
    let (_db, proxy, client) = start("tickets");
    assert!(tickets(&client).is_empty());
    let (code, text) = client.fails("CREATE TABLE t_ticket (a int)");
    assert_eq!(code, "57H01");
    let id = proxy.api().wait_for_hold("t_ticket")["id"].as_str().unwrap().to_owned();
    assert!(text.contains(&id), "{text}");
    let shown = tickets(&client);
    assert!(shown.len() == 1 && shown[0].starts_with(&format!("{id}|pending|")), "{shown:?}");
    let statement = client.wait(client.inner.prepare("SHOW holdgate.tickets;")).unwrap();
    let names: Vec<_> = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    assert_eq!(
        (names, statement.params().len()),
        (["id", "state", "expires_at", "reason"].map(str::to_owned).to_vec(), 0)
    );
    let state = || {
        let rows = client.wait(client.inner.query(&statement, &[])).unwrap();
        rows[0].get::<_, String>("state")
    };
    assert_eq!(state(), "pending");
    proxy.api().decide(&id, "deny", "not 'now'; DROP \u{202e}x");
    assert_eq!(state(), "denied", "a statement that was prepared before shows what is true now");
    assert!(tickets(&client)[0].ends_with("not 'now'; DROP \\u{202e}x"));
    let other = Client::connect(&proxy.dsn("agent_trust"));
    assert!(tickets(&other).is_empty());
}

#[test]
fn tickets_keep_the_protocol_right_in_every_state_of_a_transaction() {
    let (db, proxy, _client) = start("tickets_tx");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let show = "SHOW holdgate.tickets";
    conn.send(&query(show));
    assert_eq!(conn.tags(), "TCZI");
    conn.send(&query("BEGIN"));
    assert_eq!(conn.tags(), "CZT");
    conn.send(&query(show));
    assert_eq!(conn.tags(), "TCZT");
    let extended = [parse("", show), bind("", ""), describe_portal(""), execute("", 0)].concat();
    conn.send(&[extended.clone(), extended.clone(), sync()].concat());
    assert_eq!(conn.tags(), "12TC12TCZT");
    conn.send(&query("SELECT 1/0"));
    assert_eq!(conn.tags(), "EZE");
    for text in [query(show), [extended, sync()].concat()] {
        conn.send(&text);
        let frames = conn.until('Z');
        assert_eq!(frames.iter().find(|frame| frame.tag == 'E').unwrap().field(b'C'), "25P02");
    }
    conn.send(&query("ROLLBACK"));
    assert_eq!(conn.tags(), "CZI");
    conn.send(&[parse("s", show), frame('D', b"Ss\0"), sync()].concat());
    let frames = conn.until('Z');
    let parameters = frames.iter().find(|frame| frame.tag == 't').unwrap();
    assert_eq!(parameters.body, [0, 0]);
}

#[test]
fn a_ticket_and_a_denial_say_in_json_what_is_allowed_instead() {
    let db = TestDb::new("instead");
    let policy = "version: 1\ntags:\n  - { columns: [email], tag: user.contact.email }\nrules:\n  - { name: no-mail, match: { tag: \"user.**\", rows: \"> 5\" }, effect: deny }\n  - { name: ddl, match: { kind: ddl }, effect: hold }\ndefault: allow\n";
    let proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    let client = proxy.connect();
    let detail = |sql: &str| -> Value {
        let error = client.query(sql).unwrap_err();
        serde_json::from_str(error.as_db_error().unwrap().detail().unwrap()).unwrap()
    };
    let denied = detail("SELECT id, email FROM customers");
    assert_eq!(denied["rule"], "no-mail");
    let instead = &denied["allowed_instead"];
    assert_eq!(instead["without"], json!(["public.customers.email"]));
    assert_eq!((&instead["columns"], &instead["rows_max"]), (&json!(["id"]), &json!(5)));
    let (_, text) = fault(&client.query("SELECT id, email FROM customers").unwrap_err());
    assert!(text.contains("LIMIT 5") && text.contains("leave out public.customers.email"), "{text}");
    assert_eq!(client.query("SELECT id FROM customers").unwrap().len(), 2000);
    assert_eq!(client.query("SELECT id, email FROM customers LIMIT 5").unwrap().len(), 5);
    client.query("SET holdgate.wait = '0s'").unwrap();
    let ticket = detail("CREATE TABLE t_instead (a int)");
    assert_eq!((&ticket["state"], &ticket["rule"]), (&json!("pending"), &json!("ddl")));
    assert!(ticket["hold"].is_string() && ticket["expires_at"].is_string(), "{ticket}");
}

#[test]
fn the_card_has_the_locks_the_sizes_and_who_is_in_the_way() {
    let (_db, proxy, client) = start("card");
    let reader = proxy.connect();
    reader.query("BEGIN").unwrap();
    reader.query("SELECT count(*) FROM orders").unwrap();
    assert_eq!(client.fails("ALTER TABLE customers ADD COLUMN x int").0, "57H01");
    assert_eq!(client.fails("ALTER TABLE orders ADD COLUMN x int").0, "57H01");
    let hold = proxy.api().wait_for_hold("ALTER TABLE orders");
    let impact = &hold["impact"];
    assert_eq!(impact["lock"], "ACCESS EXCLUSIVE");
    assert_eq!(impact["relations"][0]["rows"], 20_000);
    assert!(impact["relations"][0]["bytes"].as_u64().unwrap() > 8192);
    let blocks = impact["blocks"].as_array().unwrap();
    assert!(
        blocks.iter().any(|other| other["mode"] == "ACCESS SHARE" && other["relation"] == "public.orders"),
        "{hold}"
    );
    assert_eq!(impact["before"]["holds"], 1);
    let customers = proxy.api().wait_for_hold("ALTER TABLE customers");
    let dependents = customers["impact"]["relations"][0]["dependents"].to_string();
    assert!(dependents.contains("view public.customer_contacts"), "{dependents}");
    let (_, card, _) = proxy.holds(&["show", hold["id"].as_str().unwrap()]);
    assert!(card.contains("in its way │ pid") && card.contains("takes lock │ ACCESS EXCLUSIVE"), "{card}");
}

#[test]
fn an_admin_pauses_resumes_kills_reloads_and_explains_in_psql_and_each_act_is_a_record() {
    let (_db, proxy, client) = start("acts");
    let explained = proxy.admin("EXPLAIN POLICY 'ALTER TABLE orders ADD x int; SELECT 1'");
    assert!(explained.contains("|hold|ddl-needs-a-dba|") && explained.contains("SELECT 1|allow|"), "{explained}");
    proxy.admin("PAUSE");
    let dsn = proxy.dsn("postgres");
    let waiting = std::thread::spawn(move || Client::connect(&dsn).query("SELECT 7").unwrap());
    proxy.admin("RESUME");
    assert_eq!(waiting.join().unwrap(), ["7"]);
    assert!(proxy.admin("RELOAD").contains("is in force"));
    assert!(proxy.admin("SHOW STATS").contains("sessions|1"));
    assert!(proxy.admin("SHOW POLICIES").contains("|ddl-needs-a-dba|"));
    let sessions = proxy.admin("SHOW SESSIONS");
    proxy.admin(&format!("KILL '{}'", sessions.split('|').next().unwrap()));
    eventually("the session is gone", || client.query("SELECT 1").is_err().then_some(()));
    let (_, log, _) = proxy.holdgate(&["log", "query", "--event", "operator", "--format", "jsonl"]);
    for word in ["pause", "resume", "reload", "kill"] {
        assert!(log.contains(&format!("\"verdict\":\"{word}\"")), "{word}: {log}");
    }
}

#[test]
fn a_ticket_is_spent_by_whichever_protocol_the_same_text_comes() {
    let (_db, proxy, client) = start("ticket_forms");
    let extended = |sql: &str| client.wait(client.inner.query(sql, &[])).map(drop);
    for (table, first_is_simple) in [("t_simple", true), ("t_extended", false)] {
        let sql = format!("CREATE TABLE {table} (a int)");
        let (first, second) = if first_is_simple {
            (client.fails(&sql), fault(&extended(&sql).unwrap_err()))
        } else {
            (fault(&extended(&sql).unwrap_err()), client.fails(&sql))
        };
        assert_eq!((first.0.as_str(), second.0.as_str()), ("57H01", "57H01"));
        let id = proxy.api().wait_for_hold(table)["id"].as_str().unwrap().to_owned();
        assert!(first.1.contains(&id) && second.1.contains(&id), "one hold: {first:?} {second:?}");
        assert_eq!(proxy.api().decide(&id, "approve", "seen").0, 200);
        if first_is_simple {
            extended(&sql).unwrap();
        } else {
            client.query(&sql).unwrap();
        }
        assert_eq!(client.fails(&sql).0, "57H01", "an approval is spent once");
    }
}

#[test]
fn a_denial_by_a_person_says_in_json_who_and_why() {
    let (_db, proxy, client) = start("denied_json");
    client.query("SET holdgate.wait = '30s'").unwrap();
    let denying = proxy.api().decide_later("t_denied", "deny");
    let error = client.query("CREATE TABLE t_denied (a int)").unwrap_err();
    let hold = denying.join().unwrap();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "42501");
    let detail: Value = serde_json::from_str(error.detail().unwrap()).unwrap();
    assert_eq!((&detail["hold"], detail["state"].as_str()), (&hold["id"], Some("denied")));
    assert_eq!((detail["reason"].as_str(), &detail["rule"]), (Some("reason of the test"), &hold["rule"]));
    assert!(detail["by"].is_string() && detail["decided_at"].is_string(), "{detail}");
}

#[test]
fn show_sessions_says_who_does_what_since_when_and_on_which_hold_it_waits() {
    let (_db, proxy, client) = start("sessions");
    let row = |part: &'static str| {
        let rows = proxy.admin("SHOW SESSIONS");
        rows.lines().find(|row| row.contains(part)).map(|row| row.split('|').map(str::to_owned).collect::<Vec<_>>())
    };
    let [state, agent, statement, transaction, hold] = [6, 9, 11, 12, 13];
    client.query("SET holdgate.agent = 'reporter \u{202e}7'").unwrap();
    client.query("SELECT 1 FROM orders LIMIT 1").unwrap();
    let idle = eventually("it is idle", || row("reporter").filter(|row| row[state] == "idle"));
    assert_eq!((idle[agent].as_str(), idle[statement].as_str()), ("reporter \\u{202e}7", "SELECT"));
    assert_eq!((idle[transaction].as_str(), idle[hold].as_str()), ("", ""));
    client.query("BEGIN").unwrap();
    let begun = eventually("a transaction", || row("reporter").filter(|row| row[state] == "idle in transaction"));
    assert!(!begun[transaction].is_empty());
    client.query("SELECT nothing").unwrap_err();
    eventually("it is aborted", || row("reporter").filter(|row| row[state] == "idle in transaction (aborted)"));
    client.query("ROLLBACK").unwrap();
    client.query("SET holdgate.wait = '30s'").unwrap();
    let running = std::thread::spawn(move || client.query("CREATE TABLE t_held (a int)").map(drop));
    let waits = |row: &Vec<String>| row[state] == "held" && !row[hold].is_empty();
    let waiting = eventually("it is held", || row("reporter").filter(waits));
    let id = proxy.api().wait_for_hold("t_held")["id"].as_str().unwrap().to_owned();
    assert_eq!((waiting[hold].as_str(), waiting[statement].as_str()), (id.as_str(), "CREATE TABLE"));
    proxy.api().decide(&id, "approve", "seen");
    running.join().unwrap().unwrap();
}

/// The states of a bundle's statements, and its own.
fn stands(api: &Api, id: &str) -> String {
    let hold = api.get(&format!("/api/v1/holds/{id}"));
    let steps = hold["bundle"]["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap());
    format!("{}: {}", hold["state"].as_str().unwrap(), steps.collect::<Vec<_>>().join(" "))
}

#[test]
fn a_message_of_a_bundle_that_fails_ends_it_says_so_and_can_be_asked_for_again() {
    let (db, proxy, client, carol, _dir) = with_carol("bundle_fails");
    let sql = "CREATE TABLE t_one (a int);\nCREATE TABLE t_two (a int);\nCREATE TABLE t_three (a int);";
    let id = approved(&db, &proxy, sql);
    assert_eq!(carol.decide(&id, "approve", "read").0, 200);
    client.query("CREATE TABLE t_one (a int)").unwrap();
    // Behind the back of the bundle's basis: an index has the name.
    db.direct("CREATE INDEX t_two ON orders (id)");
    client.fails("CREATE TABLE t_two (a int)");
    eventually("it has ended", || {
        let stands = stands(&carol, &id);
        (stands == "failed: finished failed not_run" || stands == "void: finished not_run not_run").then_some(())
    });
    db.direct("DROP INDEX t_two");
    assert_eq!(client.fails("CREATE TABLE t_three (a int)").0, "57H01", "it is asked about alone");
    let rest = approved(&db, &proxy, "CREATE TABLE t_two (a int);\nCREATE TABLE t_three (a int);");
    assert_eq!(carol.decide(&rest, "approve", "the rest").0, 200);
    client.query("CREATE TABLE t_two (a int); CREATE TABLE t_three (a int)").unwrap();
    assert_eq!(stands(&carol, &rest), "finished: finished finished");
}

#[test]
fn the_agent_is_told_that_a_failed_statement_took_its_bundle_along() {
    let (db, proxy, client, carol, _dir) = with_carol("bundle_notice");
    let sql = "ALTER TABLE orders ALTER COLUMN total TYPE int USING 1 / (id - id)::int;\nCREATE TABLE t_behind (a int);\n\
               CREATE TABLE t_last (a int);";
    let id = approved(&db, &proxy, sql);
    assert_eq!(carol.decide(&id, "approve", "read").0, 200);
    let two = sql.split_inclusive(';').take(2).collect::<String>();
    assert_eq!(client.fails(&two).0, "22012");
    client.query("SELECT 1").unwrap();
    let told = format!("bundle {id} has ended: 2 of its statements failed");
    assert!(client.notices().contains(&told), "{:?}", client.notices());
    assert_eq!(stands(&carol, &id), "failed: failed failed not_run");
    let shown = client.query("SHOW holdgate.tickets").unwrap();
    assert!(shown.iter().any(|row| row.starts_with(&format!("{id}|failed|"))), "{shown:?}");
    assert_eq!(client.fails("CREATE TABLE t_last (a int)").0, "57H01");
}

#[test]
fn what_a_rollback_took_back_leaves_nothing_of_its_bundle_approved() {
    let (db, proxy, client, carol, _dir) = with_carol("bundle_rollback");
    let sql = |table: &str| {
        format!("CREATE TABLE {table} (a int);\nINSERT INTO {table} VALUES (1);\nCREATE TABLE {table}_2 (a int);")
    };
    for (table, end) in
        [("t_rolled", "ROLLBACK"), ("t_saved", "ROLLBACK TO s"), ("t_failed", "SELECT 1/0"), ("t_kept", "COMMIT")]
    {
        let id = approved(&db, &proxy, &sql(table));
        assert_eq!(carol.decide(&id, "approve", "read").0, 200);
        client.query("BEGIN; SAVEPOINT s").unwrap();
        client.query(&format!("CREATE TABLE {table} (a int)")).unwrap();
        drop(client.query(end));
        drop(client.query("COMMIT"));
        let (state, next) = if end == "COMMIT" {
            ("approved: finished allowed waiting", None)
        } else {
            ("void: finished allowed not_run", Some("57H01"))
        };
        assert_eq!(stands(&carol, &id), state, "{end}");
        let second = client.query(&format!("CREATE TABLE {table}_2 (a int)")).err().map(|error| fault(&error).0);
        assert_eq!(second.as_deref(), next, "{end}");
    }
    let id = approved(&db, &proxy, &sql("t_gone"));
    assert_eq!(carol.decide(&id, "approve", "read").0, 200);
    let leaves = proxy.connect();
    leaves.query("BEGIN").unwrap();
    leaves.query("CREATE TABLE t_gone (a int)").unwrap();
    drop(leaves);
    eventually("what is left is void", || (stands(&carol, &id) == "void: finished allowed not_run").then_some(()));
}

#[test]
fn a_file_is_asked_for_as_psql_reads_it_and_what_is_no_statement_is_named() {
    let (db, proxy, client, carol, dir) = with_carol("bundle_files");
    let file = dir.path().join("m.sql");
    let ask = |text: &[u8]| {
        fs::write(&file, text).unwrap();
        let url = format!("http://{}", proxy.http);
        let output = Command::new(env!("CARGO_BIN_EXE_holdgate"))
            .args(["request", file.to_str().unwrap(), "--as", "postgres", "--upstream", &db.name])
            .args(["--url", &url, "--token", &proxy.token, "--format", "json"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), said)
    };
    let (code, said) = ask("\u{feff}CREATE TABLE t_bom (\r\n    a int\r\n);\r\n".as_bytes());
    assert_eq!(code, 0, "{said}");
    let id = serde_json::from_str::<Value>(&said).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(carol.decide(&id, "approve", "read").0, 200);
    client.query("\nCREATE TABLE t_bom (\n\ta int\n)\n").unwrap();
    for psqls in ["\\set x 1\nCREATE TABLE t (a int);", "CREATE TABLE t (a int);\nCOPY t FROM STDIN;\n1\n\\.\n"] {
        let (code, said) = ask(psqls.as_bytes());
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("commands of psql"), "{said}");
    }
    let (code, said) = ask(format!("CREATE TABLE t (a text DEFAULT '{}');", "x".repeat(2 << 20)).as_bytes());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a bundle has at most 1048576"), "{said}");
    let long = format!("CREATE TABLE t (a text DEFAULT '{}');", "x".repeat(500_000));
    assert_eq!(ask(long.as_bytes()).0, 0, "far more than other bodies of the API");
}

#[test]
fn a_pipeline_spends_a_bundle_in_order_and_nothing_of_it_behind_a_rollback() {
    let (db, proxy, _client, carol, _dir) = with_carol("bundle_pipeline");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&query("SET holdgate.wait = '0s'"));
    conn.until('Z');
    let steps = |label: &str| [1, 2].map(|number| format!("CREATE TABLE t_{label}_{number} (a int)"));
    for (label, between, state) in
        [("on", "SELECT 1", "finished: finished finished"), ("back", "ROLLBACK", "void: finished not_run")]
    {
        let [first, second] = steps(label);
        let id = approved(&db, &proxy, &format!("{first};\n{second};"));
        assert_eq!(carol.decide(&id, "approve", "read").0, 200);
        let texts = ["BEGIN", &first, between, &second, "COMMIT"];
        conn.send(&texts.into_iter().flat_map(query).collect::<Vec<u8>>());
        let codes: Vec<_> = texts
            .iter()
            .map(|_| conn.until('Z').iter().find(|frame| frame.tag == 'E').map(|frame| frame.field(b'C')))
            .collect();
        let held = (between == "ROLLBACK").then(|| "57H01".to_owned());
        assert_eq!(codes, [None, None, None, held, None], "{between}");
        eventually("it stands so", || (stands(&carol, &id) == state).then_some(()));
    }
}
