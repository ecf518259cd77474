//! The smallest text of every statement, with the kinds that it has and the command that it is called by.

use std::collections::BTreeSet;

use super::super::facts::Kind;
use super::super::facts::Kind::{Call, Dcl, Ddl, Export, Opaque, Read, Session, Transaction, Write};
use super::super::parse::parse;
use super::super::{Context, analyze};
use super::classify;
use super::nodes::{Place, STATEMENTS, place};
use crate::catalog::{Catalog, CatalogBuilder};

/// Text, kinds, command.
type Sample = (&'static str, &'static [Kind], &'static str);

const DATA: &[Sample] = &[
    ("SELECT a FROM t", &[Read], "SELECT"),
    ("TABLE t", &[Read], "SELECT"),
    ("VALUES (1)", &[Read], "SELECT"),
    ("SELECT * FROM JSON_TABLE(jsonb '[1]', '$[*]' COLUMNS (x int PATH '$'))", &[Read], "SELECT"),
    ("SELECT a INTO u FROM t", &[Read, Ddl], "SELECT INTO"),
    ("SELECT a INTO TEMP u FROM t", &[Read, Write], "SELECT INTO"),
    ("WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d", &[Read, Write], "SELECT"),
    ("INSERT INTO t DEFAULT VALUES", &[Write], "INSERT"),
    ("INSERT INTO t VALUES (1, 2)", &[Write], "INSERT"),
    ("INSERT INTO t VALUES (1, 2) RETURNING a", &[Read, Write], "INSERT"),
    ("UPDATE t SET a = s.a FROM t s", &[Read, Write], "UPDATE"),
    ("DELETE FROM t USING t s WHERE t.a = s.a", &[Read, Write], "DELETE"),
    ("INSERT INTO t SELECT a, b FROM t", &[Read, Write], "INSERT"),
    ("UPDATE t SET a = 1", &[Write], "UPDATE"),
    ("DELETE FROM t", &[Write], "DELETE"),
    ("MERGE INTO t USING t s ON t.a = s.a WHEN MATCHED THEN DELETE", &[Read, Write], "MERGE"),
    (
        "MERGE INTO t USING t s ON t.a = s.a WHEN NOT MATCHED BY SOURCE THEN DELETE RETURNING merge_action(), t.a",
        &[Read, Write],
        "MERGE",
    ),
    ("UPDATE t SET a = 1 RETURNING WITH (OLD AS o) o.a", &[Read, Write], "UPDATE"),
    ("COPY t FROM STDIN", &[Write], "COPY"),
    ("COPY t TO STDOUT", &[Export], "COPY"),
    ("COPY t FROM PROGRAM 'true'", &[Write, Opaque], "COPY"),
    ("COPY t TO '/tmp/t'", &[Export, Opaque], "COPY"),
    ("EXPLAIN SELECT a FROM t", &[Read], "EXPLAIN"),
    ("EXPLAIN ANALYZE DELETE FROM t", &[Read, Write], "EXPLAIN"),
    ("DECLARE c CURSOR FOR SELECT a FROM t", &[Read], "DECLARE CURSOR"),
    ("FETCH c", &[Read], "FETCH"),
    ("MOVE c", &[Read], "MOVE"),
    ("CLOSE c", &[Session], "CLOSE CURSOR"),
    ("CLOSE ALL", &[Session], "CLOSE CURSOR ALL"),
    ("CALL p()", &[Call, Opaque], "CALL"),
    ("DO 'BEGIN NULL; END'", &[Call], "DO"),
    ("DO $$ BEGIN EXECUTE 'SELECT 1' || x; END $$", &[Call, Opaque], "DO"),
    ("DO LANGUAGE plpython3u 'pass'", &[Call, Opaque], "DO"),
    ("LOAD 'x'", &[Opaque], "LOAD"),
];

const SESSION: &[Sample] = &[
    ("SET work_mem = '1MB'", &[Session], "SET"),
    ("RESET work_mem", &[Session], "RESET"),
    ("SET ROLE r", &[Dcl], "SET"),
    ("RESET ROLE", &[Dcl], "RESET"),
    ("SET SESSION AUTHORIZATION r", &[Dcl], "SET"),
    ("SET session_replication_role = replica", &[Dcl], "SET"),
    ("SET row_security = off", &[Session], "SET"),
    ("SELECT set_config('role', 'r', false)", &[Read, Dcl], "SELECT"),
    ("SELECT pg_terminate_backend(1)", &[Read, Dcl], "SELECT"),
    ("SELECT pg_reload_conf()", &[Read, Dcl], "SELECT"),
    ("SHOW work_mem", &[Session], "SHOW"),
    ("LISTEN n", &[Session], "LISTEN"),
    ("UNLISTEN n", &[Session], "UNLISTEN"),
    ("NOTIFY n, 'payload'", &[Write], "NOTIFY"),
    ("DISCARD ALL", &[Session], "DISCARD ALL"),
    ("DISCARD PLANS", &[Session], "DISCARD PLANS"),
    ("DISCARD SEQUENCES", &[Session], "DISCARD SEQUENCES"),
    ("DISCARD TEMP", &[Session], "DISCARD TEMP"),
    ("PREPARE q AS DELETE FROM t", &[Session], "PREPARE"),
    ("EXECUTE q", &[Session], "EXECUTE"),
    ("DEALLOCATE q", &[Session], "DEALLOCATE"),
    ("DEALLOCATE ALL", &[Session], "DEALLOCATE ALL"),
    ("SET CONSTRAINTS ALL DEFERRED", &[Session], "SET CONSTRAINTS"),
    ("BEGIN", &[Transaction], "BEGIN"),
    ("START TRANSACTION", &[Transaction], "START TRANSACTION"),
    ("COMMIT", &[Transaction], "COMMIT"),
    ("ROLLBACK", &[Transaction], "ROLLBACK"),
    ("SAVEPOINT s", &[Transaction], "SAVEPOINT"),
    ("RELEASE s", &[Transaction], "RELEASE"),
    ("ROLLBACK TO s", &[Transaction], "ROLLBACK TO"),
    ("PREPARE TRANSACTION 'x'", &[Ddl], "PREPARE TRANSACTION"),
    ("COMMIT PREPARED 'x'", &[Ddl], "COMMIT PREPARED"),
    ("ROLLBACK PREPARED 'x'", &[Ddl], "ROLLBACK PREPARED"),
    ("LOCK t IN ACCESS SHARE MODE", &[Transaction], "LOCK TABLE"),
    ("LOCK t IN ROW SHARE MODE", &[Ddl], "LOCK TABLE"),
    ("LOCK t", &[Ddl], "LOCK TABLE"),
    ("CHECKPOINT", &[Dcl], "CHECKPOINT"),
];

const TABLES: &[Sample] = &[
    ("CREATE TABLE u (a int)", &[Ddl], "CREATE TABLE"),
    ("CREATE TEMP TABLE u (a int)", &[Write], "CREATE TABLE"),
    ("CREATE TABLE u AS SELECT a FROM t", &[Read, Ddl], "CREATE TABLE AS"),
    ("CREATE TEMP TABLE u AS SELECT a FROM t", &[Read, Write], "CREATE TABLE AS"),
    ("CREATE MATERIALIZED VIEW u AS SELECT a FROM t", &[Read, Ddl], "CREATE MATERIALIZED VIEW"),
    ("CREATE VIEW u AS SELECT a FROM t", &[Ddl], "CREATE VIEW"),
    ("CREATE INDEX ON t (a)", &[Ddl], "CREATE INDEX"),
    ("CREATE SEQUENCE s", &[Ddl], "CREATE SEQUENCE"),
    ("ALTER SEQUENCE s RESTART", &[Ddl], "ALTER SEQUENCE"),
    ("CREATE SCHEMA s CREATE TABLE u (a int)", &[Ddl], "CREATE SCHEMA"),
    ("CREATE FOREIGN TABLE u (a int) SERVER s", &[Ddl], "CREATE FOREIGN TABLE"),
    ("CREATE STATISTICS s ON a, b FROM t", &[Ddl], "CREATE STATISTICS"),
    ("ALTER STATISTICS s SET STATISTICS 1", &[Ddl], "ALTER STATISTICS"),
    ("ALTER TABLE t ADD c int", &[Ddl], "ALTER TABLE"),
    ("ALTER TABLE t OWNER TO r", &[Dcl], "ALTER TABLE"),
    ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", &[Dcl], "ALTER TABLE"),
    ("ALTER TABLE t RENAME a TO c", &[Ddl], "ALTER TABLE"),
    ("ALTER ROLE r RENAME TO s", &[Dcl], "ALTER ROLE"),
    ("ALTER TABLE t SET SCHEMA s", &[Ddl], "ALTER TABLE"),
    ("ALTER FUNCTION f() DEPENDS ON EXTENSION e", &[Ddl], "ALTER FUNCTION"),
    ("ALTER FUNCTION f() OWNER TO r", &[Dcl], "ALTER FUNCTION"),
    ("ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b", &[Ddl], "ALTER TABLE"),
    ("DROP TABLE t", &[Ddl], "DROP TABLE"),
    ("DROP POLICY p ON t", &[Dcl], "DROP POLICY"),
    ("TRUNCATE t", &[Ddl], "TRUNCATE TABLE"),
    ("COMMENT ON TABLE t IS 'x'", &[Ddl], "COMMENT"),
    ("CLUSTER t", &[Ddl], "CLUSTER"),
    ("REINDEX TABLE t", &[Ddl], "REINDEX"),
    ("VACUUM t", &[Write], "VACUUM"),
    ("VACUUM FULL t", &[Ddl], "VACUUM"),
    ("VACUUM (FULL) t", &[Ddl], "VACUUM"),
    ("VACUUM (FULL false) t", &[Write], "VACUUM"),
    ("ANALYZE t", &[Write], "ANALYZE"),
    ("REFRESH MATERIALIZED VIEW m", &[Ddl], "REFRESH MATERIALIZED VIEW"),
    ("IMPORT FOREIGN SCHEMA x FROM SERVER s INTO y", &[Ddl], "IMPORT FOREIGN SCHEMA"),
];

const OBJECTS: &[Sample] = &[
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", &[Ddl], "CREATE FUNCTION"),
    ("CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'", &[Ddl], "CREATE PROCEDURE"),
    ("ALTER FUNCTION f() STABLE", &[Ddl], "ALTER FUNCTION"),
    ("CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()", &[Ddl], "CREATE TRIGGER"),
    ("CREATE EVENT TRIGGER g ON ddl_command_end EXECUTE FUNCTION f()", &[Ddl], "CREATE EVENT TRIGGER"),
    ("ALTER EVENT TRIGGER g DISABLE", &[Ddl], "ALTER EVENT TRIGGER"),
    ("CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING", &[Ddl], "CREATE RULE"),
    ("CREATE AGGREGATE g (int) (SFUNC = f, STYPE = int)", &[Ddl], "CREATE AGGREGATE"),
    ("CREATE OPERATOR === (LEFTARG = int, FUNCTION = f)", &[Ddl], "CREATE OPERATOR"),
    ("CREATE TYPE y AS (a int)", &[Ddl], "CREATE TYPE"),
    ("CREATE TYPE y AS ENUM ('a')", &[Ddl], "CREATE TYPE"),
    ("CREATE TYPE y AS RANGE (SUBTYPE = int)", &[Ddl], "CREATE TYPE"),
    ("ALTER TYPE y ADD VALUE 'b'", &[Ddl], "ALTER TYPE"),
    ("ALTER TYPE y SET (STORAGE = plain)", &[Ddl], "ALTER TYPE"),
    ("CREATE DOMAIN d AS int", &[Ddl], "CREATE DOMAIN"),
    ("ALTER DOMAIN d SET NOT NULL", &[Ddl], "ALTER DOMAIN"),
    ("CREATE OPERATOR CLASS c FOR TYPE int USING btree AS OPERATOR 1 <", &[Ddl], "CREATE OPERATOR CLASS"),
    ("CREATE OPERATOR FAMILY f USING btree", &[Ddl], "CREATE OPERATOR FAMILY"),
    ("ALTER OPERATOR FAMILY f USING btree DROP OPERATOR 1 (int, int)", &[Ddl], "ALTER OPERATOR FAMILY"),
    ("ALTER OPERATOR === (int, int) SET (RESTRICT = NONE)", &[Ddl], "ALTER OPERATOR"),
    ("CREATE CAST (int AS text) WITH INOUT", &[Ddl], "CREATE CAST"),
    ("CREATE TRANSFORM FOR int LANGUAGE l (FROM SQL WITH FUNCTION f(internal))", &[Ddl], "CREATE TRANSFORM"),
    ("CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f", &[Ddl], "CREATE CONVERSION"),
    ("CREATE LANGUAGE l HANDLER h", &[Ddl], "CREATE LANGUAGE"),
    ("CREATE ACCESS METHOD m TYPE INDEX HANDLER h", &[Ddl], "CREATE ACCESS METHOD"),
    ("CREATE EXTENSION e", &[Ddl], "CREATE EXTENSION"),
    ("ALTER EXTENSION e UPDATE", &[Ddl], "ALTER EXTENSION"),
    ("ALTER EXTENSION e ADD TABLE t", &[Ddl], "ALTER EXTENSION"),
    ("CREATE FOREIGN DATA WRAPPER w", &[Ddl], "CREATE FOREIGN DATA WRAPPER"),
    ("ALTER FOREIGN DATA WRAPPER w NO HANDLER", &[Ddl], "ALTER FOREIGN DATA WRAPPER"),
    ("CREATE SERVER s FOREIGN DATA WRAPPER w", &[Ddl], "CREATE SERVER"),
    ("ALTER SERVER s VERSION '1'", &[Ddl], "ALTER SERVER"),
    ("CREATE DATABASE d", &[Ddl], "CREATE DATABASE"),
    ("ALTER DATABASE d CONNECTION LIMIT 1", &[Ddl], "ALTER DATABASE"),
    ("ALTER DATABASE d REFRESH COLLATION VERSION", &[Ddl], "ALTER DATABASE"),
    ("DROP DATABASE d", &[Ddl], "DROP DATABASE"),
    ("CREATE TABLESPACE s LOCATION '/x'", &[Ddl], "CREATE TABLESPACE"),
    ("ALTER TABLESPACE s SET (seq_page_cost = 1)", &[Ddl], "ALTER TABLESPACE"),
    ("DROP TABLESPACE s", &[Ddl], "DROP TABLESPACE"),
    ("ALTER TEXT SEARCH DICTIONARY d (x = 1)", &[Ddl], "ALTER TEXT SEARCH DICTIONARY"),
    ("ALTER TEXT SEARCH CONFIGURATION c DROP MAPPING FOR word", &[Ddl], "ALTER TEXT SEARCH CONFIGURATION"),
    ("ALTER COLLATION c REFRESH VERSION", &[Ddl], "ALTER COLLATION"),
];

const RIGHTS: &[Sample] = &[
    ("GRANT SELECT ON t TO r", &[Dcl], "GRANT"),
    ("REVOKE SELECT ON t FROM r", &[Dcl], "REVOKE"),
    ("GRANT r TO s", &[Dcl], "GRANT ROLE"),
    ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r", &[Dcl], "ALTER DEFAULT PRIVILEGES"),
    ("CREATE ROLE r", &[Dcl], "CREATE ROLE"),
    ("ALTER ROLE r LOGIN", &[Dcl], "ALTER ROLE"),
    ("ALTER ROLE r SET search_path = x", &[Dcl], "ALTER ROLE"),
    ("DROP ROLE r", &[Dcl], "DROP ROLE"),
    ("DROP OWNED BY r", &[Dcl], "DROP OWNED"),
    ("REASSIGN OWNED BY r TO s", &[Dcl], "REASSIGN OWNED"),
    ("ALTER SYSTEM SET work_mem = '1MB'", &[Dcl], "ALTER SYSTEM"),
    ("ALTER DATABASE d SET search_path = x", &[Dcl], "ALTER DATABASE"),
    ("SECURITY LABEL ON TABLE t IS 'x'", &[Dcl], "SECURITY LABEL"),
    ("CREATE POLICY p ON t", &[Dcl], "CREATE POLICY"),
    ("ALTER POLICY p ON t USING (true)", &[Dcl], "ALTER POLICY"),
    ("CREATE USER MAPPING FOR r SERVER s", &[Dcl], "CREATE USER MAPPING"),
    ("ALTER USER MAPPING FOR r SERVER s OPTIONS (x '1')", &[Dcl], "ALTER USER MAPPING"),
    ("DROP USER MAPPING FOR r SERVER s", &[Dcl], "DROP USER MAPPING"),
    ("CREATE PUBLICATION p FOR TABLE t", &[Dcl], "CREATE PUBLICATION"),
    ("ALTER PUBLICATION p ADD TABLE t", &[Dcl], "ALTER PUBLICATION"),
    ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", &[Dcl], "CREATE SUBSCRIPTION"),
    ("ALTER SUBSCRIPTION s DISABLE", &[Dcl], "ALTER SUBSCRIPTION"),
    ("DROP SUBSCRIPTION s", &[Dcl], "DROP SUBSCRIPTION"),
];

fn samples() -> impl Iterator<Item = &'static Sample> {
    [DATA, SESSION, TABLES, OBJECTS, RIGHTS].into_iter().flatten()
}

