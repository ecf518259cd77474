//! What Postgres says of a text without running it, against what the analysis counts in it.
//!
//! A Parse message is read and named, never executed: a syntax error, "multiple commands" or anything else tells how many
//! statements the server sees. The texts are the fuzzer's seeds and what a seeded generator makes of them.

use std::path::Path;

use holdgate::analysis::{Context, analyze};
use holdgate::catalog::Catalog;

use crate::harness::TestDb;
use crate::harness::conn::{Conn, parse, sync};

/// What the server sees in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Refused,
    AtMostOne,
    Several,
}

fn ask(conn: &mut Conn, text: &str) -> Seen {
    conn.send(&[parse("", text), sync()].concat());
    let frames = conn.until('Z');
    let Some(error) = frames.iter().find(|frame| frame.tag == 'E') else { return Seen::AtMostOne };
    match (error.field(b'C').as_str(), error.field(b'M')) {
        ("42601", message) if message.contains("multiple commands") => Seen::Several,
        // The grammar's own; an error of the analysis behind it has a text that the grammar took.
        ("42601", message) if message.contains("at or near") || message.contains("at end of input") => Seen::Refused,
        ("42601" | "22P06" | "22025" | "54001" | "0A000" | "22021", _) => Seen::Refused,
        _ => Seen::AtMostOne,
    }
}

/// How many statements the analysis sees, and each one's text; `None` where it calls the whole opaque.
fn counted(catalog: &Catalog, text: &str) -> Option<Vec<String>> {
    let path = ["public".to_owned()];
    let facts = analyze(text.as_bytes(), &Context::new(catalog, "shop", &path, "postgres")).ok()?;
    if facts.statements.iter().any(|statement| statement.command == "UNKNOWN") {
        return None;
    }
    Some(facts.statements.iter().map(|statement| text[statement.span.clone()].to_owned()).collect())
}

/// The fuzzer's seeds, those that a message can carry.
fn seeds() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/analyze");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().filter_map(|file| String::from_utf8(std::fs::read(file).unwrap()).ok());
    texts.filter(|text| !text.contains('\0')).collect()
}

/// A small generator (xorshift) with a seed of its own, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn place(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// What can move the borders of statements and literals.
const PIECES: &[&str] = &[
    ";",
    "; ",
    "'",
    "''",
    "\"",
    "$$",
    "$a$",
    "$1",
    "/*",
    "*/",
    "/**/",
    "--",
    "--\n",
    "\n",
    "E'",
    "\\'",
    "\\",
    "U&'",
    "U&\"",
    "N'",
    "B'1'",
    "X'",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "::",
    ":",
    "..",
    "+",
    "-",
    "1",
    "1e",
    "0x1",
    "1_0",
    "e",
    "a",
    "$",
    "_$",
    "é",
    " ",
    "BEGIN ATOMIC ",
    " END",
    "'a'\n'b'",
    "'a' 'b'",
    "; SELECT 1",
    "SELECT 1; ",
    "\u{b}",
    "\u{a0}",
    "@",
    "`",
    "#",
    "%",
    "&",
    "|",
];

fn mutate(dice: &mut Dice, seeds: &[String]) -> String {
    let mut text = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.place(&text);
        match dice.below(5) {
            0 => {
                let end = dice.place(&text);
                text.replace_range(at.min(end)..at.max(end).min(at.min(end) + 8).min(text.len()), "");
            }
            1 => {
                let other = &seeds[dice.below(seeds.len())];
                text.truncate(at);
                text.push_str(&other[dice.place(other)..]);
            }
            2 => text = format!("{text};{}", seeds[dice.below(seeds.len())]),
            _ => text.insert_str(at, PIECES[dice.below(PIECES.len())]),
        }
    }
    text
}

fn compare(conn: &mut Conn, catalog: &Catalog, text: &str) -> Result<bool, String> {
    let seen = ask(conn, text);
    let Some(ours) = counted(catalog, text) else { return Ok(false) };
    let agree = match seen {
        Seen::Refused => return Ok(false),
        Seen::AtMostOne => ours.len() <= 1,
        // As many as we see, and each is one alone: so the server sees as many.
        Seen::Several => ours.len() > 1 && ours.iter().all(|part| ask(conn, part) != Seen::Several),
    };
    if agree { Ok(true) } else { Err(format!("{seen:?}, we see {ours:?} in {text:?}")) }
}

#[test]
fn where_postgres_sees_statements_the_analysis_sees_as_many_or_calls_the_text_opaque() {
    let db = TestDb::new("differential");
    let mut conn = Conn::session(&format!("127.0.0.1:{}", db.port), &db.name);
    let catalog = Catalog::empty();
    let seeds = seeds();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mutated: Vec<String> =
        (0..1_500).map(|_| mutate(&mut dice, &seeds)).filter(|text| text.len() < 8_000).collect();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for text in seeds.iter().chain(&mutated) {
        match compare(&mut conn, &catalog, text) {
            Ok(both) => compared += usize::from(both),
            Err(why) => wrong.push(why),
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    println!("{compared} of {} texts are taken by both", seeds.len() + mutated.len());
    assert!(compared > 300, "{compared}");
}
