//! Every replication command, with its kinds, and what a stream carries.

use super::*;
use crate::catalog::CatalogBuilder;

fn kinds(text: &str) -> Option<Vec<Kind>> {
    Some(replication(text.as_bytes(), Some(&Catalog::empty()), None)?.kinds.into_iter().collect())
}

/// Two tables in one database, one of them with a tagged column, and a table of the server's own.
fn catalog() -> Catalog {
    let mut builder = CatalogBuilder::new();
    for (oid, schema, name, comment) in [
        (20_001, "public", "customers", Some("@pii(user.contact.email)")),
        (20_002, "public", "orders", None),
        (1260, "pg_catalog", "pg_authid", Some("@pii(system.authentication)")),
        (1259, "pg_catalog", "pg_class", None),
    ] {
        let row = serde_json::json!({
            "oid": oid, "schema": schema, "name": name, "kind": "r", "persistence": "p", "row_security": false,
            "parents": [], "definition": null,
            "columns": [{"number": 1, "name": "a", "type": 25, "not_null": false, "generated": false,
                "default": null, "comment": comment}],
        });
        builder.add("relations", &row.to_string()).unwrap();
    }
    builder.finish()
}

fn carried(text: &str) -> (Vec<String>, Vec<String>) {
    let facts = replication(text.as_bytes(), Some(&catalog()), None).unwrap();
    assert!(facts.opaque.is_empty(), "{text}: {:?}", facts.opaque);
    let relations = facts.relations.iter().map(ToString::to_string).collect();
    (relations, facts.columns.keys().map(ToString::to_string).collect())
}

#[test]
fn every_command_has_its_kinds() {
    use Kind::{Call, Dcl, Export, Read, Session, Write};
    for (text, expected) in [
        ("IDENTIFY_SYSTEM", vec![Session]),
        (" \t\r\nIDENTIFY_SYSTEM ; ", vec![Session]),
        ("SHOW \"data_directory_mode\"", vec![Session]),
        ("SHOW a.b", vec![Session]),
        ("TIMELINE_HISTORY 3", vec![Session]),
        ("READ_REPLICATION_SLOT \"a\"", vec![Read]),
        ("UPLOAD_MANIFEST", vec![Write]),
        ("CREATE_REPLICATION_SLOT a TEMPORARY PHYSICAL", vec![Call, Dcl]),
        ("CREATE_REPLICATION_SLOT \"a\" LOGICAL pgoutput (SNAPSHOT 'nothing')", vec![Call, Dcl]),
        ("ALTER_REPLICATION_SLOT a (FAILOVER true)", vec![Call, Dcl]),
        ("DROP_REPLICATION_SLOT a WAIT", vec![Call, Dcl]),
        ("START_REPLICATION 0/1000000", vec![Export]),
        ("START_REPLICATION SLOT \"a\" LOGICAL 16/B374D848 (proto_version '1')", vec![Export]),
        ("BASE_BACKUP ( LABEL 'it''s', TARGET 'client')", vec![Export]),
        ("BASE_BACKUP LABEL 'x' FAST", vec![Export]),
    ] {
        assert_eq!(kinds(text), Some(expected), "{text}");
    }
}

#[test]
fn a_command_that_is_not_of_its_form_is_opaque() {
    for text in [
        "IDENTIFY_SYSTEM; SELECT 1",
        "SHOW a; DROP TABLE t",
        "SHOW a b",
        "SHOW",
        "TIMELINE_HISTORY x",
        "READ_REPLICATION_SLOT 'a'",
        "UPLOAD_MANIFEST now",
        "START_REPLICATION SLOT \"a",
        "BASE_BACKUP (TARGET 'server', TARGET_DETAIL '/tmp/x')",
        "BASE_BACKUP (\"target\" 'shell')",
    ] {
        let kinds = kinds(text).unwrap_or_else(|| panic!("{text} is SQL"));
        assert!(kinds.contains(&Kind::Opaque), "{text}: {kinds:?}");
    }
}

#[test]
fn what_the_server_reads_as_sql_is_none_of_them() {
    for text in
        ["", "SELECT 1", "show work_mem", "/* c */ IDENTIFY_SYSTEM", "\"IDENTIFY_SYSTEM\"", ";SHOW a", "SHOWN", "SHOW$"]
    {
        assert_eq!(kinds(text), None, "{text}");
    }
}

