//! Any text against the shop: no panic, no hang, spans in order, as many statements as the text has, and facts that are
//! the same whether they are worked out or remembered.
#![no_main]

use std::sync::LazyLock;

use holdgate::analysis::scan::{StringMode, TokenKind, tokens};
use holdgate::analysis::{Cache, Context, Facts, Kind, analyze};
use holdgate::catalog::Catalog;
use libfuzzer_sys::fuzz_target;

static SHOP: LazyLock<Catalog> = LazyLock::new(|| Catalog::from_json(include_str!("../shop.json")).unwrap());
static PATH: LazyLock<Vec<String>> = LazyLock::new(|| vec!["$user".to_owned(), "public".to_owned()]);

fuzz_target!(|text: &[u8]| {
    let context = Context { statement_max: 1 << 16, ..Context::new(&SHOP, "postgres", &PATH, "agent") };
    let Ok(facts) = analyze(text, &context) else { return };
    well_formed(text, &facts);
    counted(text, &facts);
    remembered(text, &context, &facts);
    drop(analyze(text, &Context { standard_conforming_strings: false, ..context }));
});

/// Every statement has a kind, is opaque exactly where it says why, and stands behind the one before it.
fn well_formed(text: &[u8], facts: &Facts) {
    let mut behind = 0;
    for statement in &facts.statements {
        assert!(!statement.kinds.is_empty());
        assert_eq!(statement.kinds.contains(&Kind::Opaque), !statement.opaque.is_empty(), "{statement:?}");
        assert!(behind <= statement.span.start && statement.span.end <= text.len(), "{:?}", statement.span);
        if let Ok(text) = std::str::from_utf8(text) {
            assert!(text.get(statement.span.clone()).is_some());
        }
        behind = statement.span.end;
    }
}

/// Where the parser takes the text, the scanner sees the same statements in it, each with its first word.
fn counted(text: &[u8], facts: &Facts) {
    let unknown = |statement: &holdgate::analysis::StatementFacts| statement.command == "UNKNOWN";
    if facts.statements.iter().any(unknown) {
        return;
    }
    let Some(first_words) = statements(text) else { return };
    let commands: Vec<&str> = facts.statements.iter().map(|statement| statement.command.as_str()).collect();
    assert_eq!(first_words.len(), commands.len(), "{first_words:?} {commands:?}");
    for (word, statement) in first_words.iter().zip(&facts.statements) {
        let mildest = match word.as_str() {
            "insert" | "update" | "delete" | "merge" => Kind::Write,
            "grant" | "revoke" | "reassign" => Kind::Dcl,
            "create" | "alter" | "drop" | "truncate" | "comment" | "reindex" | "refresh" => Kind::Write,
            "select" | "values" | "table" | "with" | "fetch" | "(" => Kind::Read,
            "call" | "do" => Kind::Call,
            _ => Kind::Session,
        };
        assert!(statement.kind() >= mildest, "{word}: {statement:?}");
    }
}

/// The first word of each statement, by semicolons outside parentheses; `None` where bodies have semicolons of their own.
fn statements(text: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut begins = true;
    for token in tokens(text, StringMode::Standard).filter(|token| !token.kind.is_comment()) {
        let bytes = &text[token.range];
        if token.kind == TokenKind::Word && bytes.eq_ignore_ascii_case(b"atomic") {
            return None;
        }
        let ends = depth == 0 && bytes == b";" && token.kind == TokenKind::Punct;
        if begins && !ends {
            found.push(String::from_utf8_lossy(bytes).to_ascii_lowercase());
        }
        begins = ends;
        match (token.kind, bytes) {
            (TokenKind::Punct, b"(") => depth += 1,
            (TokenKind::Punct, b")") => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Some(found)
}

/// A text with other values, for which the cache may answer with what it knows of the first, has those very facts.
fn remembered(text: &[u8], context: &Context<'_>, facts: &Facts) {
    let cache = Cache::new(16);
    let first = cache.analyze(text, context).unwrap();
    assert_eq!(*first, *facts);
    assert_eq!(*cache.analyze(text, context).unwrap(), *facts);
    let other = with_other_values(text);
    let Ok(known) = cache.analyze(&other, context) else { return };
    let fresh = analyze(&other, context).unwrap();
    assert_eq!(without_spans(&known), without_spans(&fresh), "{}", String::from_utf8_lossy(&other));
}

fn with_other_values(text: &[u8]) -> Vec<u8> {
    let mut other = Vec::with_capacity(text.len() + 16);
    let mut behind = 0;
    for token in tokens(text, StringMode::Standard) {
        other.extend_from_slice(&text[behind..token.range.start]);
        behind = token.range.end;
        match token.kind {
            TokenKind::Number => other.extend_from_slice(b" 7 "),
            TokenKind::String if token.closed => other.extend_from_slice(b" 'q' "),
            _ => other.extend_from_slice(&text[token.range]),
        }
    }
    other
}

fn without_spans(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    for statement in &mut facts.statements {
        statement.span = 0..0;
    }
    facts
}
