//! Tests of the pre-scan and of what the analysis does at its bounds.

use super::super::{COMMENTS_MAX, Context, Encoding, Kind, Rejected, analyze};
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
    assert!(matches!(verdict(&"/* ".repeat(20_000)), Err(Rejected::CommentsTooDeep { .. })));
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

#[test]
fn a_keyword_behind_a_dot_is_a_name() {
    let and = format!("SELECT 1{} FROM t", " + t.and".repeat(100_000));
    let end = format!("SELECT {} 1 {}", "CASE WHEN t.end THEN ".repeat(100_000), "END ".repeat(100_000));
    for sql in [and, end] {
        assert!(matches!(verdict(&sql), Err(Rejected::TooDeep { .. })));
    }
}

#[test]
fn the_and_of_between_parts_no_operands() {
    let chain = format!("SELECT 1{}", " IS NULL BETWEEN 1 AND 2".repeat(100_000));
    assert!(matches!(verdict(&chain), Err(Rejected::TooDeep { .. })));
    let many = format!("SELECT 1 WHERE true{}", " AND a BETWEEN 1 AND 2".repeat(20_000));
    assert_eq!(verdict(&many), Ok(1));
}

#[test]
fn a_million_terms_of_or_pass_on_an_ordinary_stack() {
    assert_eq!(verdict(&format!("SELECT 1 WHERE true{}", " OR false".repeat(1_000_000))), Ok(1));
    assert_eq!(verdict(&format!("SELECT 1 WHERE true{}", " OR a AND b".repeat(100_000))), Ok(1));
}

#[test]
fn a_hundred_thousand_of_anything_that_hangs_are_refused() {
    for (start, term) in [
        ("SELECT ''", " || 'x'"),
        ("SELECT 1", "::int"),
        ("SELECT a", "[1].b"),
        ("SELECT a", ".b"),
        ("SELECT 1", " IS NULL"),
        ("SELECT 'a'", " COLLATE \"C\""),
        ("SELECT now()", " AT TIME ZONE 'x'"),
        ("SELECT 1", " OPERATOR(pg_catalog.+) 1"),
        ("SELECT 1", " = ANY (ARRAY[1])"),
        ("SELECT 1", " ISNULL NOTNULL"),
        ("SELECT 1", " UNION SELECT 1"),
        ("SELECT 1", " EXCEPT ALL SELECT 1"),
        ("SELECT 1 FROM a", " JOIN b ON true"),
        ("SELECT 1 FROM a", " NATURAL JOIN b"),
        ("SELECT 1 FROM a", " CROSS JOIN b"),
        ("SELECT", " NOT"),
        ("SELECT", " - -"),
        ("SELECT", " ARRAY["),
        ("SELECT", " ["),
        ("SELECT", " abs("),
        ("SELECT", " EXISTS (SELECT"),
        ("SELECT * FROM", " ("),
        ("SELECT", " CASE WHEN"),
        ("SELECT", " CASE a WHEN b THEN"),
        ("", "EXPLAIN "),
        ("", "WITH a AS ("),
    ] {
        let sql = format!("{start}{}", term.repeat(100_000));
        assert!(matches!(verdict(&sql), Err(Rejected::TooDeep { .. })), "{start}{term}");
    }
}

#[test]
fn a_hundred_thousand_of_anything_that_is_flat_are_read() {
    let ctes = (1..20_000).map(|level| format!(", c{level} AS (SELECT 1)")).collect::<String>();
    for sql in [
        format!("SELECT 1 WHERE 1 IN (1{})", ", 1".repeat(350_000)),
        format!("SELECT CASE {} END", "WHEN a = 1 THEN b + 1 ".repeat(100_000)),
        format!("SELECT f(1{})", ", 1".repeat(100_000)),
        format!("SELECT ARRAY[1{}]", ", 1".repeat(100_000)),
        format!("SELECT a{}", "[1]".repeat(100_000)),
        format!("INSERT INTO t VALUES (1){}", ", (1)".repeat(100_000)),
        format!("WITH c0 AS (SELECT 1){ctes} SELECT 1"),
        format!("UPDATE t SET a = 1{}", ", b = c + 1".repeat(100_000)),
    ] {
        assert_eq!(verdict(&sql), Ok(1), "{}", &sql[..40]);
    }
}

#[test]
fn what_stands_behind_the_and_of_between_can_hang_below_it() {
    let sql = format!("SELECT 1{} 1", " BETWEEN 1 AND NOT 1".repeat(2_000));
    assert!(matches!(verdict(&sql), Err(Rejected::TooDeep { .. })));
}

#[test]
fn runs_that_a_lexer_reads_again_and_again_are_refused() {
    for run in ["/**/", "+/**/", "/*", "-+", "+"] {
        let sql = format!("SELECT 1 {} 1", run.repeat(100_000));
        assert!(verdict(&sql).is_err(), "{run}");
    }
    let inside = format!("SELECT 1 /* {} */", "/**/".repeat(100_000));
    assert!(matches!(verdict(&inside), Err(Rejected::RunTooLong { .. })));
    let parted = format!("SELECT {} 1", "++++++++++++++++++++ 1, ".repeat(1_000));
    assert_eq!(verdict(&parted), Ok(1));
    let banner = format!("/{}/ SELECT 1 -- {}", "*".repeat(100_000), "=".repeat(100_000));
    assert_eq!(verdict(&banner), Ok(1));
    assert_eq!(verdict(&"/* a */ 1 -- b\n".repeat(100_000)), Ok(1));
}

#[test]
fn comments_in_a_row_fit_the_stack_or_are_refused() {
    assert_eq!(verdict(&"-- b\n".repeat(COMMENTS_MAX)), Ok(0));
    assert_eq!(verdict(&"/* a */ -- b\n".repeat(900)), Ok(0));
    assert!(matches!(verdict(&"-- b\n".repeat(1_000_000)), Err(Rejected::TooManyComments { .. })));
}

#[test]
fn quotes_that_are_never_closed_are_read_once() {
    for opening in ["$a$", "$", "'", "\"", "E'\\", "U&'\\00", "U&\"", "N'", "B'", "X'", "$$ '", "/* ' ", "-- $$\n'"] {
        let sql = format!("SELECT {}", opening.repeat(30_000));
        assert!(verdict(&sql).is_err() || verdict(&sql) == Ok(1), "{opening}");
    }
    let tags: String = (0..100_000).map(|number| format!("$a{number}$ ")).collect();
    assert_eq!(verdict(&tags), Ok(1));
    assert!(verdict(&format!("SELECT {}", "''\n".repeat(100_000))).is_ok());
    assert!(verdict(&format!("SELECT U&'{}'", "\\0041".repeat(100_000))).is_ok());
}

#[test]
fn more_statements_than_the_bound_are_refused() {
    assert_eq!(verdict(&"SELECT 1;".repeat(5_000)), Ok(5_000));
    assert!(matches!(verdict(&";".repeat(20_000)), Err(Rejected::TooManyStatements { .. })));
}
