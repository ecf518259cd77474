//! Holds and refusals on live connections, in every state of the protocol.

use crate::harness::conn::{Conn, bind, describe_portal, execute, parse, query, sync};
use crate::harness::{Options, Proxy, TestDb, eventually};

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options::default());
    (db, proxy)
}

#[test]
fn ddl_waits_for_a_person_and_runs_once_it_is_approved() {
    let (db, proxy) = start("approve");
    let decided = proxy.api().decide_later("ADD COLUMN note", "approve");
    let client = proxy.connect();
    client.query("ALTER TABLE customers ADD COLUMN note text").unwrap();
    let hold = decided.join().unwrap();
    assert_eq!(hold["statement"], "ALTER TABLE customers ADD COLUMN note text");
    assert_eq!(hold["waiting"], "connection");
    assert!(client.notices().iter().any(|notice| notice.contains(hold["id"].as_str().unwrap())));
    assert_eq!(db.direct("SELECT count(note) FROM customers"), "0");
    let finished = eventually("the hold is finished", || {
        let hold = proxy.api().get(&format!("/api/v1/holds/{}", hold["id"].as_str().unwrap()));
        (hold["state"] == "finished").then_some(hold)
    });
    assert_eq!(finished["decision"]["by"], "operator");
}

#[test]
fn a_denial_in_autocommit_names_rule_hold_and_reason_and_leaves_the_session_usable() {
    let (db, proxy) = start("deny");
    let decided = proxy.api().decide_later("DROP TABLE orders", "deny");
    let client = proxy.connect();
    let (code, text) = client.fails("DROP TABLE orders");
    let hold = decided.join().unwrap();
    assert_eq!(code, "42501");
    for part in ["ddl-needs-a-dba", hold["id"].as_str().unwrap(), "reason of the test"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
    assert_eq!(db.direct("SELECT count(*) FROM orders"), "20000");
}

#[test]
fn a_denial_in_an_open_transaction_fails_that_transaction_as_any_error_does() {
    let (_db, proxy) = start("deny_tx");
    let client = proxy.connect();
    client.query("BEGIN").unwrap();
    client.query("INSERT INTO orders VALUES (0, 1, 0)").unwrap();
    let decided = proxy.api().decide_later("ALTER TABLE orders", "deny");
    assert_eq!(client.fails("ALTER TABLE orders ADD COLUMN x int").0, "42501");
    decided.join().unwrap();
    assert_eq!(client.fails("SELECT 1").0, "25P02");
    client.query("ROLLBACK").unwrap();
    assert_eq!(client.query("SELECT count(*) FROM orders WHERE id = 0").unwrap(), ["0"]);
}

#[test]
fn a_denial_behind_a_savepoint_rolls_back_to_it_and_no_further() {
    let (_db, proxy) = start("deny_sp");
    let client = proxy.connect();
    client.query("BEGIN").unwrap();
    client.query("INSERT INTO orders VALUES (0, 1, 0)").unwrap();
    client.query("SAVEPOINT s").unwrap();
    let decided = proxy.api().decide_later("ALTER TABLE orders", "deny");
    assert_eq!(client.fails("ALTER TABLE orders ADD COLUMN x int").0, "42501");
    decided.join().unwrap();
    client.query("ROLLBACK TO s").unwrap();
    client.query("COMMIT").unwrap();
    assert_eq!(client.query("SELECT count(*) FROM orders WHERE id = 0").unwrap(), ["1"]);
}

#[test]
fn a_query_of_several_statements_is_refused_as_a_whole() {
    let (db, proxy) = start("deny_multi");
    let client = proxy.connect();
    let decided = proxy.api().decide_later("CREATE TABLE t", "deny");
    let (code, _) = client.fails("INSERT INTO orders VALUES (0, 1, 0); CREATE TABLE t (a int); SELECT 1");
    decided.join().unwrap();
    assert_eq!(code, "42501");
    assert_eq!(db.direct("SELECT count(*) FROM orders WHERE id = 0"), "0");
    assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
}

#[test]
fn a_prepared_statement_is_held_when_it_is_bound_with_its_values_on_the_card() {
    let (_db, proxy) = start("prepared");
    let client = proxy.connect();
    let statement = client.wait(client.inner.prepare("SELECT email FROM customers WHERE id > $1::int8")).unwrap();
    let policy_rows = client.wait(client.inner.query(&statement, &[&1990_i64])).unwrap();
    assert_eq!(policy_rows.len(), 10, "below the tripwire it passes");
    let statement =
        client.wait(client.inner.prepare("DELETE FROM customers WHERE id = $1::int8 AND pg_sleep(0) IS NULL")).unwrap();
    assert_eq!(client.wait(client.inner.execute(&statement, &[&0_i64])).unwrap(), 0);
    let create = client.wait(client.inner.prepare("CREATE TABLE t_prepared (a int)")).unwrap();
    for decision in ["deny", "approve"] {
        let decided = proxy.api().decide_later("CREATE TABLE t_prepared", decision);
        let result = client.wait(client.inner.execute(&create, &[]));
        decided.join().unwrap();
        assert_eq!(result.is_ok(), decision == "approve", "{result:?}");
    }
    assert_eq!(client.query("SELECT count(*) FROM t_prepared").unwrap(), ["0"]);
}

/// The frames of one statement in a pipeline.
fn extended(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", ""), describe_portal(""), execute("", 0)].concat()
}

#[test]
fn a_refusal_at_each_place_of_a_pipeline_gives_the_replies_of_an_error_in_that_place() {
    let (db, proxy) = start("pipeline");
    let held = "CREATE TABLE t_pipeline (a int)";
    let wrong = "SELECT 1/0";
    for place in 0..3 {
        let batch = |refused: &str| {
            let one = |at| extended(if at == place { refused } else { "SELECT 1" });
            [one(0), one(1), one(2), sync()].concat()
        };
        let mut direct = Conn::session(&format!("127.0.0.1:{}", db.port), &db.name);
        direct.send(&batch(wrong));
        // Postgres answers the Bind of SELECT 1/0 with the error: planning folds it.
        let expected = direct.tags();
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        let decided = proxy.api().decide_later("t_pipeline", "deny");
        conn.send(&batch(held));
        let got = conn.tags();
        decided.join().unwrap();
        assert_eq!(got, expected, "place {place}");
        conn.send(&query("SELECT 1"));
        assert_eq!(conn.tags(), "TDCZI");
    }
}

#[test]
fn an_approval_in_the_middle_of_a_pipeline_gives_the_replies_of_postgres() {
    let (db, proxy) = start("pipeline_ok");
    let batch = |name: &str| {
        let create = format!("CREATE TABLE {name} (a int)");
        [extended("SELECT 1"), extended(&create), extended("SELECT 2"), sync()].concat()
    };
    let mut direct = Conn::session(&format!("127.0.0.1:{}", db.port), &db.name);
    direct.send(&batch("t_direct"));
    let expected = direct.tags();
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let decided = proxy.api().decide_later("t_through", "approve");
    conn.send(&batch("t_through"));
    assert_eq!(conn.tags(), expected);
    decided.join().unwrap();
}

#[test]
fn an_approval_is_spent_once() {
    let (_db, proxy) = start("once");
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    let sql = "INSERT INTO orders SELECT id, 1, 0 FROM pg_catalog.generate_series(-5, -1) id; TRUNCATE orders";
    let (code, text) = client.fails(sql);
    assert_eq!(code, "57H01");
    let hold = proxy.api().wait_for_hold("TRUNCATE orders");
    assert!(text.contains(hold["id"].as_str().unwrap()), "{text}");
    assert_eq!(hold["waiting"], "ticket");
    assert_eq!(proxy.api().decide(hold["id"].as_str().unwrap(), "approve", "").0, 200);
    client.query(sql).unwrap();
    assert_eq!(client.fails(sql).0, "57H01", "a second run asks anew");
}

#[test]
fn a_table_swapped_under_the_same_name_voids_an_approval() {
    let (db, proxy) = start("swap");
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    let sql = "COPY orders TO STDOUT";
    assert_eq!(client.fails(sql).0, "57H01");
    let hold = proxy.api().wait_for_hold(sql);
    assert_eq!(proxy.api().decide(hold["id"].as_str().unwrap(), "approve", "").0, 200);
    db.direct("ALTER TABLE orders RENAME TO old_orders; CREATE TABLE orders AS SELECT email FROM customers");
    // Seen at the latest by the comparison with the server that runs every few seconds.
    let state = eventually("the approval is void, or was never joined", || {
        let (code, _) = client.fails(sql);
        assert_ne!(code, "00000");
        let state = proxy.api().get(&format!("/api/v1/holds/{}", hold["id"].as_str().unwrap()))["state"].clone();
        (code != "57H01" || state == "approved").then_some(state)
    });
    assert!(state == "void" || state == "approved", "{state}");
}

#[test]
fn a_cancel_withdraws_a_hold() {
    let (db, proxy) = start("cancel");
    let client = proxy.connect();
    let token = client.inner.cancel_token();
    let api = proxy.api();
    let canceller = std::thread::spawn(move || {
        let hold = api.wait_for_hold("t_cancelled");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(token.cancel_query(tokio_postgres::NoTls)).unwrap();
        hold["id"].as_str().unwrap().to_owned()
    });
    assert_eq!(client.fails("CREATE TABLE t_cancelled (a int)").0, "57014");
    let id = canceller.join().unwrap();
    assert_eq!(proxy.api().get(&format!("/api/v1/holds/{id}"))["state"], "withdrawn");
    assert_eq!(db.direct("SELECT to_regclass('t_cancelled') IS NULL"), "t");
}

#[test]
fn a_disconnect_leaves_a_ticket_and_an_undecided_statement_never_runs() {
    let (db, proxy) = start("gone");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&query("CREATE TABLE t_gone (a int)"));
    let hold = proxy.api().wait_for_hold("t_gone");
    drop(conn);
    eventually("the hold is a ticket", || {
        let now = proxy.api().get(&format!("/api/v1/holds/{}", hold["id"].as_str().unwrap()));
        (now["waiting"] == "ticket").then_some(())
    });
    proxy.api().decide(hold["id"].as_str().unwrap(), "approve", "");
    assert_eq!(db.direct("SELECT to_regclass('t_gone') IS NULL"), "t");
}

