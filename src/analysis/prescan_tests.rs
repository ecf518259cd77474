//! Tests of the pre-scan and of what the analysis does at its bounds.

use super::super::{Context, Encoding, Kind, Rejected, analyze};
use crate::catalog::Catalog;

fn verdict(sql: &str) -> Result<usize, Rejected> {
    let catalog = Catalog::empty();
    let context = Context::new(&catalog, "shop", &[], "bob");
    analyze(sql.as_bytes(), &context).map(|facts| facts.statements.len())
}

#[test]
fn parentheses_deeper_than_the_bound_are_refused() {
    let nested = |depth: usize| format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(verdict(&nested(2_000)), Ok(1));
    assert!(matches!(verdict(&nested(10_000)), Err(Rejected::TooDeep { .. })));
    assert!(matches!(verdict(&nested(1_000_000)), Err(Rejected::TooDeep { .. })));
}

#[test]
fn operators_in_a_row_count_as_depth() {
    assert_eq!(verdict(&format!("SELECT 1{}", " + 1".repeat(2_000))), Ok(1));
    assert!(matches!(verdict(&format!("SELECT 1{}", " + 1".repeat(100_000))), Err(Rejected::TooDeep { .. })));
    assert!(matches!(verdict(&format!("SELECT {} 1", "- ".repeat(100_000))), Err(Rejected::TooDeep { .. })));
    assert!(matches!(verdict(&format!("SELECT {} true", "NOT ".repeat(100_000))), Err(Rejected::TooDeep { .. })));
}

#[test]
fn words_that_nest_count_as_depth() {
    let case = format!("SELECT {} 1 {}", "CASE WHEN true AND ".repeat(9_000), "END ".repeat(9_000));
    assert!(matches!(verdict(&case), Err(Rejected::TooDeep { .. })));
    assert!(matches!(verdict(&format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(9_000))), Err(Rejected::TooDeep { .. })));
    assert!(matches!(verdict(&format!("SELECT 1{}", "::int".repeat(9_000))), Err(Rejected::TooDeep { .. })));
}

#[test]
fn long_flat_statements_pass() {
    let list = (0..100_000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(verdict(&format!("SELECT 1 WHERE 1 IN ({list})")), Ok(1));
    assert_eq!(verdict(&format!("SELECT 1 WHERE true{}", " OR 1 = 2".repeat(20_000))), Ok(1));
    assert_eq!(verdict(&format!("VALUES (-1, 'x'){}", ", (-2, 'y')".repeat(20_000))), Ok(1));
}

#[test]
fn comments_within_comments_are_bounded() {
    assert!(matches!(verdict(&"/*".repeat(20_000)), Err(Rejected::CommentsTooDeep { .. })));
    assert_eq!(verdict("/* a /* b */ */ SELECT 1"), Ok(1));
}

#[test]
fn a_run_of_operator_characters_is_bounded() {
    assert!(matches!(verdict(&format!("SELECT 1 {} 1", "*".repeat(20_000))), Err(Rejected::OperatorTooLong { .. })));
}

#[test]
fn a_text_over_the_size_bound_is_refused() {
    let catalog = Catalog::empty();
    let context = Context { statement_max: 8, ..Context::new(&catalog, "shop", &[], "bob") };
    assert_eq!(analyze(b"SELECT 12", &context), Err(Rejected::TooLarge { bytes: 9, max: 8 }));
    assert!(analyze(b"SELECT 1", &context).is_ok());
}

#[test]
fn what_cannot_be_read_is_opaque() {
    let catalog = Catalog::empty();
    let context = Context::new(&catalog, "shop", &[], "bob");
    let kind = |text: &[u8], context: &Context<'_>| analyze(text, context).unwrap().statements[0].kind();
    assert_eq!(kind(b"SELECT '\xff'", &context), Kind::Opaque);
    assert_eq!(kind(b"SELEC 1", &context), Kind::Opaque);
    assert!(analyze(b"SELEC 1", &context).unwrap().statements[0].is_unparsable());
    assert_eq!(kind("SELECT 'é'".as_bytes(), &Context { encoding: Encoding::Unsafe, ..context }), Kind::Opaque);
    let backslash = Context { standard_conforming_strings: false, ..context };
    assert_eq!(kind(br"SELECT 'a\'", &backslash), Kind::Opaque);
    assert_eq!(kind(b"SELECT 1\0 2", &context), Kind::Opaque);
    assert_eq!(kind(br"SELECT E'\xff'", &context), Kind::Opaque);
}

#[test]
fn an_empty_text_has_no_statement() {
    assert_eq!(verdict(""), Ok(0));
    assert_eq!(verdict(" ; -- nothing\n;"), Ok(0));
}
