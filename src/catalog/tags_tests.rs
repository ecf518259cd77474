//! What patterns stand for.

use super::*;

fn glob(text: &str) -> Glob {
    Glob::parse(text).unwrap()
}

fn rule(columns: &[&str], tag: &str) -> TagRule {
    let columns = columns.iter().map(|text| ColumnPattern::parse(text).unwrap()).collect();
    TagRule { columns, except: Vec::new(), tag: tag.into() }
}

fn tags(rules: &TagRules, column: [&str; 4]) -> Vec<String> {
    let [database, schema, relation, column] = column;
    rules.tags_for(database, schema, relation, column).iter().map(ToString::to_string).collect()
}

fn carries(pattern: &str, column: [&str; 4]) -> bool {
    let rules = TagRules::new(vec![rule(&[pattern], "t")], Vec::new(), OnLookalike::Report);
    !tags(&rules, column).is_empty()
}

const EMAIL: [&str; 4] = ["shop", "public", "customers", "email"];

#[test]
fn two_asterisks_stand_for_the_name_and_all_below_it() {
    for name in ["user", "user.contact", "user.contact.email"] {
        assert!(glob("user.**").matches(name), "{name}");
    }
    for name in ["users", "system.user", "user_id"] {
        assert!(!glob("user.**").matches(name), "{name}");
    }
    assert!(glob("**").matches("anything.at.all"));
}

#[test]
fn one_asterisk_stays_within_its_segment() {
    assert!(glob("user.*").matches("user.contact"));
    assert!(!glob("user.*").matches("user.contact.email"));
    assert!(!glob("user.*").matches("user"));
    assert!(glob("pg_read_*file").matches("pg_read_binary_file"));
    assert!(!glob("ab*ba").matches("aba"));
}

#[test]
fn rule_globs_compare_case() {
    assert!(!glob("public.orders").matches("public.Orders"));
    assert!(!NamePattern::parse("orders", 3).unwrap().matches(&["shop", "public", "Orders"]));
}

#[test]
fn what_cannot_be_a_pattern_is_said_so() {
    assert_eq!(Glob::parse(""), Err(PatternError::Empty));
    assert_eq!(Glob::parse("a..b"), Err(PatternError::Empty));
    assert_eq!(Glob::parse("**.a"), Err(PatternError::Descend));
    assert_eq!(Glob::parse("a**"), Err(PatternError::Descend));
    assert_eq!(ColumnPattern::parse("user.**"), Err(PatternError::Descend));
    assert_eq!(ColumnPattern::parse("a.b.c.d.e"), Err(PatternError::TooLong { found: 5, most: 4 }));
    assert_eq!(ColumnPattern::parse("a."), Err(PatternError::Empty));
    for text in ["\"open", "a\"b", "\"a\"b.c"] {
        assert_eq!(ColumnPattern::parse(text), Err(PatternError::Quote), "{text}");
    }
}

#[test]
fn a_glob_covers_what_it_surely_contains() {
    for (wide, narrow) in [("**", "a.b"), ("user.**", "user.contact.**"), ("a.*", "a.b"), ("a.b", "a.b")] {
        assert!(glob(wide).covers(&glob(narrow)), "{wide} {narrow}");
        assert_eq!(glob(narrow).covers(&glob(wide)), wide == narrow, "{narrow} {wide}");
    }
    let pattern = |text| NamePattern::parse(text, 4).unwrap();
    assert!(pattern("orders").covers(&pattern("public.orders")));
    assert!(!pattern("public.orders").covers(&pattern("orders")));
    assert!(pattern("*.orders").covers(&pattern("orders")));
}

#[test]
fn patterns_align_with_the_end_of_the_name() {
    for pattern in ["email", "customers.email", "public.customers.email", "shop.public.customers.email", "*.*.*.email"]
    {
        assert!(carries(pattern, EMAIL), "{pattern}");
    }
    for pattern in ["customers", "mail", "orders.email", "private.*.email", "other.public.customers.email"] {
        assert!(!carries(pattern, EMAIL), "{pattern}");
    }
}

#[test]
fn tag_patterns_ignore_case_unless_quoted() {
    assert!(carries("*password*", ["shop", "public", "User", "passwordHash"]));
    assert!(carries("Customers.EMAIL", EMAIL));
    assert!(carries("\"customers\".email", EMAIL));
    assert!(!carries("\"Customers\".email", EMAIL));
}

#[test]
fn a_quoted_segment_may_hold_dots_asterisks_and_quotes() {
    assert!(carries("\"odd.table\".email", ["shop", "public", "odd.table", "email"]));
    assert!(carries("\"a\"\"b\"", ["shop", "public", "t", "a\"b"]));
    assert!(carries("\"a*\"", ["shop", "public", "t", "a*"]));
    assert!(!carries("\"a*\"", ["shop", "public", "t", "ab"]));
}

#[test]
fn system_schemas_are_tagged_only_by_a_pattern_that_names_them() {
    let password = ["shop", "pg_catalog", "pg_authid", "rolpassword"];
    for pattern in ["*password*", "rolpassword", "*.*.pg_authid.rolpassword", "*.pg_*.pg_authid.rolpassword"] {
        assert!(!carries(pattern, password), "{pattern}");
    }
    assert!(carries("pg_catalog.pg_authid.rolpassword", password));
    assert!(!carries("*name*", ["shop", "information_schema", "tables", "table_name"]));
    assert!(carries("email", ["shop", "pg_temp_3", "t", "email"]));
}

#[test]
fn all_matching_tags_accumulate_sorted_and_once() {
    let rules = vec![rule(&["email"], "user.contact.email"), rule(&["customers.*"], "a"), rule(&["e*"], "a")];
    let rules = TagRules::new(rules, Vec::new(), OnLookalike::Report);
    assert_eq!(tags(&rules, EMAIL), ["a", "user.contact.email"]);
}

#[test]
fn an_exception_takes_a_column_out_of_its_rule_alone() {
    let mut wide = rule(&["*_token"], "system.authentication");
    wide.except = vec![ColumnPattern::parse("jobs.*").unwrap()];
    let rules = TagRules::new(vec![wide], Vec::new(), OnLookalike::Report);
    assert_eq!(tags(&rules, ["shop", "public", "users", "reset_token"]), ["system.authentication"]);
    assert!(tags(&rules, ["shop", "public", "jobs", "cancel_token"]).is_empty());
}

#[test]
fn a_lookalike_is_a_tag_only_where_the_policy_says_so() {
    let lookalikes = vec![rule(&["*mail*"], "user.contact.email")];
    let column = ["shop", "public", "t", "webmail_addr"];
    let report = TagRules::new(Vec::new(), lookalikes.clone(), OnLookalike::Report);
    assert!(tags(&report, column).is_empty());
    assert_eq!(report.looks_like("shop", "public", "t", "webmail_addr").len(), 1);
    let tag = TagRules::new(Vec::new(), lookalikes, OnLookalike::Tag);
    assert_eq!(tags(&tag, column), ["user.contact.email"]);
}

#[test]
fn a_column_that_a_rule_tags_is_no_lookalike() {
    let rules = TagRules::new(vec![rule(&["email"], "t")], vec![rule(&["*mail*"], "u")], OnLookalike::Tag);
    assert_eq!(tags(&rules, EMAIL), ["t"]);
    assert!(rules.looks_like("shop", "public", "customers", "email").is_empty());
}
