//! A function that no analysis can know is opaque unless somebody vouches for its exact definition.

use holdgate::analysis::{Context, StatementFacts, analyze, settings};
use holdgate::backend::catalog::load;
use holdgate::policy::{Policy, Source};
use tokio_postgres::{Client, NoTls};

use crate::harness::TestDb;

const DYNAMIC: &str = "CREATE OR REPLACE FUNCTION found(t text) RETURNS SETOF text LANGUAGE plpgsql \
    AS $$ BEGIN RETURN QUERY EXECUTE format('SELECT email FROM %I', t); END $$";

async fn facts(client: &Client, db: &TestDb, policy: &Policy, sql: &str) -> StatementFacts {
    let catalog = load(client).await.unwrap().with_tags(&db.name, policy.tag_rules());
    let path = settings::split("public");
    let context = Context::new(&catalog, &db.name, &path, "postgres");
    analyze(sql.as_bytes(), &context).unwrap().statements.remove(0)
}

/// The hash that a reason names.
fn definition(facts: &StatementFacts) -> String {
    let why = facts.opaque.first().unwrap();
    let at = why.find("sha256:").unwrap_or_else(|| panic!("{why}"));
    why[at..].trim_end_matches(')').to_owned()
}

fn policy(definition: &str, touches: &str) -> Policy {
    let text = format!(
        "version: 1\ntags:\n  - {{ columns: [email], tag: user.contact.email }}\nvouched:\n  \
         - {{ function: public.found, definition: \"{definition}\", touches: [{touches}] }}\nrules: []\n"
    );
    Policy::load(&[Source { path: "vouched.yaml".into(), text }]).unwrap_or_else(|found| panic!("{found:?}"))
}

#[tokio::test]
async fn a_definition_that_somebody_has_read_counts_until_it_changes() {
    let db = TestDb::new("vouched");
    db.direct(DYNAMIC);
    db.direct("CREATE VIEW shown AS SELECT found('customers') AS f");
    let (client, connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let call = "SELECT found('customers')";
    let read = definition(&facts(&client, &db, &Policy::shipped(), call).await);

    let vouched = policy(&read, "public.customers.email");
    for sql in [call, "SELECT f FROM shown"] {
        let known = facts(&client, &db, &vouched, sql).await;
        assert!(known.opaque.is_empty(), "{sql}: {:?}", known.opaque);
        assert!(known.tags().iter().any(|tag| &**tag == "user.contact.email"), "{sql}");
    }
    let nowhere = facts(&client, &db, &policy(&read, "public.customers.no_such"), call).await;
    assert!(!nowhere.opaque.is_empty(), "a column that is not there vouches for nothing");

    db.direct(&DYNAMIC.replace("email", "last_name"));
    let changed = facts(&client, &db, &vouched, call).await;
    assert!(!changed.opaque.is_empty());
    assert_ne!(definition(&changed), read);
}