#[test]
fn what_is_always_allowed_is_never_held() {
    let (_db, proxy) = start("always");
    let policy = "version: 1\nrules:\n  - { name: nothing, match: { kind: [read, write, session, ddl, opaque] }, effect: deny }\ndefault: deny\n";
    drop(proxy);
    let db = TestDb::new("always2");
    let proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    let client = proxy.connect();
    for sql in ["BEGIN", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "COMMIT", "", "DEALLOCATE ALL"] {
        client.query(sql).unwrap();
    }
    assert_eq!(client.fails("SELECT 1").0, "42501");
}

#[test]
fn an_operator_who_is_the_human_behind_the_agent_cannot_approve() {
    let db = TestDb::new("own");
    let dir = tempfile::TempDir::new().unwrap();
    let token = "alice-token-0123456789abcdef";
    std::fs::write(dir.path().join("alice"), token).unwrap();
    let config = format!(
        "principals:\n  - {{ name: bot, kind: agent, role: postgres, human: alice }}\noperators:\n  - \
         {{ name: alice, human: alice, groups: [dba], roles: [operator], token_file: {} }}\n",
        dir.path().join("alice").display()
    );
    let path = dir.path().join("holdgate.yaml");
    std::fs::write(&path, config).unwrap();
    let arguments = ["--config", path.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { arguments: &arguments, ..Options::default() });
    let alice = crate::harness::Api::new(&proxy.http, token);
    let api = proxy.api();
    let deciders = std::thread::spawn(move || {
        let hold = alice.wait_for_hold("t_own");
        let id = hold["id"].as_str().unwrap();
        let refused = alice.decide(id, "approve", "mine");
        assert_eq!(api.decide(id, "approve", "not mine").0, 200);
        (hold.clone(), refused)
    });
    proxy.connect().query("CREATE TABLE t_own (a int)").unwrap();
    let (hold, (status, problem)) = deciders.join().unwrap();
    assert_eq!(hold["principal"]["human"], "alice");
    assert_eq!(status, 403);
    assert!(problem["type"].as_str().unwrap().ends_with("self-approval"), "{problem}");
}

