//! Each filter, by what it finds and what it does not.

use super::*;
use crate::ids::{HoldId, StatementId};
use crate::lineage::RecordApproval;
use crate::principal::Principal;

fn record() -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
    record.at = "2026-11-21T10:00:00Z".parse().unwrap();
    record.principal = Some(Principal { name: "agent-1".into(), human: Some("ann".into()), ..Principal::default() });
    record.agent.name = Some("claims-bot".into());
    record.database = Some("shop".into());
    record.relations = vec!["public.customers".into()];
    let column = |tags: &[&str], access| RecordColumn {
        tags: tags.iter().map(ToString::to_string).collect(),
        access,
        ..RecordColumn::default()
    };
    record.columns.insert("shop.public.customers.email".into(), column(&["user.contact.email"], vec![Access::Reveal]));
    record.columns.insert("shop.public.customers.id".into(), column(&[], vec![Access::Probe]));
    record.tags = vec!["user.contact.email".into()];
    record.kinds = vec![Kind::Read];
    record.verdict = Some(Verdict::Hold);
    record.outcome = Some(Outcome::Complete);
    record.sensitivity = Sensitivity::Moderate;
    record.rule = "large-personal-extract".into();
    record.hold = HoldId::parse("0123456789");
    record.shape = "abcd".into();
    record.text = "SELECT email FROM customers WHERE id = ?".into();
    record.approval = Some(RecordApproval { by: "op".into(), human: Some("bob".into()), ..RecordApproval::default() });
    record
}

fn filters(pairs: &[(&str, &str)]) -> Filters {
    let map: serde_json::Map<_, _> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    serde_json::from_value(map.into()).unwrap()
}

#[test]
fn each_filter_finds_what_it_names_and_nothing_else() {
    for (key, found, other) in [
        ("since", "2026-11-21", "2026-11-21T10:00:00.000001Z"),
        ("until", "2026-11-21T10:00:01Z", "2026-11-21T10:00:00Z"),
        ("principal", "agent-*", "agent"),
        ("human", "ann", "bob"),
        ("agent", "claims-bot", "claims"),
        ("database", "sh?p", "shopping"),
        ("relation", "customers", "customer"),
        ("relation", "public.customers", "private.customers"),
        ("relation", "shop.public.customers", "bank.public.customers"),
        ("column", "customers.email", "orders.email"),
        ("column", "public.customers.email", "public.customers.name"),
        ("column", "shop.public.customers.*", "bank.public.customers.*"),
        ("tag", "user.**", "system.**"),
        ("access", "probe", "write"),
        ("kind", "read", "ddl"),
        ("verdict", "hold", "allow"),
        ("outcome", "complete", "refused"),
        ("approver", "bob", "ann"),
        ("approver", "op", "o"),
        ("rule", "large-*", "default"),
        ("hold", "0123456789", "0123456780"),
        ("shape", "abcd", "abc"),
        ("sensitivity", "moderate", "high"),
        ("event", "closed", "held"),
        ("text", "from CUSTOMERS", "from orders"),
    ] {
        assert!(filters(&[(key, found)]).matches(&record()), "{key}={found}");
        assert!(!filters(&[(key, other)]).matches(&record()), "{key}={other}");
        let nothing = StatementRecord::new(StatementId::new(), Event::System);
        assert!(key == "until" || !filters(&[(key, found)]).matches(&nothing), "{key}={found}");
    }
    assert!(Filters::default().matches(&record()));
}

#[test]
fn column_tag_and_access_mean_the_same_column() {
    assert!(filters(&[("column", "customers.email"), ("access", "reveal")]).matches(&record()));
    assert!(!filters(&[("column", "customers.email"), ("access", "probe")]).matches(&record()));
    assert!(!filters(&[("tag", "user.*"), ("access", "probe")]).matches(&record()));
}

#[test]
fn a_time_ago_counts_from_the_time_that_it_is_resolved_at() {
    let now = record().at.after(Duration::from_hours(1));
    assert!(!filters(&[("since", "2h")]).matches(&record()));
    assert!(filters(&[("since", "2h")]).resolved(now).matches(&record()));
    assert!(!filters(&[("since", "59m")]).resolved(now).matches(&record()));
    assert!("yesterday".parse::<Moment>().is_err());
}

#[test]
fn a_glob_with_many_stars_ends() {
    let text = "a".repeat(2000);
    assert!(!glob_matches(&"*a".repeat(200).replace("aa", "a"), &format!("{text}b")));
    assert!(glob_matches("*.email", "shop.public.customers.email"));
    assert!(glob_matches("", "") && !glob_matches("", "a") && glob_matches("*", ""));
}

#[test]
fn a_query_string_with_a_wrong_filter_is_refused_in_words() {
    let from = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Filters::from_pairs(&pairs, record().at)
    };
    let found = from(&[("since", "1h"), ("limit", "5"), ("kind", "read"), ("tag", "")]).unwrap();
    assert!(found.matches(&record()) && found.limit == Some(5) && found.tag.is_none());
    for (wrong, word) in [
        (&[("tags", "x")][..], "tags"),
        (&[("kind", "reed")], "reed"),
        (&[("limit", "many")], "many"),
        (&[("since", "soon")], "not a time"),
        (&[("tag", "a"), ("tag", "b")], "twice"),
        (&[("since", "2026-11-21"), ("until", "2026-11-20")], "is not before"),
        (&[("since", "1h"), ("until", "1h")], "is not before"),
    ] {
        let error = from(wrong).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}
