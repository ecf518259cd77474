//! `holdgate analyze`, `catalog dump` and `check --catalog` as people and pipelines call them.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::TestDb;

fn holdgate(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdgate"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A directory with a snapshot of the sample shop.
struct Shop {
    home: tempfile::TempDir,
}

impl Shop {
    fn new(label: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let db = TestDb::new(label);
        let dumped = holdgate(home.path(), &["catalog", "dump", "--upstream", &db.dsn(), "--out", "catalog.json"]);
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        Self { home }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn analyze(&self, arguments: &[&str]) -> Output {
        holdgate(self.path(), &[&["analyze", "--catalog", "catalog.json"], arguments].concat())
    }

    /// The statements of one file, as jsonl has them.
    fn statements(&self, text: &str) -> Vec<Value> {
        self.file("one.sql", text);
        let answer: Value = serde_json::from_str(&out(&self.analyze(&["--format", "jsonl", "one.sql"]))).unwrap();
        assert_eq!(answer["id"], "one.sql");
        answer["statements"].as_array().unwrap().clone()
    }
}

/// `line:column command verdict` of each.
fn heads(statements: &[Value]) -> Vec<String> {
    let head = |it: &Value| format!("{}:{} {} {}", it["line"], it["column"], it["command"], it["verdict"]);
    statements.iter().map(|it| head(it).replace('"', "")).collect()
}

#[test]
fn a_snapshot_is_the_same_each_time_and_says_what_the_server_says() {
    let db = TestDb::new("dump");
    let home = tempfile::tempdir().unwrap();
    db.direct("COMMENT ON COLUMN orders.total IS 'free text @pii(user.behavior)'");
    let dump = |out: &str| holdgate(home.path(), &["catalog", "dump", "--upstream", &db.dsn(), "--out", out]);
    assert!(dump("one.json").status.success());
    db.direct("ANALYZE");
    assert!(dump("two.json").status.success());
    let text = fs::read_to_string(home.path().join("one.json")).unwrap();
    assert_eq!(text, fs::read_to_string(home.path().join("two.json")).unwrap(), "row counts are not in it");
    assert!(text.lines().any(|line| line.contains("\"customers\"") && line.len() < 5000), "a relation is a line");
    let sql = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sql/reads.sql")).unwrap();
    fs::write(home.path().join("reads.sql"), sql + "\nSELECT total FROM orders;\nSELECT email FROM customers;\n")
        .unwrap();
    let analyze =
        |from: &[&str]| out(&holdgate(home.path(), &[&["analyze", "--format", "jsonl", "reads.sql"], from].concat()));
    let live = analyze(&["--upstream", &db.dsn()]);
    assert!(live.contains("user.behavior") && live.contains("user.contact.email"), "{live}");
    assert_eq!(analyze(&["--catalog", "one.json"]), live);
}

#[test]
fn directories_are_walked_in_order_and_what_is_built_or_hidden_is_left_out() {
    let shop = Shop::new("walk");
    for name in ["db/b.sql", "db/a/z.SQL", "db/.git/x.sql", "db/node_modules/x.sql", "db/target/x.sql", "db/notes.txt"]
    {
        shop.file(name, "SELECT 1;");
    }
    let text = out(&shop.analyze(&["--format", "jsonl", "db", "db/notes.txt"]));
    let ids: Vec<Value> = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["db/a/z.SQL", "db/b.sql", "db/notes.txt"]);
}

#[test]
fn a_psql_script_is_read_as_psql_reads_it() {
    let shop = Shop::new("script");
    let statements = shop.statements(
        "\\set ON_ERROR_STOP on\n-- who\nSELECT email\n  FROM customers WHERE id = :id;\n\
         COPY orders (id, note) FROM stdin;\n1\tSELECT ssn FROM customers;\n\\.\n\
         \\copy (SELECT id FROM orders) to 'o.csv'\n\\i other.sql\nSELECT FROM FROM;\n",
    );
    assert_eq!(
        heads(&statements),
        ["3:1 SELECT allow", "5:1 COPY allow", "8:1 COPY hold", "9:1 PSQL hold", "10:1 UNKNOWN hold",]
    );
    assert_eq!(statements[0]["reveals"], json!(["public.customers.email"]));
    assert_eq!(statements[0]["notes"], json!([":id is taken for a value"]));
    assert_eq!((&statements[0]["end_line"], &statements[0]["end_column"]), (&json!(4), &json!(33)));
    assert!(statements[3]["opaque"][0].as_str().unwrap().contains("includes"));
}

#[test]
fn definitions_of_a_file_hold_for_what_follows_in_it_and_for_no_other_file() {
    let shop = Shop::new("overlay");
    let statements = shop.statements(
        "CREATE TABLE mails AS SELECT email AS m FROM customers;\nSELECT m FROM mails;\n\
         ALTER TABLE customers RENAME COLUMN last_name TO n;\nSELECT n FROM customers;\n\
         BEGIN; DROP TABLE mails; ROLLBACK;\nSELECT m FROM mails;\n",
    );
    assert_eq!(statements[1]["tags"], json!({"public.mails.m": ["user.contact.email"]}));
    assert_eq!(statements[3]["tags"], json!({"public.customers.n": ["user.name.last"]}));
    assert_eq!(statements[7]["tags"], json!({"public.mails.m": ["user.contact.email"]}));
    let other = shop.statements("SELECT m FROM mails");
    assert!(other[0]["opaque"].to_string().contains("mails"), "{other:?}");
}

#[test]
fn a_dump_with_rows_and_a_file_of_megabytes_are_read_in_passing() {
    let shop = Shop::new("large");
    let mut file = File::create(shop.path().join("large.sql")).unwrap();
    writeln!(file, "COPY orders (total) FROM stdin;").unwrap();
    let row = format!("{}\n", "SELECT ssn FROM customers;".repeat(50));
    for _ in 0..20_000 {
        file.write_all(row.as_bytes()).unwrap();
    }
    write!(file, "\\.\nSELECT id FROM orders;\n").unwrap();
    drop(file);
    assert!(fs::metadata(shop.path().join("large.sql")).unwrap().len() > 20 << 20);
    // No more memory than the program takes anyway; the file would not fit.
    let limited =
        format!("ulimit -v 900000; exec {} analyze --catalog catalog.json large.sql", env!("CARGO_BIN_EXE_holdgate"));
    let output = Command::new("sh").current_dir(shop.path()).args(["-c", &limited]).output().unwrap();
    let text = out(&output);
    assert!(text.contains("large.sql:20003:1: SELECT"), "{text}");
    assert!(text.ends_with("2 statements: 0 touch tagged columns, 0 held, 0 denied, 0 opaque\n"), "{text}");
}

#[test]
fn sarif_is_valid_and_has_a_result_for_each_statement_to_look_at() {
    let shop = Shop::new("sarif");
    shop.file(
        "db/with space.sql",
        "SELECT 1;\nSELECT email\n  FROM customers WHERE id = 1;\nDROP TABLE orders;\n\\! ls\n",
    );
    shop.file("db/none.sql", "SELECT id FROM orders LIMIT 1;");
    let sarif: Value = serde_json::from_str(&out(&shop.analyze(&["--format", "sarif", "db"]))).unwrap();
    // From SchemaStore, Apache-2.0.
    let schema = include_str!("../../fixtures/sarif/sarif-2.1.0-rtm.5.json");
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    // A pattern that is no regular expression to a strict reader; we write no language.
    for whose in ["run", "toolComponent"] {
        let language = schema.pointer_mut(&format!("/definitions/{whose}/properties/language")).unwrap();
        language.as_object_mut().unwrap().remove("pattern");
    }
    let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft4).build(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&sarif).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let rules: Vec<&Value> = results.iter().map(|result| &result["ruleId"]).collect();
    assert_eq!(rules, ["personal-data", "held", "opaque"]);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "db/with%20space.sql");
    assert_eq!(place["region"], json!({"startLine": 2, "startColumn": 1, "endLine": 3, "endColumn": 31}));
    assert_eq!(results[0]["properties"]["tags"], json!(["user.contact.email"]));
    for (result, rule) in results.iter().zip([3, 2, 1]) {
        assert_eq!(result["ruleIndex"], rule);
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
    }
    shop.file("empty.sql", "");
    let empty: Value = serde_json::from_str(&out(&shop.analyze(&["--format", "sarif", "empty.sql"]))).unwrap();
    assert_eq!(empty["runs"][0]["results"], json!([]));
}