#[test]
fn psql_on_the_database_holdgate_shows_and_approves() {
    let (_db, proxy) = start("admin");
    let api = proxy.api();
    let dsn = format!("host=127.0.0.1 port={} dbname=holdgate user=operator", proxy.port);
    let token = proxy.token.clone();
    let operator = std::thread::spawn(move || {
        let hold = api.wait_for_hold("t_admin");
        let id = hold["id"].as_str().unwrap().to_owned();
        let psql = |sql: &str| {
            let output = std::process::Command::new("psql")
                .args(["-X", "-At", "-d", &dsn, "-c", sql])
                .env("PGPASSWORD", &token)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let list = psql("SHOW HOLDS");
        let card = psql(&format!("SHOW HOLD '{id}'"));
        psql(&format!("APPROVE '{id}' 'looks right'"));
        (list, card)
    });
    proxy.connect().query("CREATE TABLE t_admin (a int)").unwrap();
    let (list, card) = operator.join().unwrap();
    assert!(list.contains("CREATE TABLE"), "{list}");
    assert!(card.contains("CREATE TABLE t_admin (a int)"), "{card}");
}

#[test]
fn an_error_on_a_tagged_relation_does_not_quote_its_values() {
    let (_db, proxy) = start("speaks");
    let client = proxy.connect();
    let (code, text) = client.fails("SELECT email::int FROM customers WHERE id = 7");
    assert_eq!(code, "22P02");
    assert!(!text.contains("user7"), "{text}");
    let (code, text) = client.fails("SELECT emial FROM customers WHERE id = 7");
    assert_eq!(code, "42703");
    assert!(text.contains("emial"), "{text}");
}

#[test]
fn a_policy_that_does_not_load_leaves_the_old_one_in_force() {
    let db = TestDb::new("reload");
    let deny = "version: 1\nrules:\n  - { name: no-reads, match: { kind: read }, effect: deny }\ndefault: allow\n";
    let proxy = Proxy::start(&db, Options { policy: Some(deny), ..Options::default() });
    let client = proxy.connect();
    assert_eq!(client.fails("SELECT 1").0, "42501");
    let path = proxy.state.path().join("policy.yaml");
    std::fs::write(&path, "version: 1\nrules: [{ name: x, effect: maybe }]\n").unwrap();
    proxy.signal("HUP");
    proxy.wait_for_line("what was in force stays");
    assert_eq!(client.fails("SELECT 1").0, "42501");
    std::fs::write(&path, crate::harness::ALLOW_ALL).unwrap();
    proxy.signal("HUP");
    proxy.wait_for_line("reloaded");
    assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
}

#[test]
fn a_session_that_the_server_ends_under_a_hold_withdraws_it() {
    let (db, proxy) = start("ended");
    let client = proxy.connect();
    let pid = client.query("SELECT pg_backend_pid()").unwrap().remove(0);
    client.query("BEGIN").unwrap();
    let api = proxy.api();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            api.wait_for_hold("t_ended");
            db.direct(&format!("SELECT pg_terminate_backend({pid})"));
        });
        client.query("CREATE TABLE t_ended (a int)").unwrap_err()
    });
    assert!(error.is_closed() || error.code().is_some_and(|code| code.code() == "57P01"), "{error}");
    let id = eventually("the hold is withdrawn", || {
        let holds = proxy.api().get("/api/v1/holds?state=withdrawn");
        holds["holds"].as_array().unwrap().first().map(|hold| hold["id"].as_str().unwrap().to_owned())
    });
    eventually("its run is closed", || {
        let (_, out, _) = proxy.holdgate(&["log", "query", "--hold", &id, "--event", "closed", "--format", "jsonl"]);
        out.contains("\"withdrawn\"").then_some(())
    });
}

#[test]
fn a_notice_on_a_tagged_relation_does_not_carry_its_values_out() {
    let (db, proxy) = start("notice");
    db.direct(
        "CREATE FUNCTION shout() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
           RAISE NOTICE '%', (SELECT email FROM customers WHERE id = 7); RETURN 1; END $$",
    );
    let client = proxy.connect();
    // A function's body packs what it reads, so a person is asked; an approval lets rows through, not notices.
    let decided = proxy.api().decide_later("SELECT shout()", "approve");
    client.query("SELECT shout()").unwrap();
    decided.join().unwrap();
    assert!(client.notices().iter().any(|notice| notice.contains("withheld")), "{:?}", client.notices());
    assert!(!client.notices().iter().any(|notice| notice.contains("user7")), "{:?}", client.notices());
    client.query("SET holdgate.wait = '0s'").unwrap();
    let block = "DO $$ BEGIN RAISE NOTICE '%', (SELECT string_agg(email, ',') FROM customers); END $$";
    assert_eq!(client.fails(block).0, "57H01");
}
