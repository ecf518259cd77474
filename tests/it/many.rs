//! A pipeline that executes one held statement many times asks once, for exactly that list.

use serde_json::{Value, json};

use crate::harness::conn::{Conn, execute, frame, parse, query, startup, sync};
use crate::harness::{Options, Proxy, TestDb, eventually};

const POLICY: &str = "version: 1\nrules:\n  \
    - { name: asked, match: { kind: write, relation: \"*.many\" }, effect: hold, approve: { from: [dba] } }\n\
    default: allow\n";

const INSERT: &str = "INSERT INTO many VALUES ($1, $2)";

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    db.direct("CREATE TABLE many (a int PRIMARY KEY, b text)");
    let proxy = Proxy::start(&db, Options { policy: Some(POLICY), ..Options::default() });
    (db, proxy)
}

/// A Bind of text values and its Execute.
fn run(statement: &str, values: [&str; 2]) -> Vec<u8> {
    let mut body = [b"\0", statement.as_bytes(), b"\0\0\0\0\x02"].concat();
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend([0, 0]);
    [frame('B', &body), execute("", 0)].concat()
}

fn pipeline(rows: &[[&str; 2]]) -> Vec<u8> {
    let runs: Vec<u8> = rows.iter().flat_map(|row| run("i", *row)).collect();
    [parse("i", INSERT), runs, sync(), frame('C', b"Si\0"), sync()].concat()
}

fn holds(proxy: &Proxy) -> Vec<Value> {
    let all = proxy.api().get("/api/v1/holds");
    all["holds"].as_array().unwrap().clone()
}

/// Closing records of the statement under a hold, once there are so many.
fn closed(proxy: &Proxy, hold: &Value, count: usize) -> Vec<Value> {
    eventually("closing records", || {
        let (_, lines, _) = proxy.holdgate(&["log", "query", "--format", "jsonl"]);
        let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of: Vec<Value> =
            records.filter(|record| record["event"] == "closed" && record["hold"] == hold["id"]).collect();
        (of.len() == count).then_some(of)
    })
}

#[test]
fn many_executions_make_one_hold_that_shows_all_values_and_each_has_its_record() {
    let (db, proxy) = start("many_one");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let decided = proxy.api().decide_later("INSERT INTO many", "approve");
    conn.send(&pipeline(&[["1", "one"], ["2", "two"], ["3", "three"]]));
    assert_eq!(conn.tags(), "12C2C2CZI");
    let hold = decided.join().unwrap();
    assert_eq!(hold["parameters"], json!(["1", "one", "2", "two", "3", "three"]), "{hold}");
    assert!(hold["findings"][0].as_str().unwrap().contains("3 times"), "{hold}");
    assert_eq!(conn.tags(), "3ZI");
    assert_eq!(db.direct("SELECT string_agg(b, ' ' ORDER BY a) FROM many"), "one two three");
    assert!(closed(&proxy, &hold, 3).iter().all(|record| record["outcome"] == "complete"));
    assert_eq!(holds(&proxy).len(), 1);
}

#[test]
fn an_approval_of_a_list_is_spent_once_and_by_that_list_alone() {
    let (db, proxy) = start("many_once");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    for (rows, decision) in [
        (&[["1", "a"], ["2", "b"]][..], "approve"),
        (&[["1", "a"], ["2", "b"]][..], "deny"),
        (&[["2", "b"], ["1", "a"]][..], "deny"),
        (&[["3", "a"]][..], "deny"),
    ] {
        let decided = proxy.api().decide_later("INSERT INTO many", decision);
        conn.send(&pipeline(rows));
        let tags = conn.tags();
        assert_eq!(tags, if decision == "deny" { "1EZI" } else { "12C2CZI" }, "{rows:?}");
        decided.join().unwrap();
        conn.tags();
    }
    assert_eq!(db.direct("SELECT count(*) FROM many"), "2");
    assert_eq!(holds(&proxy).len(), 4);
}

#[test]
fn an_execution_that_fails_ends_the_approval_for_those_behind_it() {
    let (db, proxy) = start("many_fails");
    db.direct("INSERT INTO many VALUES (2, 'there')");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let decided = proxy.api().decide_later("INSERT INTO many", "approve");
    conn.send(&pipeline(&[["1", "one"], ["2", "two"], ["3", "three"]]));
    assert_eq!(conn.tags(), "12C2EZI");
    let hold = decided.join().unwrap();
    conn.tags();
    assert_eq!(db.direct("SELECT count(*) FROM many"), "1");
    eventually("the hold has ended", || {
        let (_, body) = proxy.api().request("GET", &format!("/api/v1/holds/{}", hold["id"].as_str().unwrap()), None);
        body.contains("failed").then_some(())
    });
    conn.send(&query("SELECT 1"));
    assert_eq!(conn.tags(), "TDCZI");
}

#[test]
fn a_ticket_for_a_list_is_found_again_by_sending_the_list_again() {
    let (db, proxy) = start("many_ticket");
    let mut conn = Conn::open(&proxy.postgres);
    let options = ("options", "-c holdgate.wait=0");
    conn.send(&startup(&[("user", "postgres"), ("database", &db.name), options]));
    conn.until('Z');
    let rows: Vec<[String; 2]> = (0..300).map(|row| [row.to_string(), "x".repeat(100)]).collect();
    let rows: Vec<[&str; 2]> = rows.iter().map(|[a, b]| [a.as_str(), b.as_str()]).collect();
    let sent = pipeline(&rows);
    conn.send(&sent);
    let frames = conn.until('Z');
    let error = frames.iter().find(|frame| frame.tag == 'E').unwrap();
    assert_eq!(error.field(b'C'), "57H01");
    conn.tags();
    let hold = proxy.api().wait_for_hold("INSERT INTO many");
    assert_eq!(proxy.api().decide(hold["id"].as_str().unwrap(), "approve", "yes").0, 200);
    conn.send(&sent);
    assert_eq!(conn.tags(), format!("1{}ZI", "2C".repeat(300)));
    assert_eq!(db.direct("SELECT count(*) FROM many"), "300");
    assert_eq!(holds(&proxy).len(), 1);
}

#[test]
fn what_another_statement_interrupts_is_asked_about_in_two() {
    let (db, proxy) = start("many_two");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let asked = std::thread::spawn({
        let api = proxy.api();
        move || {
            for text in ["1", "3"] {
                let hold = eventually("the next hold", || {
                    let pending = api.get("/api/v1/holds?state=pending");
                    let found = pending["holds"].as_array().unwrap().iter().find(|hold| hold["parameters"][0] == text);
                    found.cloned()
                });
                assert_eq!(api.decide(hold["id"].as_str().unwrap(), "approve", "yes").0, 200);
            }
        }
    });
    let sent = [
        parse("i", INSERT),
        run("i", ["1", "a"]),
        run("i", ["2", "b"]),
        parse("", "SELECT 1"),
        run("i", ["3", "c"]),
        run("i", ["4", "d"]),
        sync(),
    ];
    conn.send(&sent.concat());
    assert_eq!(conn.tags(), "12C2C12C2CZI");
    asked.join().unwrap();
    assert_eq!(db.direct("SELECT count(*) FROM many"), "4");
    assert_eq!(holds(&proxy).len(), 2);
}
