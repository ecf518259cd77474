//! Whose row-level security policies read which columns: the analysis and Postgres's own rewritten tree agree, role by role.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use holdgate::analysis::{Access, Cache, Context, Facts, settings};
use holdgate::backend::catalog::load;
use holdgate::catalog::Catalog;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::harness::TestDb;
use crate::oracle::{Place, Truth, printed};

const ROLES: [&str; 9] =
    ["owner", "reader", "other", "member", "grandchild", "aloof", "owners_friend", "bypasses", "nobody"];

/// `$x` is the role x; roles belong to the whole server, so that each run has its own.
const SETUP: &str = "
    CREATE ROLE $owner; CREATE ROLE $reader; CREATE ROLE $other; CREATE ROLE $nobody; CREATE ROLE $bypasses BYPASSRLS;
    CREATE ROLE $member IN ROLE $reader; CREATE ROLE $grandchild IN ROLE $member;
    CREATE ROLE $aloof NOINHERIT IN ROLE $reader, $owner; CREATE ROLE $owners_friend IN ROLE $owner;
    GRANT CREATE ON SCHEMA public TO PUBLIC;
    CREATE TABLE allowed (who text, kind text);
    CREATE TABLE guarded (id int, writer text, secret text, hidden text, other text);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE POLICY a ON guarded FOR SELECT TO $reader USING (writer = current_user);
    CREATE POLICY b ON guarded FOR SELECT TO $other USING (hidden IN (SELECT kind FROM allowed));
    CREATE POLICY c ON guarded FOR UPDATE USING (secret = 'y') WITH CHECK (other <> 'z');
    CREATE POLICY d ON guarded FOR DELETE USING (other = 'gone');
    CREATE POLICY e ON guarded FOR INSERT WITH CHECK (hidden <> '');
    CREATE TABLE forced (id int, writer text, other text);
    ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
    CREATE POLICY f ON forced USING (writer = current_user);
    CREATE TABLE idle (id int, writer text);
    CREATE POLICY g ON idle USING (writer = current_user);
    CREATE VIEW by_superuser AS SELECT id FROM guarded;
    CREATE VIEW by_reader AS SELECT id FROM guarded;
    CREATE VIEW by_owner AS SELECT g.id, f.id AS twin FROM guarded g JOIN forced f USING (id);
    CREATE VIEW as_asked WITH (security_invoker = on) AS SELECT id FROM guarded;
    CREATE VIEW around AS SELECT id FROM as_asked;
    CREATE FUNCTION definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM guarded WHERE id > 1';
    CREATE FUNCTION invoker() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM guarded WHERE id > 1';
    CREATE FUNCTION turns() RETURNS bigint LANGUAGE plpgsql AS
        $$ BEGIN SET LOCAL ROLE $reader; RETURN (SELECT count(*) FROM public.guarded WHERE id > 1); END $$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
    ALTER TABLE guarded OWNER TO $owner; ALTER TABLE forced OWNER TO $owner; ALTER VIEW by_owner OWNER TO $owner;
    ALTER VIEW by_reader OWNER TO $reader; ALTER FUNCTION definer OWNER TO $reader;";

const READS: &[&str] = &[
    "SELECT id FROM guarded",
    "SELECT id FROM forced",
    "SELECT id FROM idle",
    "SELECT id FROM by_superuser",
    "SELECT id FROM by_reader",
    "SELECT id, twin FROM by_owner",
    "SELECT id FROM as_asked",
    "SELECT id FROM around",
    "SELECT id FROM guarded FOR UPDATE",
    "SELECT id FROM by_reader FOR UPDATE",
    "SELECT (SELECT count(*) FROM guarded) FROM forced",
];

const WRITES: &[&str] = &[
    "UPDATE guarded SET id = 1 WHERE id = 2",
    "DELETE FROM guarded WHERE id = 2",
    "INSERT INTO guarded (id) VALUES (1)",
    "UPDATE by_reader SET id = 1",
    "DELETE FROM as_asked",
];

struct Judge {
    db: TestDb,
    client: Client,
    notices: Arc<Mutex<Vec<String>>>,
    catalog: Catalog,
    facts: Cache,
    run: String,
}