#[test]
fn a_pipeline_fails_on_what_it_asked_for_alone() {
    let shop = Shop::new("gate");
    shop.file("tag.sql", "SELECT email FROM customers WHERE id = 1");
    shop.file("hold.sql", "TRUNCATE orders");
    shop.file("opaque.sql", "SELECT FROM FROM");
    let code = |arguments: &[&str]| shop.analyze(arguments).status.code();
    assert_eq!(code(&["tag.sql", "hold.sql", "opaque.sql"]), Some(0));
    assert_eq!(code(&["--fail-on", "tag", "tag.sql"]), Some(1));
    assert_eq!(code(&["--fail-on", "hold,opaque,deny", "tag.sql"]), Some(0));
    assert_eq!(code(&["--fail-on", "hold", "hold.sql"]), Some(1));
    assert_eq!(code(&["--fail-on", "tag,opaque", "--format", "sarif", "opaque.sql"]), Some(1));
    assert_eq!(code(&["--fail-on", "nothing", "tag.sql"]), Some(2));
    assert_eq!(code(&["missing.sql"]), Some(2));
    let nowhere = holdgate(shop.path(), &["analyze", "tag.sql"]);
    assert_eq!(nowhere.status.code(), Some(2));
    let closed = holdgate(shop.path(), &["analyze", "--upstream", "postgres://nobody@127.0.0.1:1/x", "tag.sql"]);
    assert_eq!(closed.status.code(), Some(3));
    shop.file("old.json", "{\"version\": 99, \"rows\": {}}");
    let old = holdgate(shop.path(), &["analyze", "--catalog", "old.json", "tag.sql"]);
    assert_eq!(old.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&old.stderr).contains("version 99"));
}