/// A table `t` with the columns `a` and `b`, a materialised view `m` over it, and the built-in functions in use here.
fn catalog() -> Catalog {
    let column = |number, name| format!(r#"{{"number":{number},"name":"{name}","type":23}}"#);
    let columns = format!("{},{}", column(1, "a"), column(2, "b"));
    let relation = |oid, name, kind, more| {
        format!(r#"{{"oid":{oid},"schema":"public","name":"{name}","kind":"{kind}","columns":[{columns}]{more}}}"#)
    };
    let function = |oid, name| {
        format!(
            r#"{{"oid":{oid},"schema":"pg_catalog","name":"{name}","kind":"f","language":"internal","volatility":"v","returns":16}}"#
        )
    };
    let mut rows = vec![
        ("schemas", r#"{"name":"pg_catalog"}"#.to_owned()),
        ("schemas", r#"{"name":"public"}"#.to_owned()),
        ("relations", relation(20_001, "t", "r", "")),
        ("relations", relation(20_002, "m", "m", r#","definition":"SELECT t.a, t.b FROM public.t""#)),
    ];
    let names = ["set_config", "pg_terminate_backend", "pg_reload_conf"];
    rows.extend((1000..).zip(names).map(|(oid, name)| ("functions", function(oid, name))));
    let mut builder = CatalogBuilder::new();
    for (query, row) in rows {
        builder.add(query, &row).unwrap();
    }
    builder.finish()
}

#[test]
fn every_statement_of_the_grammar_has_a_sample() {
    let mut missing: BTreeSet<&str> = STATEMENTS.iter().copied().collect();
    for (text, ..) in samples() {
        let tree = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let node = tree.statements(text).next().unwrap().node;
        match place(node) {
            Place::Statement(name) => drop(missing.remove(name)),
            other => panic!("{text}: {other:?}"),
        }
        assert!(classify(node).is_some(), "{text}");
    }
    assert!(missing.is_empty(), "no sample of {missing:?}");
}

#[test]
fn every_statement_has_its_kinds_and_its_command() {
    let catalog = catalog();
    let path = ["public".to_owned()];
    let context = Context::new(&catalog, "shop", &path, "bob");
    let mut wrong = Vec::new();
    for (text, kinds, command) in samples() {
        let facts = analyze(text.as_bytes(), &context).unwrap();
        let [facts] = facts.statements.as_slice() else { panic!("{text}") };
        let found: Vec<Kind> = facts.kinds.iter().copied().collect();
        if found != *kinds || facts.command != *command {
            wrong.push(format!("{text}: {} {found:?}, not {command} {kinds:?}: {:?}", facts.command, facts.opaque));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_the_grammar_does_not_know_is_opaque_and_says_so() {
    let catalog = catalog();
    let path = ["public".to_owned()];
    let context = Context::new(&catalog, "shop", &path, "bob");
    for text in ["CREATE ASSERTION x CHECK (true)", "SELECT a FROM t QUALIFY 1", "REPACK t", "WAIT FOR LSN '0/0'"] {
        let facts = analyze(text.as_bytes(), &context).unwrap();
        let only = facts.statements.first().unwrap();
        assert_eq!(only.kind(), Opaque, "{text}");
        assert!(only.is_unparsable(), "{text}: {:?}", only.opaque);
    }
}
