//! What changes the server itself, by rows of its catalog or by functions of its own, waits like DDL.

use holdgate::analysis::{Context, Kind, analyze, settings};
use holdgate::backend::catalog::load;
use tokio_postgres::NoTls;

use crate::harness::TestDb;

/// The major version that understands it, and a statement.
const CHANGES: &[(u32, &str)] = &[
    (14, "UPDATE pg_class SET reltuples = 1 WHERE relname = 'orders'"),
    (14, "UPDATE pg_catalog.pg_authid SET rolsuper = true"),
    (14, "DELETE FROM pg_statistic"),
    (14, "INSERT INTO pg_cast (castsource, casttarget, castfunc, castcontext, castmethod) VALUES (1, 2, 3, 'e', 'f')"),
    (14, "WITH a AS (UPDATE pg_attribute SET attname = 'zip' RETURNING attnum) SELECT count(*) FROM a"),
    (14, "COPY pg_db_role_setting FROM STDIN"),
    (15, "MERGE INTO pg_enum e USING pg_class c ON c.oid = e.enumtypid WHEN MATCHED THEN DELETE"),
    (14, "SELECT pg_stat_reset_single_table_counters(1)"),
    (14, "SELECT pg_replication_origin_drop('a')"),
    (14, "SELECT brin_summarize_new_values(1)"),
    (17, "SELECT pg_sync_replication_slots()"),
    (18, "SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', 'orders', 'reltuples', 1::real)"),
    (18, "SELECT pg_clear_attribute_stats('public', 'orders', 'note', false)"),
];

const READS: &[&str] = &[
    "SELECT reltuples FROM pg_class",
    "SELECT pg_stat_get_numscans(1)",
    "UPDATE orders SET note = 'pg_class'",
    "CREATE TEMP TABLE pg_class_copy AS SELECT relname FROM pg_class",
];

#[tokio::test]
async fn a_statement_that_changes_the_server_itself_is_of_kind_dcl() {
    let db = TestDb::new("server_state");
    let (client, connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let catalog = load(&client).await.unwrap();
    let path = settings::split("\"$user\", public");
    let context = Context::new(&catalog, &db.name, &path, "postgres");
    let is_dcl = |sql: &str| {
        let facts = analyze(sql.as_bytes(), &context).unwrap();
        facts.statements.iter().any(|statement| statement.kinds.contains(&Kind::Dcl))
    };
    let version = db.version();
    for (since, sql) in CHANGES {
        if *since > version {
            eprintln!("skipped on version {version}: {sql}");
            continue;
        }
        assert!(is_dcl(sql), "{sql}");
    }
    for sql in READS {
        assert!(!is_dcl(sql), "{sql}");
    }
}
