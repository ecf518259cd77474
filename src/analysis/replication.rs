//! Commands of a replication connection: what each of them does, and what leaves with it.
//!
//! A walsender reads a text as a replication command where its first word is one of a few, and as SQL everywhere else
//! (`replication_scanner_is_replication_command`); no such word begins a statement of SQL but SHOW.

mod publication;

use std::collections::BTreeSet;

pub use publication::{Published, Subscribed, subscribed};

use super::facts::{Access, Bound, ColumnName, Kind, RelationName, StatementFacts};
use crate::catalog::{Catalog, Relation};

/// What leaves with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    /// Nothing but words about the server.
    Nothing,
    /// All files of the cluster.
    Cluster,
    /// The log of the cluster, or what an output plug-in makes of it for one database.
    Log,
}

/// What may follow the first word, where that decides whether the command is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Bare,
    /// A name, with dots in it.
    Name,
    /// A number.
    Number,
    /// Anything.
    Any,
}

/// One line of the table: the word, its kinds, its form, what it carries, the SQL function that does the same, and what
/// whoever decides should know.
struct Line {
    word: &'static str,
    kinds: &'static [Kind],
    form: Form,
    carries: Carries,
    function: Option<&'static str>,
    finding: Option<&'static str>,
}

const fn line(word: &'static str, kinds: &'static [Kind], form: Form) -> Line {
    Line { word, kinds, form, carries: Carries::Nothing, function: None, finding: None }
}

/// What acts on slots is as grave as the SQL function that does the same.
const ON_SLOTS: &[Kind] = &[Kind::Call, Kind::Dcl];

/// The closed world: whatever has another first word is SQL.
const TABLE: &[Line] = &[
    line("IDENTIFY_SYSTEM", &[Kind::Session], Form::Bare),
    line("SHOW", &[Kind::Session], Form::Name),
    line("TIMELINE_HISTORY", &[Kind::Session], Form::Number),
    line("READ_REPLICATION_SLOT", &[Kind::Read], Form::Name),
    line("UPLOAD_MANIFEST", &[Kind::Write], Form::Bare),
    line("ALTER_REPLICATION_SLOT", ON_SLOTS, Form::Any),
    Line {
        function: Some("pg_drop_replication_slot"),
        finding: Some("whoever reads from the slot cannot go on from where it was"),
        ..line("DROP_REPLICATION_SLOT", ON_SLOTS, Form::Any)
    },
    Line {
        finding: Some("a slot that nobody reads from keeps the log until the server's disk is full"),
        ..line("CREATE_REPLICATION_SLOT", ON_SLOTS, Form::Any)
    },
    Line { carries: Carries::Log, ..line("START_REPLICATION", &[Kind::Export], Form::Any) },
    Line { carries: Carries::Cluster, ..line("BASE_BACKUP", &[Kind::Export], Form::Any) },
];

/// Facts of a text that a walsender gets; `None` where the server reads it as SQL. `catalog` is what is known of the
/// database that is served, `published` what the publications of the stream have, where that is known for sure.
#[must_use]
pub fn replication(text: &[u8], catalog: Option<&Catalog>, published: Option<&[Published]>) -> Option<StatementFacts> {
    let tokens = tokens(text);
    let Some(Some(Token::Word(first))) = tokens.first() else { return None };
    // The server knows these words in capitals alone; small ones can be nothing but a mistake, except for SHOW.
    let line = TABLE
        .iter()
        .find(|line| line.word == first || (line.word.eq_ignore_ascii_case(first) && line.word != "SHOW"))?;
    let arguments = tokens.get(1..).unwrap_or_default();
    let mut facts = StatementFacts::opaque(line.word, 0..text.len(), "");
    facts.opaque.clear();
    facts.kinds = line.kinds.iter().copied().collect();
    (facts.packs, facts.session_local, facts.bound) = (false, false, Bound::One);
    facts.findings.extend(line.finding.map(str::to_owned));
    if !has_form(arguments, line.form) {
        facts.cannot_know("the replication command is not of its form");
    }
    let logical = is_logical(arguments);
    let function = match (line.word, logical) {
        ("CREATE_REPLICATION_SLOT", true) => Some("pg_create_logical_replication_slot"),
        ("CREATE_REPLICATION_SLOT", false) => Some("pg_create_physical_replication_slot"),
        _ => line.function,
    };
    facts.functions.extend(function.map(|name| format!("pg_catalog.{name}")));
    match line.carries {
        Carries::Nothing => {}
        Carries::Log if logical => match published.zip(catalog) {
            Some((published, catalog)) => publication::export(&mut facts, catalog, published),
            None => export(&mut facts, catalog, Extent::Database),
        },
        Carries::Log => export(&mut facts, catalog, Extent::Cluster),
        Carries::Cluster => {
            export(&mut facts, catalog, Extent::Cluster);
            if is_stored_on_the_server(arguments) {
                facts.cannot_know("the backup goes to a target on the server");
            }
        }
    }
    Some(facts)
}

/// How much a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// What people keep in one database.
    Database,
    /// All of all databases.
    Cluster,
}

