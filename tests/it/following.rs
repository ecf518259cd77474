//! A catalog that follows its database says what one says that is read as a whole, whatever sessions define meanwhile.

use std::sync::Arc;

use holdgate::backend::catalog::{follow, load};
use holdgate::catalog::refresh::{Next, Refresh};
use holdgate::catalog::{Catalog, RelationKind};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::generator::random::Random;
use crate::harness::TestDb;

/// Steps of each walk; more of them by hand.
fn steps() -> usize {
    std::env::var("HOLDGATE_TEST_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

async fn connect(db: &TestDb) -> Client {
    let (client, connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET lock_timeout = '20ms'; SET client_min_messages = error").await.unwrap();
    client
}

async fn texts(client: &Client, sql: &str) -> Option<Vec<String>> {
    let rows = client.simple_query(sql).await.ok()?;
    let text = |row: &SimpleQueryMessage| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Some(rows.iter().filter_map(text).collect())
}

/// Asks the questions of one refresh, in the transaction that is open. `None`: the server did not answer one of them.
async fn ask(client: &Client, base: Option<&Arc<Catalog>>) -> Option<Arc<Catalog>> {
    let mut base = base;
    loop {
        let mut refresh = Refresh::from(base);
        let answer = texts(client, &refresh.survey()).await?;
        let mut next = refresh.surveyed(answer.iter().map(String::as_str)).unwrap();
        if next == Next::On
            && let Some(details) = refresh.details()
        {
            let answer = texts(client, &details).await?;
            next = refresh.detailed(answer.iter().map(String::as_str)).unwrap();
        }
        match next {
            Next::Same => return base.cloned(),
            Next::Anew => base = None,
            Next::On => {
                let mut builder = refresh.builder();
                for (name, sql) in refresh.reads() {
                    for row in texts(client, &sql).await? {
                        builder.add(name, &row).unwrap();
                    }
                }
                return Some(Arc::new(refresh.finish(builder)));
            }
        }
    }
}

/// In what two catalogs of one database differ.
fn difference(one: &Catalog, other: &Catalog) -> Option<String> {
    let (left, right) = (one.to_json().unwrap(), other.to_json().unwrap());
    if left != right {
        let lines: Vec<String> = left
            .lines()
            .filter(|line| !right.contains(line))
            .map(|line| format!("- {line}"))
            .chain(right.lines().filter(|line| !left.contains(line)).map(|line| format!("+ {line}")))
            .take(12)
            .collect();
        return Some(lines.join("\n"));
    }
    if one.signature() != other.signature() {
        return Some("the signatures differ".to_owned());
    }
    let names = |catalog: &Catalog| {
        let mut found: Vec<String> = Vec::new();
        for relation in catalog.relations() {
            let named = catalog.relation_in(&relation.schema, &relation.name).map(|known| known.oid);
            let family: Vec<u32> = catalog.family(relation.oid).iter().map(|known| known.oid).collect();
            let tags: Vec<_> =
                relation.columns.iter().map(|column| catalog.tags(relation.oid, column.number)).collect();
            let rest = (relation.keys.len(), &relation.policies, &relation.triggers, &relation.rules);
            let more = (&relation.expressions, &relation.references);
            let row = catalog.type_in(&relation.schema, &relation.name).map(|row| (row.oid, catalog.array_of(row.oid)));
            found.push(format!("{} {named:?} {family:?} {tags:?} {rest:?} {more:?} {row:?}", relation.oid));
        }
        for function in catalog.functions() {
            let same: Vec<u32> =
                catalog.functions_in(&function.schema, &function.name).iter().map(|known| known.oid).collect();
            found.push(format!("{} {same:?} {}", function.oid, function.definition()));
        }
        found.sort();
        found
    };
    let (left, right) = (names(one), names(other));
    let pairs = left.iter().zip(&right).filter(|(left, right)| left != right);
    let lines: Vec<String> = pairs.take(5).map(|(left, right)| format!("- {left}\n+ {right}")).collect();
    (left != right).then(|| lines.join("\n"))
}

/// Names that statements share, so that they meet.
const TABLES: &[&str] = &["a", "b", "s1.a", "s1.c", "part", "part1", "other"];

fn statement(random: &mut Random) -> String {
    let mut pick = |of: &[&str]| of[random.below(of.len())].to_owned();
    let (t, u) = (pick(TABLES), pick(TABLES));
    let column = pick(&["id", "email", "x", "y"]);
    let shape = pick(SHAPES);
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    shape
        .replace("{t}", &t)
        .replace("{u}", &u)
        .replace("{l}", &last(&u))
        .replace("{c}", &column)
        .replace("{n}", &pick(&["1", "2", "3"]))
}

const SHAPES: &[&str] = &[
    "CREATE TABLE {t} (id int PRIMARY KEY, email text, x int DEFAULT 1 CHECK (x > 0))",
    "CREATE TABLE {t} (id int, email text UNIQUE, y numeric GENERATED ALWAYS AS (id * 2) STORED)",
    "CREATE TABLE {t} (LIKE {u} INCLUDING ALL)",
    "CREATE TABLE {t} AS SELECT * FROM {u}",
    "DROP TABLE {t}",
    "DROP TABLE {t} CASCADE",
    "ALTER TABLE {t} RENAME TO {l}",
    "ALTER TABLE {t} RENAME COLUMN {c} TO renamed",
    "ALTER TABLE {t} RENAME COLUMN renamed TO {c}",
    "ALTER TABLE {t} ADD COLUMN {c} text",
    "ALTER TABLE {t} DROP COLUMN {c} CASCADE",
    "ALTER TABLE {t} ALTER COLUMN {c} SET NOT NULL",
    "ALTER TABLE {t} ALTER COLUMN {c} SET DEFAULT f{n}()",
    "ALTER TABLE {t} ALTER COLUMN {c} DROP DEFAULT",
    "ALTER TABLE {t} ALTER COLUMN {c} TYPE varchar",
    "ALTER TABLE {t} SET SCHEMA s1",
    "ALTER TABLE {t} OWNER TO agent_trust",
    "ALTER TABLE {t} ADD CONSTRAINT k{n} CHECK (f{n}() > 0)",
    "ALTER TABLE {t} DROP CONSTRAINT k{n}",
    "ALTER TABLE {t} ADD CONSTRAINT r{n} FOREIGN KEY (id) REFERENCES {u} ON DELETE CASCADE",
    "ALTER TABLE {t} DROP CONSTRAINT r{n}",
    "ALTER TABLE {t} INHERIT {u}",
    "ALTER TABLE {t} NO INHERIT {u}",
    "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {t} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {t} SET (fillfactor = 7{n})",
    "ALTER TABLE {t} DISABLE TRIGGER USER",
    "ALTER TABLE {t} ENABLE TRIGGER USER",
    "COMMENT ON COLUMN {t}.{c} IS '@pii(user.contact.email)'",
    "COMMENT ON COLUMN {t}.{c} IS 'nothing'",
    "COMMENT ON COLUMN {t}.{c} IS NULL",
    "CREATE UNIQUE INDEX i{n} ON {t} (email)",
    "CREATE INDEX i{n} ON {t} ((x + 1)) WHERE id > {n}",
    "DROP INDEX i{n}",
    "TRUNCATE {t}",
    "ANALYZE {t}",
    "INSERT INTO {t} VALUES ({n})",
    "CREATE TABLE part (id int, email text) PARTITION BY RANGE ((id + 1))",
    "CREATE TABLE part{n} PARTITION OF part FOR VALUES FROM ({n}0) TO ({n}9)",
    "ALTER TABLE part DETACH PARTITION part{n}",
    "CREATE VIEW v{n} AS SELECT * FROM {t}",
    "CREATE OR REPLACE VIEW v{n} AS SELECT id, email FROM {t}",
    "CREATE VIEW v{n} AS SELECT f{n}() AS id, email FROM {t} JOIN {u} USING (email)",
    "ALTER VIEW v{n} RENAME TO v{n}0",
    "ALTER VIEW v{n} SET (security_invoker = on)",
    "ALTER VIEW v{n} RENAME COLUMN id TO {c}",
    "DROP VIEW v{n} CASCADE",
    "CREATE MATERIALIZED VIEW m{n} AS SELECT email FROM {t}",
    "REFRESH MATERIALIZED VIEW m{n}",
    "DROP MATERIALIZED VIEW m{n}",
    "CREATE OR REPLACE FUNCTION f{n}() RETURNS int LANGUAGE sql AS 'SELECT {n}'",
    "CREATE OR REPLACE FUNCTION f{n}() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT count(*)::int FROM {t}; END",
    "CREATE OR REPLACE FUNCTION f{n}() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN {n}; END'",
    "CREATE OR REPLACE FUNCTION g(a int DEFAULT f{n}()) RETURNS int LANGUAGE sql AS 'SELECT {n}'",
    "CREATE OR REPLACE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER FUNCTION f{n}() RENAME TO h{n}",
    "ALTER FUNCTION h{n}() RENAME TO f{n}",
    "ALTER FUNCTION f{n}() SECURITY DEFINER SET search_path = s1",
    "ALTER FUNCTION f{n}() OWNER TO agent_trust",
    "DROP FUNCTION f{n}() CASCADE",
    "CREATE AGGREGATE total{n} (int) (sfunc = int4pl, stype = int)",
    "DROP AGGREGATE total{n} (int)",
    "CREATE TRIGGER tr{n} BEFORE INSERT ON {t} FOR EACH ROW WHEN (NEW.id > {n}) EXECUTE FUNCTION tf()",
    "DROP TRIGGER tr{n} ON {t}",
    "CREATE RULE ru{n} AS ON DELETE TO {t} DO ALSO INSERT INTO {u} (id) VALUES ({n})",
    "DROP RULE ru{n} ON {t}",
    "CREATE POLICY p{n} ON {t} USING (id > f{n}())",
    "ALTER POLICY p{n} ON {t} TO agent_trust",
    "DROP POLICY p{n} ON {t}",
    "CREATE STATISTICS st{n} ON (x + 1), id FROM {t}",
    "DROP STATISTICS st{n}",
    "CREATE DOMAIN d{n} AS int CHECK (VALUE > f{n}())",
    "ALTER DOMAIN d{n} ADD CONSTRAINT dc CHECK (VALUE < 9{n})",
    "ALTER DOMAIN d{n} DROP CONSTRAINT dc",
    "DROP DOMAIN d{n} CASCADE",
    "CREATE TYPE e{n} AS ENUM ('p', 'q')",
    "CREATE TYPE e{n} AS (id int, d d{n})",
    "CREATE TYPE e{n} AS RANGE (subtype = float8)",
    "ALTER TYPE e{n} RENAME TO ee{n}",
    "ALTER TYPE e{n} SET SCHEMA s1",
    "DROP TYPE e{n} CASCADE",
    "ALTER TABLE {t} ADD COLUMN z e{n}",
    "CREATE SEQUENCE q{n}",
    "ALTER TABLE {t} ALTER COLUMN id SET DEFAULT nextval('q{n}')",
    "ALTER SEQUENCE q{n} RENAME TO q{n}0",
    "DROP SEQUENCE q{n} CASCADE",
    "CREATE SCHEMA s1",
    "ALTER SCHEMA s1 RENAME TO s2",
    "ALTER SCHEMA s2 RENAME TO s1",
    "DROP SCHEMA s1 CASCADE",
    "CREATE OPERATOR ### (leftarg = int, rightarg = int, function = int4pl)",
    "ALTER OPERATOR ### (int, int) SET SCHEMA s1",
    "DROP OPERATOR ### (int, int)",
    "CREATE VIEW v{n} AS SELECT id ### 1 AS id FROM {t}",
    "CREATE CAST (e{n} AS text) WITH INOUT AS IMPLICIT",
    "DROP CAST (e{n} AS text)",
    "CREATE TEMP TABLE {l} (id int, email text)",
    "CREATE TEMP VIEW w{n} AS SELECT * FROM {t}",
    "DISCARD TEMP",
    "DO $$ BEGIN EXECUTE 'ALTER TABLE {t} ADD COLUMN hidden int'; EXCEPTION WHEN OTHERS THEN EXECUTE 'CREATE TABLE {t} (id int)'; END $$",
    "DO $$ BEGIN EXECUTE 'DROP TABLE {t}'; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$",
    "VACUUM pg_catalog.pg_class",
    "BEGIN",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "ROLLBACK TO s",
    "RELEASE s",
];

const OPEN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = '20ms'";

/// What everybody sees, followed from one step to the next; from the first one; and read as a whole.
struct Shared {
    client: Client,
    first: Arc<Catalog>,
    known: Arc<Catalog>,
}

impl Shared {
    async fn look(&mut self, whole: bool) -> Result<bool, String> {
        self.client.batch_execute(OPEN).await.unwrap();
        let found = async {
            let known = ask(&self.client, Some(&self.known)).await?;
            let again = ask(&self.client, if whole { None } else { Some(&self.first) }).await?;
            Some((known, again))
        };
        let found = found.await;
        self.client.batch_execute("ROLLBACK").await.unwrap();
        // Somebody holds a lock on what a view reads.
        let Some((known, again)) = found else { return Ok(false) };
        self.known = known;
        difference(&self.known, &again).map_or(Ok(true), Err)
    }
}

/// What one session sees, its open transaction included.
async fn look_from_within(client: &Client, known: &mut Arc<Catalog>, first: &Arc<Catalog>) -> Result<bool, String> {
    let before = texts(client, "SHOW search_path").await;
    let Some(path) = before.and_then(|rows| rows.into_iter().next()) else { return Ok(false) };
    // A question that fails must not end the transaction.
    client.batch_execute("SET search_path = pg_catalog, pg_temp").await.unwrap();
    let found = async { Some((ask(client, Some(known)).await?, ask(client, Some(first)).await?)) }.await;
    drop(client.batch_execute(&format!("SET search_path = {path}")).await);
    let Some((now, again)) = found else { return Ok(false) };
    *known = now;
    difference(known, &again).map_or(Ok(true), Err)
}

async fn walk(seed: u64) {
    let db = TestDb::new(&format!("following{seed}"));
    db.direct("CREATE SCHEMA s1; CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
    let mut random = Random::new(seed);
    let sessions = [connect(&db).await, connect(&db).await, connect(&db).await];
    let client = connect(&db).await;
    let first = Arc::new(load(&client).await.unwrap());
    let mut shared = Shared { client, first: Arc::clone(&first), known: Arc::clone(&first) };
    let mut own = Arc::clone(&first);
    let (mut done, mut compared) = (Vec::new(), 0);
    for step in 0..steps() {
        for _ in 0..=random.below(6) {
            let place = random.below(sessions.len());
            let sql = statement(&mut random);
            let outcome = sessions[place].batch_execute(&sql).await.is_ok();
            done.push(format!("{place} {sql}{}", if outcome { "" } else { " -- fails" }));
            if !outcome && random.chance(70) {
                // Without a transaction that says nothing.
                let back = *random.one(&["ROLLBACK TO s", "ROLLBACK"]);
                drop(sessions[place].batch_execute(back).await);
                done.push(format!("{place} {back}"));
            }
        }
        let looks = [shared.look(step % 5 == 4).await, look_from_within(&sessions[0], &mut own, &first).await];
        for (who, look) in ["all", "session 0"].iter().zip(looks) {
            match look {
                Ok(looked) => compared += usize::from(looked),
                Err(why) => panic!("seed {seed}, step {step}, {who}:\n{why}\n{}", done.join("\n")),
            }
        }
    }
    let succeeded = done.iter().filter(|line| !line.ends_with("-- fails")).count();
    println!("seed {seed}: {} statements, {succeeded} of them done, {compared} comparisons", done.len());
    assert!(compared * 3 > steps(), "{compared} comparisons");
}

#[tokio::test]
async fn what_is_followed_is_what_is_there_whoever_defines_what() {
    walk(1).await;
}

#[tokio::test]
async fn what_is_followed_is_what_is_there_with_other_statements() {
    let seed = std::env::var("HOLDGATE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    walk(seed).await;
}

/// Each of these leaves no trace in the rows of the relation itself.
#[tokio::test]
async fn what_leaves_no_trace_in_a_relations_own_rows_is_found() {
    let db = TestDb::new("traceless");
    db.direct(
        "CREATE TABLE t (id int UNIQUE, x int); CREATE TABLE none (); CREATE TABLE child () INHERITS (none); \
         CREATE VIEW v AS SELECT x FROM t; CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf(); CREATE POLICY p ON t USING (x > 0); \
         CREATE RULE ru AS ON DELETE TO t DO ALSO SELECT 1; CREATE STATISTICS st ON (x + 1), id FROM t; \
         COMMENT ON COLUMN t.x IS '@pii(user.name)'; CREATE DOMAIN d AS int CONSTRAINT dc CHECK (VALUE > 0); CREATE SCHEMA s; \
         CREATE TABLE s.t (id int); CREATE VIEW w AS SELECT id FROM s.t; CREATE UNIQUE INDEX i ON t (x); \
         CREATE FUNCTION pk(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'; \
         CREATE TABLE parted (id int) PARTITION BY RANGE (pk(id))",
    );
    let client = connect(&db).await;
    let mut known = Arc::new(load(&client).await.unwrap());
    for sql in [
        "DROP TRIGGER tr ON t",
        "DROP POLICY p ON t",
        "DROP RULE ru ON t",
        "DROP STATISTICS st",
        "DROP INDEX i",
        "COMMENT ON COLUMN t.x IS NULL",
        "ALTER DOMAIN d DROP CONSTRAINT dc",
        "ALTER TABLE child NO INHERIT none",
        "ALTER TABLE t RENAME x TO renamed",
        "ALTER SCHEMA s RENAME TO renamed",
        "CREATE ROLE following_role; ALTER FUNCTION tf() OWNER TO following_role",
        "ALTER ROLE following_role RENAME TO following_renamed",
        "ALTER FUNCTION tf() OWNER TO postgres; DROP ROLE following_renamed",
        "ALTER FUNCTION pk(int) RENAME TO renamed",
        "ALTER FUNCTION pg_catalog.pg_sleep(float8) STABLE",
    ] {
        db.direct(sql);
        let now = Arc::new(follow(&client, Some(&known)).await.unwrap());
        assert_ne!(now.signature(), known.signature(), "{sql}");
        known = now;
    }
    let whole = load(&client).await.unwrap();
    assert_eq!(difference(&known, &whole), None);
    assert!(known.relations().any(|relation| relation.kind == RelationKind::View));
}