#[test]
fn a_logical_stream_carries_what_people_keep_in_the_database() {
    let (relations, columns) = carried("START_REPLICATION SLOT s LOGICAL 0/0");
    assert_eq!(relations, ["public.customers", "public.orders"]);
    assert_eq!(columns, ["public.customers.a"]);
}

#[test]
fn a_physical_stream_and_a_backup_carry_the_server_own_secrets_too() {
    for text in ["START_REPLICATION 0/0 TIMELINE 1", "START_REPLICATION SLOT s PHYSICAL 0/0", "BASE_BACKUP"] {
        let (relations, columns) = carried(text);
        assert_eq!(relations, ["pg_catalog.pg_authid", "public.customers", "public.orders"], "{text}");
        assert_eq!(columns, ["pg_catalog.pg_authid.a", "public.customers.a"], "{text}");
    }
}

#[test]
fn a_stream_out_of_a_database_that_nobody_knows_is_opaque() {
    let facts = replication(b"START_REPLICATION 0/0", None, None).unwrap();
    assert_eq!(facts.kind(), Kind::Opaque);
}

fn table(name: &str, columns: Option<&[&str]>) -> Published {
    let columns = columns.map(|columns| columns.iter().map(|column| (*column).to_owned()).collect());
    Published { schema: "public".into(), name: name.into(), columns }
}

#[test]
fn a_stream_of_publications_carries_their_tables_and_columns_alone() {
    let carried = |published: &[Published]| {
        let facts = replication(b"START_REPLICATION SLOT s LOGICAL 0/0", Some(&catalog()), Some(published)).unwrap();
        assert!(facts.kinds.contains(&Kind::Export) && facts.bound == Bound::Unbounded);
        let relations: Vec<_> = facts.relations.iter().map(ToString::to_string).collect();
        (relations.join(","), facts.columns.len(), facts.opaque.len())
    };
    assert_eq!(carried(&[]), (String::new(), 0, 0));
    assert_eq!(carried(&[table("orders", None)]), ("public.orders".into(), 0, 0));
    assert_eq!(carried(&[table("customers", None)]), ("public.customers".into(), 1, 0));
    assert_eq!(carried(&[table("customers", Some(&["b"]))]), ("public.customers".into(), 0, 0));
    assert_eq!(carried(&[table("customers", Some(&["b"])), table("customers", Some(&["a"]))]).1, 1);
    assert_eq!(carried(&[table("gone", None)]).2, 1, "what is not known is not left out");
    // The log of the cluster is bound to no publication.
    let facts = replication(b"START_REPLICATION 0/0", Some(&catalog()), Some(&[])).unwrap();
    assert_eq!(facts.relations.len(), 3);
}

#[test]
fn publications_are_read_as_the_server_reads_them_and_anything_unusual_is_not() {
    let of = |options: &str| subscribed(format!("START_REPLICATION SLOT Cdc LOGICAL 16/B3 ({options});").as_bytes());
    let names = |list: &str| of(&format!("proto_version '1', publication_names '{list}'")).map(|all| all.publications);
    assert_eq!(of("publication_names 'p'").unwrap().slot, "cdc");
    for (list, found) in [
        ("p", vec!["p"]),
        (" P , q ", vec!["p", "q"]),
        ("\"P\",\"a,b\"", vec!["P", "a,b"]),
        ("\"a\"\"b\"", vec!["a\"b"]),
        ("\"it''s\"", vec!["it's"]),
    ] {
        assert_eq!(names(list), Some(found.into_iter().map(str::to_owned).collect()), "{list}");
    }
    for list in ["", " ", ",", "p,", ",p", "p q", "\"p", "\"p\"q", "\"\"", "\u{e4}", &"p".repeat(64)] {
        assert_eq!(names(list), None, "{list}");
    }
    for options in [
        "proto_version '1'",
        "publication_names 'p', publication_names 'q'",
        "publication_names 'p', \"publication_names\" 'q'",
        "publication_names 'p', messages 'true'",
        "publication_names 'p', format 'x'",
        "publication_names p",
        "publication_names",
        "publication_names 'p' binary 'true'",
    ] {
        assert_eq!(of(options), None, "{options}");
    }
    for text in [
        "START_REPLICATION SLOT s LOGICAL 0/0",
        "START_REPLICATION 0/0 (publication_names 'p')",
        "START_REPLICATION SLOT s PHYSICAL 0/0",
        "START_REPLICATION SLOT 's' LOGICAL 0/0 (publication_names 'p')",
    ] {
        assert_eq!(subscribed(text.as_bytes()), None, "{text}");
    }
}