/// Everything leaves, for as long as the stream runs.
fn export(facts: &mut StatementFacts, catalog: Option<&Catalog>, extent: Extent) {
    (facts.packs, facts.bound) = (true, Bound::Unbounded);
    facts.findings.push(
        match extent {
            Extent::Database => "it carries every change of the database from then on, until somebody ends it",
            Extent::Cluster => "it carries all databases of the server, its roles and their passwords among them",
        }
        .to_owned(),
    );
    let Some(catalog) = catalog else {
        facts.cannot_know("what the database holds is not known");
        return;
    };
    let leaves =
        |relation: &Relation| !relation.is_built_in() || (extent == Extent::Cluster && catalog.is_tagged(relation));
    for relation in catalog.relations().filter(|relation| relation.stores() && leaves(relation)) {
        reveal(facts, catalog, relation, |_| true);
    }
}

fn reveal(facts: &mut StatementFacts, catalog: &Catalog, relation: &Relation, carries: impl Fn(&str) -> bool) {
    let name = RelationName { schema: relation.schema.clone(), name: relation.name.clone() };
    for column in relation.columns.iter().filter(|column| carries(&column.name)) {
        let tags = catalog.tags(relation.oid, column.number);
        if !tags.is_empty() {
            let column = ColumnName { relation: name.clone(), column: column.name.clone() };
            let touched = facts.columns.entry(column).or_default();
            touched.access = BTreeSet::from([Access::Reveal]);
            touched.tags.extend(tags.iter().cloned());
        }
    }
    facts.relations.insert(name);
}

/// `SLOT name LOGICAL …`, or `name [TEMPORARY] LOGICAL …`.
fn is_logical(arguments: &[Option<Token>]) -> bool {
    arguments.iter().take(3).any(|token| matches!(token, Some(Token::Word(word)) if word == "LOGICAL"))
}

/// `(…, TARGET 'x', …)`, where x is not the client itself.
fn is_stored_on_the_server(arguments: &[Option<Token>]) -> bool {
    let is_target = |token: &Option<Token>| match token {
        Some(Token::Word(word) | Token::Quoted(word)) => word.eq_ignore_ascii_case("target"),
        _ => false,
    };
    let client = |token: Option<&Option<Token>>| matches!(token, Some(Some(Token::Literal(to))) if to == "client");
    arguments.iter().enumerate().any(|(at, token)| is_target(token) && !client(arguments.get(at + 1)))
}

fn has_form(arguments: &[Option<Token>], form: Form) -> bool {
    let arguments = match arguments {
        [rest @ .., Some(Token::Sign(b';'))] => rest,
        all => all,
    };
    match (form, arguments) {
        (Form::Any, all) => all.iter().all(Option::is_some),
        (Form::Bare, []) | (Form::Number, [Some(Token::Number)]) => true,
        (Form::Name, names) => {
            names.len() % 2 == 1
                && names.iter().enumerate().all(|(at, token)| match token {
                    Some(Token::Word(_) | Token::Quoted(_)) => at % 2 == 0,
                    Some(Token::Sign(b'.')) => at % 2 == 1,
                    _ => false,
                })
        }
        _ => false,
    }
}

/// A token as the server's scanner of replication commands makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Literal(String),
    Number,
    /// A place in the log, `16/B374D848`.
    Place,
    Sign(u8),
}

/// The tokens of a text; `None` for what is no token, or is not closed.
fn tokens(text: &[u8]) -> Vec<Option<Token>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' => rest = tail,
            b'\'' | b'"' => {
                let (inner, after) = quoted(tail, *first);
                let make = if *first == b'"' { Token::Quoted } else { Token::Literal };
                found.push(inner.map(make));
                rest = after;
            }
            b',' | b';' | b'(' | b')' | b'.' => {
                found.push(Some(Token::Sign(*first)));
                rest = tail;
            }
            _ => {
                let length = rest.iter().take_while(|byte| is_part_of_word(**byte)).count().max(1);
                let (word, after) = rest.split_at(length);
                found.push(worded(word));
                rest = after;
            }
        }
    }
    found
}

fn is_part_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'/' | 0x80..)
}

fn worded(word: &[u8]) -> Option<Token> {
    let first = *word.first()?;
    let text = String::from_utf8_lossy(word).into_owned();
    if let Some((high, low)) = text.split_once('/') {
        let is_hex = |half: &str| !half.is_empty() && half.bytes().all(|byte| byte.is_ascii_hexdigit());
        return (is_hex(high) && is_hex(low)).then_some(Token::Place);
    }
    if word.iter().all(u8::is_ascii_digit) {
        return Some(Token::Number);
    }
    (first.is_ascii_alphabetic() || first == b'_' || first >= 0x80).then_some(Token::Word(text))
}

/// What stands before the closing quote, where there is one, and what follows it.
fn quoted(text: &[u8], quote: u8) -> (Option<String>, &[u8]) {
    let mut inner = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte == quote {
            if text.get(at + 1) != Some(&quote) {
                let rest = text.get(at + 1..).unwrap_or_default();
                return (Some(String::from_utf8_lossy(&inner).into_owned()), rest);
            }
            at += 1;
        }
        inner.push(*byte);
        at += 1;
    }
    (None, &[])
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
