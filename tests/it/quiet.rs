//! What ordinary tools and applications send is let through by the shipped policy, untagged, and answered as directly.
//!
//! `fixtures/sql/tools/` holds what each tool sent; its first lines say how that was captured.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::harness::conn::{Conn, bind, execute, parse, sync};
use crate::harness::{Options, Proxy, TestDb};

const SEPARATOR: &str = "-- statement\n";

/// What `analyze` says of a text.
#[derive(Debug, Deserialize)]
struct Answer {
    id: usize,
    verdict: String,
    rule: String,
    statements: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
struct Statement {
    tags: BTreeMap<String, Vec<String>>,
    opaque: Vec<String>,
}

/// A text that is not simply let through.
#[derive(Debug)]
struct Bothered {
    sql: String,
    verdict: String,
    rule: String,
    columns: Vec<String>,
    opaque: Vec<String>,
}

impl Bothered {
    /// Whether it is opaque for this alone: the server's own catalog has no such name in this version.
    fn is_of_another_version(&self, version: u32) -> bool {
        let other = !self.opaque.is_empty() && self.opaque.iter().all(|why| why.ends_with("is not in the catalog"));
        if other {
            eprintln!("skipped on version {version}: {}", self.sql);
        }
        other
    }
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sample shop, with one of each kind of object.
fn shop(label: &str) -> TestDb {
    let db = TestDb::new(label);
    db.direct("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    db.direct(&fixture("shop.sql"));
    db.direct(&fixture("sql/objects.sql"));
    db
}

/// The answers for texts against the live catalog, under the shipped policy.
fn analyze(db: &TestDb, texts: &[&str]) -> Vec<Answer> {
    let lines =
        texts.iter().enumerate().map(|(id, sql)| serde_json::json!({ "id": id, "sql": sql }).to_string() + "\n");
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdgate"))
        .args(["analyze", "--upstream", &db.dsn(), "--format", "jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String = lines.collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Answer> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), texts.len());
    answers
}

/// Which of the texts are held, refused or tagged.
fn bothered(db: &TestDb, texts: &[&str]) -> Vec<Bothered> {
    let mut found = Vec::new();
    for answer in analyze(db, texts) {
        let columns: Vec<String> = answer.statements.iter().flat_map(|it| it.tags.keys().cloned()).collect();
        if answer.verdict == "allow" && columns.is_empty() {
            continue;
        }
        found.push(Bothered {
            sql: texts[answer.id].to_owned(),
            verdict: answer.verdict,
            rule: answer.rule,
            columns,
            opaque: answer.statements.into_iter().flat_map(|it| it.opaque).collect(),
        });
    }
    found
}

/// Which statements of a tool's capture are held, refused or tagged; the capture has at least so many.
fn bothered_of(tool: &str, least: usize) -> Vec<Bothered> {
    let db = shop(tool);
    let text = fixture(&format!("sql/tools/{tool}.sql"));
    let statements: Vec<&str> = text.split(SEPARATOR).skip(1).map(str::trim_end).collect();
    assert!(statements.len() >= least, "{tool}: only {} statements", statements.len());
    let in_session: Vec<String> =
        (0..statements.len()).map(|at| with_names(&statements[..at], statements[at])).collect();
    let in_session: Vec<&str> = in_session.iter().map(String::as_str).collect();
    let mut found = bothered(&db, &in_session);
    // A tool asks each version for what its catalog has.
    let version = db.version();
    if !text.contains(&format!("PostgreSQL {version}.")) {
        found.retain(|it| !it.is_of_another_version(version));
    }
    found
}

/// A statement behind whatever made the prepared statement or cursor that it names: each text is a session of its own.
fn with_names(before: &[&str], statement: &str) -> String {
    let starts = |text: &str, words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if !starts(statement, &["EXECUTE ", "FETCH ", "MOVE "]) {
        return statement.to_owned();
    }
    let prepares = |text: &&&str| {
        let name = text.split_whitespace().nth(1).unwrap_or_default();
        let name = name.split('(').next().unwrap_or_default().to_lowercase();
        starts(text, &["PREPARE ", "DECLARE "]) && statement.to_lowercase().contains(&name)
    };
    let maker = before.iter().rev().find(prepares);
    maker.map(|maker| format!("{maker};\n")).unwrap_or_default() + statement
}

fn is_quiet(tool: &str, least: usize) {
    let bothered = bothered_of(tool, least);
    assert!(bothered.is_empty(), "{tool}: {bothered:#?}");
}

/// The verdicts, rules and columns alone.
fn said(bothered: &[Bothered]) -> Vec<(&str, &str, Vec<&str>)> {
    bothered.iter().map(|it| (&*it.verdict, &*it.rule, it.columns.iter().map(String::as_str).collect())).collect()
}

const MAPPINGS: &str = "pg_catalog.pg_user_mappings.umoptions";
const CONNINFO: &str = "pg_catalog.pg_subscription.subconninfo";
const ACTIVITY: &str = "pg_catalog.pg_stat_activity.query";

#[test]
fn psql_is_bothered_only_where_it_shows_passwords() {
    let bothered = bothered_of("psql", 100);
    let expected = [("hold", "credentials-in-bulk", vec![MAPPINGS]), ("allow", "ordinary-work", vec![CONNINFO])];
    assert_eq!(said(&bothered), expected, "\\deu+ and \\dRs+: {bothered:#?}");
}

#[test]
fn pg_dump_of_a_schema_is_never_held() {
    let bothered = bothered_of("pg_dump", 100);
    let expected = [("allow", "ordinary-work", vec![CONNINFO]), ("allow", "ordinary-work", vec![MAPPINGS])];
    assert_eq!(said(&bothered), expected, "{bothered:#?}");
}

#[test]
fn pgadmin_is_bothered_only_where_it_shows_values_or_passwords() {
    let bothered = bothered_of("pgadmin", 200);
    let stats =
        ["histogram_bounds", "most_common_elems", "most_common_vals"].map(|it| format!("pg_catalog.pg_stats.{it}"));
    let expected = [
        ("hold", "credentials-in-bulk", vec![MAPPINGS]),
        ("hold", "sampled-values", stats.iter().map(String::as_str).collect()),
        ("allow", "ordinary-work", vec![CONNINFO]),
        ("allow", "ordinary-work", vec![ACTIVITY]),
        ("allow", "ordinary-work", vec![ACTIVITY]),
    ];
    assert_eq!(said(&bothered), expected, "{bothered:#?}");
}

#[test]
fn django_is_let_through_and_tagged_only_where_it_reads_the_first_row_of_a_table() {
    let bothered = bothered_of("django", 80);
    assert!(!bothered.is_empty());
    for it in bothered {
        assert!(
            it.verdict == "allow" && it.sql.starts_with("SELECT * FROM \"") && it.sql.ends_with("LIMIT 1"),
            "{it:#?}"
        );
    }
}

macro_rules! quiet {
    ($($test:ident: $tool:literal, $least:literal;)*) => {
        $(#[test]
        fn $test() {
            is_quiet($tool, $least);
        })*
    };
}

quiet! {
    sqlalchemy_is_never_bothered: "sqlalchemy", 200;
    alembic_is_never_bothered: "alembic", 100;
    djangos_orm_is_never_bothered: "django_orm", 40;
    rails_is_never_bothered: "rails", 100;
    activerecord_is_never_bothered: "rails_orm", 60;
    asyncpg_is_never_bothered: "asyncpg", 20;
    jdbc_is_never_bothered: "jdbc", 70;
    prisma_is_never_bothered: "prisma", 4;
    sequelize_is_never_bothered: "sequelize", 30;
    knex_is_never_bothered: "knex", 20;
    typeorm_is_never_bothered: "typeorm", 30;
    drizzle_is_never_bothered: "drizzle", 8;
    sqlx_is_never_bothered: "sqlx", 13;
    postgraphile_is_never_bothered: "postgraphile", 1;
    an_application_is_never_bothered: "application", 150;
}

/// A checker of queries asks for the plan of what it has only prepared, by the name that Parse gave it.
#[test]
fn the_plan_of_a_statement_that_parse_named_is_let_through() {
    let db = shop("quiet_named");
    let proxy = Proxy::start(&db, Options::default());
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    for (name, sql) in [("a", "SELECT id, city FROM customers WHERE id = $1"), ("b", "SELECT count(*) FROM orders")] {
        conn.send(&[parse(name, sql), sync()].concat());
        conn.until('Z');
    }
    for explain in ["EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE a (NULL)", "EXPLAIN (FORMAT JSON) EXECUTE b"] {
        conn.send(&[parse("", explain), bind("", ""), execute("", 0), sync()].concat());
        assert_eq!(conn.tags(), "12DCZI", "{explain}");
    }
}

/// Queries in the manner of what servers of APIs and consoles ask a catalog: rows of it as values, lists of names that
/// come as JSON, recursion over types, trees of definitions, rights by name, sizes, and who waits for whom.
const CONSOLES: &[&str] = &[
    "SELECT n.oid, n.*, d.description FROM pg_namespace n LEFT JOIN pg_description d ON d.objoid = n.oid ORDER BY 2",
    "SELECT r.oid, r.*, s.description FROM pg_roles r LEFT JOIN pg_shdescription s ON s.objoid = r.oid",
    "SELECT c.*, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid) FROM pg_class c WHERE c.relnamespace = $1",
    "SELECT i.*, pg_get_expr(i.indexprs, i.indrelid, true), pg_stat_get_numscans(i.indexrelid) FROM pg_index i",
    "SELECT json_build_object('columns', coalesce(a.names, '[]')) FROM jsonb_to_recordset($1) AS t (name text) \
     LEFT JOIN pg_class c ON c.relname = t.name LEFT JOIN LATERAL (SELECT jsonb_agg(attname) AS names \
     FROM pg_attribute WHERE attrelid = c.oid) a ON true",
    "SELECT information_schema._pg_char_max_length(information_schema._pg_truetypid(a.*, t.*), \
     information_schema._pg_truetypmod(a.*, t.*)) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid",
    "WITH RECURSIVE base AS (SELECT oid, typbasetype FROM pg_type UNION SELECT b.oid, t.typbasetype FROM base b \
     JOIN pg_type t ON t.oid = b.typbasetype) SELECT array_agg((oid, typbasetype)) FROM base WHERE typbasetype = 0",
    "SELECT p.oid, array_agg((name, type::regtype::text) ORDER BY place) FROM pg_proc p, \
     unnest(proargnames, proargtypes, proargmodes) WITH ORDINALITY AS a (name, type, mode, place) GROUP BY p.oid",
    "SELECT (replace(r.ev_action::text, '{', '[')::json -> 0) ->> 'resno' FROM pg_rewrite r \
     JOIN pg_class c ON c.oid = r.ev_class WHERE c.relkind = 'v'",
    "SELECT substr(s, strpos(s, '=') + 1) FROM pg_db_role_setting, unnest(setconfig) s WHERE setrole = current_user::regrole",
    "SELECT schemaname, has_table_privilege(current_user, format('%I.%I', schemaname, tablename), 'SELECT') FROM pg_tables",
    "SELECT true FROM public.customers WHERE 1 <> 1 LIMIT 0",
    "SELECT pid, state, wait_event_type || ': ' || wait_event, pg_blocking_pids(pid) FROM pg_stat_activity",
    "SELECT row_to_json(t) FROM (SELECT count(*) FILTER (WHERE state = 'active') AS active FROM pg_stat_activity) t",
    "SELECT pg_size_pretty(pg_total_relation_size(c.oid)), s.n_live_tup FROM pg_class c \
     JOIN pg_stat_user_tables s ON s.relid = c.oid",
];

#[test]
fn a_console_over_the_catalog_is_never_bothered() {
    let bothered = bothered(&shop("quiet_consoles"), CONSOLES);
    assert!(bothered.is_empty(), "{bothered:#?}");
}

#[test]
fn a_write_of_personal_columns_is_let_through() {
    let db = shop("quiet_write");
    let insert = "INSERT INTO customers (first_name, last_name, email, city, country, password_hash, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, now()) RETURNING id";
    assert!(analyze(&db, &[insert]).iter().all(|answer| answer.verdict == "allow"));
}

/// The strict side of what was made quiet: each of these differs from ordinary traffic in one place.
#[test]
fn a_setting_or_an_array_that_could_hide_something_is_not_let_through() {
    let db = shop("quiet_strict");
    let one = "WHERE name = 'work_mem'";
    let settings = [
        "SELECT set_config($1, 'x', false)".to_owned(),
        "SELECT set_config('search_path', $1, false)".to_owned(),
        "SELECT set_config('role', $1, false)".to_owned(),
        "SELECT set_config('a.b', email, false) FROM customers".to_owned(),
        "SELECT set_config(name, $1, false) FROM pg_settings".to_owned(),
        format!("SELECT set_config(setting, 'x', false) FROM pg_settings {one}"),
        format!("SELECT set_config(name, 'x', false) FROM pg_settings {one} OR true"),
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'role'".to_owned(),
        format!(
            "SELECT set_config(b.name, 'x', false) FROM pg_settings a, pg_settings b {}",
            one.replace("name", "a.name")
        ),
        format!("SELECT (SELECT set_config(a.name, 'x', false) FROM pg_settings b {one}) FROM pg_settings a"),
        format!("SELECT set_config(name, 'x', false) FROM pg_settings AS s (setting, name) {one}"),
        format!(
            "WITH pg_settings AS (SELECT 'role' AS name) SELECT set_config(name, 'x', false) FROM pg_settings {one}"
        ),
        format!("SELECT 1 FROM pg_settings {one} AND set_config(name, 'x', false) = 'x'"),
    ];
    let arrays = [
        "SELECT ARRAY(SELECT email FROM customers)",
        "SELECT ARRAY(SELECT (SELECT email FROM customers WHERE id = g) FROM generate_series(1, 1000) g)",
        "SELECT ARRAY(SELECT customer_email(g) FROM generate_series(1, 1000) g)",
        "WITH c AS (SELECT email FROM customers) SELECT ARRAY(SELECT email FROM c)",
    ];
    let texts: Vec<&str> = settings.iter().map(String::as_str).chain(arrays).collect();
    let passed: Vec<&str> =
        analyze(&db, &texts).iter().filter(|answer| answer.verdict == "allow").map(|answer| texts[answer.id]).collect();
    assert!(passed.is_empty(), "{passed:#?}");
}

/// Runs a client against a port; `ok` or not, with all that it said.
fn client(program: &str, db: &TestDb, port: u16, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(program)
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-d", &db.name])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; install postgresql-client"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

const PSQL: &[&str] = &[
    r"\d",
    r"\dS+",
    r"\d+ customers",
    r"\d+ events",
    r"\d events_2026_01",
    r"\d support_tickets",
    r"\d+ monthly_sales",
    r"\d+ customer_contacts",
    r"\d warehouse.*",
    r"\d+ warehouse.shelves",
    r"\d customers_pkey",
    r"\d customers_id_seq",
    r"\d no_such_table",
    r"\da+ *.*",
    r"\dA+",
    r"\dAc+",
    r"\dAf+",
    r"\dAo+",
    r"\dAp+",
    r"\db",
    r"\dc+",
    r"\dC+",
    r"\dd *.*",
    r"\dD+",
    r"\ddp",
    r"\dE+ *.*",
    r"\des+",
    r"\det+ *.*",
    r"\deu",
    r"\dew+",
    r"\df",
    r"\df+ *.*",
    r"\dF+",
    r"\dFd+",
    r"\dFp+",
    r"\dFt+",
    r"\dg+",
    r"\di+ *.*",
    r"\dl+",
    r"\dL+",
    r"\dm+",
    r"\dn+",
    r"\do+ warehouse.*",
    r"\dO+",
    r"\dp",
    r"\dP+",
    r"\dRp+",
    r"\dRs+",
    r"\ds+",
    r"\dt+",
    r"\dt *.*",
    r"\dT+",
    r"\du+",
    r"\dv+",
    r"\dx+",
    r"\dX+ *.*",
    r"\dy+",
    r"\z",
    r"\sf customer_email",
    r"\sf+ order_count",
    r"\sv customer_contacts",
    r"\sv+ warehouse.full_shelves",
];

#[test]
fn psql_describes_the_same_through_the_proxy() {
    let db = shop("quiet_psql");
    let proxy = Proxy::start(&db, Options { arguments: &["--hold-wait", "1s"], ..Options::default() });
    let mut arguments = vec!["-X"];
    arguments.extend(PSQL.iter().flat_map(|command| ["-c", command]));
    let direct = client("psql", &db, db.port, &arguments);
    let through = client("psql", &db, proxy.port, &arguments);
    assert!(direct.1.len() > 100_000, "psql described little");
    assert_eq!(through, direct);
}

/// The key of `\restrict` is made anew for each dump.
fn without_keys(dump: &str) -> String {
    dump.lines()
        .filter(|line| !line.starts_with(r"\restrict") && !line.starts_with(r"\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn pg_dump_writes_the_same_schema_through_the_proxy() {
    let db = shop("quiet_dump");
    let proxy = Proxy::start(&db, Options { arguments: &["--hold-wait", "1s"], ..Options::default() });
    for arguments in
        [&["--schema-only"][..], &["--schema-only", "--schema=warehouse"], &["--schema-only", "-t", "orders"]]
    {
        let (ok, direct, said) = client("pg_dump", &db, db.port, arguments);
        if said.contains("server version mismatch") {
            eprintln!("skipped on version {}: {said}", db.version());
            return;
        }
        assert!(ok && direct.contains("CREATE TABLE"));
        let (ok, through, said) = client("pg_dump", &db, proxy.port, arguments);
        assert!(ok, "{said}");
        assert_eq!(without_keys(&through), without_keys(&direct));
    }
}
