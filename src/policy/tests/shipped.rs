//! The policy that is compiled in.

use super::*;

fn tags(schema: &str, relation: &str, column: &str) -> Vec<String> {
    let shipped = Policy::shipped();
    shipped.tag_rules().tags_for("shop", schema, relation, column).iter().map(ToString::to_string).collect()
}

#[test]
fn it_has_no_findings_and_its_tests_hold() {
    let findings = Policy::check(&[Policy::shipped_source()]);
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(Policy::shipped().mode(), Mode::Enforce);
}

#[test]
fn it_has_a_test_for_every_rule() {
    let shipped = Policy::shipped_source();
    for rule in Policy::shipped().rule_names() {
        assert!(shipped.text.contains(&format!("rule: {rule}")), "{rule}");
    }
}

#[test]
fn it_tags_personal_data_and_secrets() {
    for (column, tag) in [
        ("email", "user.contact.email"),
        ("workEmail", ""),
        ("contact_email", "user.contact.email"),
        ("firstName", "user.name.first"),
        ("last_name", "user.name.last"),
        ("full_name", "user.name"),
        ("shipping_address", "user.contact.address"),
        ("date_of_birth", "user.demographic.date_of_birth"),
        ("ssn", "user.government_id"),
        ("iban", "user.financial.bank_account"),
        ("card_number", "user.financial.credit_card"),
        ("last_login_ip", "user.device.ip_address"),
        ("passwordHash", "system.authentication"),
        ("stripe_api_key", "system.authentication"),
        ("refresh_token", "system.authentication"),
        ("client_secret", "system.authentication"),
    ] {
        let expected: &[&str] = if tag.is_empty() { &[] } else { &[tag] };
        assert_eq!(tags("public", "customers", column), expected, "{column}");
    }
}

#[test]
fn it_leaves_ordinary_names_alone() {
    for column in [
        "id",
        "name",
        "total",
        "email_verified",
        "created_at",
        "password_changed_at",
        "token_count",
        "city",
        "ship",
        "tip",
        "relation_address_id",
        "secretary",
        "shipped",
    ] {
        assert!(tags("public", "t", column).is_empty(), "{column}");
    }
    assert!(tags("pg_catalog", "pg_roles", "rolpassword").is_empty());
    assert!(tags("information_schema", "tables", "address").is_empty());
    assert_eq!(tags("pg_catalog", "pg_authid", "rolpassword"), ["system.authentication"]);
    assert_eq!(tags("pg_catalog", "pg_shadow", "passwd"), ["system.authentication"]);
}

#[test]
fn lookalikes_are_reported_and_not_tagged() {
    assert!(tags("public", "t", "work_email_2").is_empty());
    assert_eq!(Policy::shipped().tag_rules().looks_like("shop", "public", "t", "work_email_2").len(), 1);
}

#[test]
fn its_schema_is_current() {
    assert!(
        schema() == include_str!("../../../policies/schema.json"),
        "run: holdgate check --schema > policies/schema.json"
    );
}