#[test]
fn each_line_of_jsonl_is_a_session_of_its_own() {
    let shop = Shop::new("lines");
    let lines = [
        json!({"id": 1, "sql": "CREATE TEMP TABLE t AS SELECT email FROM customers; SELECT email FROM t"}),
        json!({"id": "b", "sql": "SELECT email FROM t"}),
        json!({"id": [3], "sql": "SELEC 1"}),
        json!({"id": null, "sql": ""}),
    ];
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    shop.file("in.jsonl", &text.join("\n"));
    let answers = out(&shop.analyze(&["--input", "jsonl", "--format", "jsonl", "in.jsonl"]));
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        answers.iter().map(|answer| &answer["id"]).collect::<Vec<_>>(),
        [&json!(1), &json!("b"), &json!([3]), &Value::Null]
    );
    assert_eq!(answers[0]["statements"][1]["tags"], json!({"pg_temp.t.email": ["user.contact.email"]}));
    assert_eq!(answers[1]["statements"][0]["kind"], "opaque");
    assert_eq!(heads(answers[2]["statements"].as_array().unwrap()), ["1:1 UNKNOWN hold"]);
    assert_eq!(answers[3]["statements"], json!([]));
}

#[test]
fn check_finds_columns_of_a_snapshot_that_look_personal_and_are_untagged() {
    let db = TestDb::new("lookalike");
    db.direct(
        "CREATE TABLE staff (work_email_2 text, home_email_2 text); \
         COMMENT ON COLUMN staff.home_email_2 IS '@pii(user.contact.email)'",
    );
    let home = tempfile::tempdir().unwrap();
    let dumped = holdgate(home.path(), &["catalog", "dump", "--upstream", &db.dsn()]);
    fs::write(home.path().join("c.json"), out(&dumped)).unwrap();
    let checked = holdgate(home.path(), &["check", "--catalog", "c.json"]);
    assert_eq!(checked.status.code(), Some(1));
    let text = out(&checked);
    assert!(text.contains("public.staff.work_email_2 looks like") && text.contains("[untagged-column]"), "{text}");
    assert!(!text.contains("home_email_2"), "{text}");
}
