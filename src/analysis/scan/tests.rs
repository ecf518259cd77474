//! The scanner's rules, one by one, and the two that hold for any bytes: it covers the text, and no literal gets out.

use proptest::prelude::*;

use super::StringMode::{Backslash, Standard};
use super::TokenKind as K;
use super::*;

fn kinds(sql: &str, mode: StringMode) -> Vec<(K, &str)> {
    tokens(sql.as_bytes(), mode).map(|token| (token.kind, sql.get(token.range).unwrap())).collect()
}

fn masked(sql: &str) -> String {
    mask(sql, Standard).text
}

#[test]
fn each_form_of_literal_is_one_token() {
    for (sql, kind) in [
        ("'it''s'", K::String),
        (r"'\'", K::String),
        (r"E'it\'s ''x'''", K::EscapeString),
        (r"e'\\'", K::EscapeString),
        (r"U&'\0061''b'", K::UnicodeString),
        ("n'a'", K::NationalString),
        ("B'0101'", K::BitString),
        ("X'1f'", K::HexString),
        ("$$it's $1 $x$ \"$$", K::DollarString),
        ("$a$ $$ $b$ $A$ $a$", K::DollarString),
        ("$é1$x$é1$", K::DollarString),
        ("'a'\n'b'", K::String),
        ("'a' -- why\n\t 'b'", K::String),
        ("E'a'\n'\\''", K::EscapeString),
        ("\"a\"\"b\"", K::QuotedIdent),
        ("U&\"d\\0061t\"", K::QuotedIdent),
        ("1", K::Number),
        ("1.5e-10", K::Number),
        (".5", K::Number),
        ("1_000.5", K::Number),
        ("0xFF_ff", K::Number),
        ("$12", K::Param),
        ("a$b$c", K::Word),
        ("->>", K::Operator),
        ("@-", K::Operator),
        ("/* a /* b */ c **/", K::BlockComment),
    ] {
        assert_eq!(kinds(sql, Standard), [(kind, sql)], "{sql}");
    }
}

#[test]
fn neighbours_are_told_apart_as_the_server_does() {
    for (sql, pieces) in [
        ("'a' 'b'", vec!["'a'", "'b'"]),
        ("'a' /* x\n */ 'b'", vec!["'a'", "/* x\n */", "'b'"]),
        ("B'1''x'", vec!["B'1'", "'x'"]),
        ("1..10", vec!["1", "..", "10"]),
        ("1FROM", vec!["1", "FROM"]),
        ("$1$a$x$a$", vec!["$1", "$a$x$a$"]),
        ("$a", vec!["$", "a"]),
        ("=-5", vec!["=", "-", "5"]),
        ("+++", vec!["+", "+", "+"]),
        ("*--x\n/", vec!["*", "--x", "/"]),
        ("+/*x*/-", vec!["+", "/*x*/", "-"]),
        ("a::int[1:2]", vec!["a", "::", "int", "[", "1", ":", "2", "]"]),
        ("U&x", vec!["U", "&", "x"]),
        ("1e", vec!["1", "e"]),
    ] {
        let found: Vec<_> = kinds(sql, Standard).into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, pieces, "{sql}");
    }
}

#[test]
fn a_backslash_escapes_in_plain_strings_only_where_the_server_says_so() {
    assert_eq!(kinds(r"'a\' , 'b'", Standard), [(K::String, r"'a\'"), (K::Punct, ","), (K::String, "'b'")]);
    assert_eq!(kinds(r"'a\'b'", Backslash), [(K::String, r"'a\'b'")]);
    assert_eq!(kinds("U&'a' b", Backslash), [(K::UnicodeString, "U&'a' b")]);
}

#[test]
fn what_is_never_closed_is_masked_to_the_end() {
    for sql in ["SELECT 'secret", "SELECT E'secret\\'", "SELECT \"secret", "SELECT $a$secret$b$", "SELECT B'secret"] {
        assert_eq!(masked(sql), "SELECT ?", "{sql}");
    }
    assert_eq!(masked("SELECT /* secret /* */"), "SELECT");
}