impl Judge {
    async fn start(label: &str) -> Self {
        let db = TestDb::new(label);
        let run = format!("{label}_{}_", std::process::id());
        // Before 15 every view reads as its owner.
        let older = db.version() < 15;
        let setup = if older { SETUP.replace(" WITH (security_invoker = on)", "") } else { SETUP.to_owned() };
        db.direct(&roles_in(&setup, &run));
        let (client, mut connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    kept.lock().unwrap().extend(notice.detail().map(str::to_owned));
                }
            }
        });
        let catalog = load(&client).await.unwrap();
        client.batch_execute("SET debug_print_rewritten = on; SET client_min_messages = log").await.unwrap();
        Self { db, client, notices, catalog, facts: Cache::new(1000), run }
    }

    fn role(&self, name: &str) -> String {
        if name == "postgres" || name.is_empty() { name.to_owned() } else { format!("{}{name}", self.run) }
    }

    async fn truth(&self, role: &str, sql: &str) -> Truth {
        self.client.batch_execute(&format!("SET ROLE {}", self.role(role))).await.unwrap();
        let tree = printed(&self.client, &self.notices, sql).await.unwrap();
        self.client.batch_execute("RESET ROLE").await.unwrap();
        Truth::read(&tree)
    }

    fn facts(&self, role: &str, sql: &str) -> Arc<Facts> {
        let (path, role) = (settings::split("public"), self.role(role));
        self.facts.analyze(sql.as_bytes(), &Context::new(&self.catalog, &self.db.name, &path, &role)).unwrap()
    }

    /// The columns that a statement reads.
    fn found(&self, role: &str, sql: &str) -> BTreeSet<String> {
        let facts = self.facts(role, sql);
        let columns = facts.statements.iter().flat_map(|statement| &statement.columns);
        let reads = columns.filter(|(_, column)| column.access.iter().any(|access| *access != Access::Write));
        reads.map(|(name, _)| format!("{}.{}", name.relation.name, name.column)).collect()
    }

    fn names(&self, places: &BTreeSet<Place>) -> BTreeSet<String> {
        let name = |(oid, number): &Place| {
            let relation = self.catalog.relation(*oid)?;
            let column = relation.columns.iter().find(|column| i64::from(column.number) == *number)?;
            Some(format!("{}.{}", relation.name, column.name))
        };
        places.iter().filter_map(name).collect()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        for role in ROLES {
            let role = self.role(role);
            self.db.direct(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
        }
    }
}

fn roles_in(sql: &str, run: &str) -> String {
    ROLES
        .iter()
        .fold(sql.replace("$$", "\u{1}"), |sql, role| sql.replace(&format!("${role}"), &format!("{run}{role}")))
        .replace('\u{1}', "$$")
}

#[tokio::test]
async fn policies_are_read_by_those_whom_postgres_applies_them_to() {
    let judge = Judge::start("rls_tree").await;
    let (mut wrong, mut guarded) = (Vec::new(), 0);
    for role in ROLES.into_iter().chain(["postgres"]) {
        for sql in READS.iter().chain(WRITES) {
            let truth = judge.truth(role, sql).await;
            let (required, allowed) = (judge.names(&truth.required), judge.names(&truth.allowed));
            let found = judge.found(role, sql);
            guarded += usize::from(required.len() > 1);
            // The tree of a write has its checks elsewhere.
            let exact = READS.contains(sql);
            if !required.is_subset(&found) || (exact && !found.is_subset(&allowed)) {
                wrong.push(format!("{role}: {sql}\n  found {found:?}\n  required {required:?}\n  allowed {allowed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(guarded > 40, "only {guarded} statements met a policy");
}

#[tokio::test]
async fn a_role_that_nobody_knows_meets_every_policy() {
    let judge = Judge::start("rls_strict").await;
    let all = ["allowed.kind", "guarded.hidden", "guarded.id", "guarded.writer"].map(str::to_owned);
    for role in ["", "no such role"] {
        let (path, sql) = (settings::split("public"), b"SELECT id FROM guarded");
        let context = Context::new(&judge.catalog, &judge.db.name, &path, role);
        let facts = holdgate::analysis::analyze(sql, &context).unwrap();
        let names = facts.statements[0].columns.keys().map(|name| format!("{}.{}", name.relation.name, name.column));
        assert_eq!(names.collect::<Vec<_>>(), all, "{role}");
    }
    let text = format!("SET ROLE {}; SELECT id FROM public.guarded", judge.role("reader"));
    let facts = judge.facts("postgres", &text);
    let columns: Vec<_> = facts.statements[1].columns.keys().map(|name| name.column.to_string()).collect();
    assert_eq!(columns, ["kind", "hidden", "id", "writer"], "the role changes in the text");
}

#[tokio::test]
async fn a_function_reads_as_its_owner_or_as_whoever_calls_it() {
    let judge = Judge::start("rls_code").await;
    let by_reader = BTreeSet::from(["guarded.id".to_owned(), "guarded.writer".to_owned()]);
    let by_owner = BTreeSet::from(["guarded.id".to_owned()]);
    // Twice, and in turns: what is kept of a body must not be another role's.
    for _ in 0..2 {
        for role in ["reader", "owner", "nobody", "postgres"] {
            assert_eq!(judge.found(role, "SELECT definer()"), by_reader, "{role}");
        }
        assert_eq!(judge.found("reader", "SELECT invoker()"), by_reader);
        assert_eq!(judge.found("owner", "SELECT invoker()"), by_owner);
        assert_eq!(judge.found("member", "SELECT invoker()"), by_reader);
        assert_eq!(judge.found("postgres", "SELECT invoker()"), by_owner);
    }
    let turns = judge.facts("postgres", "SELECT turns()");
    assert!(!turns.statements[0].opaque.is_empty(), "the role in its midst is another one");
}