#[test]
fn masked_text_is_one_readable_line() {
    let sql = "SELECT a.email, -- of bob\n  count(*)\tFROM \"My Table\" a /* x */ WHERE id=-7 AND n = 'bob' AND j->>'k' = $1;";
    assert_eq!(masked(sql), "SELECT a.email, count(*) FROM \"My Table\" a WHERE id=-? AND n = '?' AND j->>'?' = $1;");
    assert_eq!(masked("ALTER ROLE bob PASSWORD 'hunter2'"), "ALTER ROLE bob PASSWORD '?'");
    assert_eq!(masked(""), "");
    assert_eq!(masked(" -- nothing"), "");
}

#[test]
fn the_shape_forgets_literals_spaces_and_comments_and_nothing_else() {
    let shape = |sql: &str| mask(sql, Standard).shape;
    let same = shape("SELECT a FROM t WHERE b=1 AND c='x'");
    assert_eq!(same.len(), 32);
    assert_eq!(same, shape("SELECT a\nFROM t -- c\nWHERE b = 22 AND c = 'it''s'"));
    for other in [
        "select a FROM t WHERE b=1 AND c='x'",
        "SELECT a FROM u WHERE b=1 AND c='x'",
        "SELECT \"a\" FROM t WHERE b=1 AND c='x'",
        "SELECT a FROM t WHERE b=-1 AND c='x'",
        "SELECT a FROM t WHERE b=$1 AND c='x'",
        "SELECT a FROM t WHERE b=1 AND c=E'x'",
        "SELECT a FROM t WHERE b=1 AND c=$$x$$",
        "SELECT a FROM t WHERE b=1 AND c=\"''\"",
        "SELECT a FROM t WHERE b=1 AND c='x",
    ] {
        assert_ne!(same, shape(other), "{other}");
    }
    assert_ne!(shape("SELECT 1 secret"), shape("SELECT 1FROM secret"));
    assert_ne!(shape("a ? b"), shape("a 1 b"));
}

#[test]
fn long_runs_take_linear_time() {
    // Each of these is quadratic in a scanner that looks again at what it gave back; here they end at once.
    for piece in ["+", "-+", "/*", "$a", "$a$", "'", "\"", "1_", "*", "--\n", "'a'\n"] {
        let text = piece.repeat(1_000_000 / piece.len());
        assert!(tokens(text.as_bytes(), Standard).count() <= text.len(), "{piece}");
    }
}

/// One literal that holds `CANARY` in any of the forms that the server knows.
fn literal() -> impl Strategy<Value = String> {
    let noise = "[ -~\n\u{e9}]{0,8}";
    (0..7_usize, noise, noise).prop_map(|(form, before, after)| {
        let body = format!("{before}CANARY{after}");
        let doubled = body.replace('\'', "''");
        match form {
            0 => format!("'{doubled}'"),
            1 => format!("E'{}'", body.replace('\\', "\\\\").replace('\'', "\\'")),
            2 => format!("U&'{doubled}'"),
            3 => format!("N'{doubled}'"),
            4 => format!("$q$ {} $q$", body.replace("$q$", "")),
            5 => format!("'{doubled}' -- CANARY\n 'CANARY'"),
            _ => format!("/* {} */ 'CANARY'", body.replace("*/", "").replace("/*", "")),
        }
    })
}

proptest! {
    #[test]
    fn any_bytes_are_covered_by_tokens_and_white_space(text in prop::collection::vec(any::<u8>(), 0..200), off: bool) {
        let mode = if off { Backslash } else { Standard };
        let mut end = 0;
        for token in tokens(&text, mode) {
            prop_assert!(token.range.start >= end && token.range.end > token.range.start);
            prop_assert!(text[end..token.range.start].iter().all(|byte| is_space(*byte)));
            end = token.range.end;
        }
        prop_assert!(text[end..].iter().all(|byte| is_space(*byte)));
        let _ = mask(&text, mode);
    }

    #[test]
    fn no_literal_gets_through_the_mask(literals in prop::collection::vec(literal(), 1..5)) {
        let sql = format!("SELECT {} FROM t WHERE a = 73317331", literals.join(" , b = "));
        let masked = masked(&sql);
        prop_assert!(!masked.contains("CANARY") && !masked.contains("7331"), "{sql} -> {masked}");
        prop_assert!(masked.ends_with(" FROM t WHERE a = ?"), "{sql} -> {masked}");
    }
}
