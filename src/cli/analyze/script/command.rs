//! psql's own commands: most say nothing to the server; some hide what they send.

use std::io::BufRead;

use super::variables::says_something;
use super::{Content, Piece, Rows, Script};

/// What a command means for the statements around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It sends the statement before it.
    Sends,
    /// It sends the statement before it, and runs what comes back.
    Runs,
    /// It sends the statement before it, and keeps values of its result.
    Keeps,
    /// It does what no analysis can know.
    Hides(&'static str),
    Sets,
    Unsets,
    /// It gives variables values from outside.
    Asks,
    /// What follows happens or does not.
    Branches,
    Copies,
    /// It only looks, prints or formats.
    Nothing,
}

/// Commands that are not [`Effect::Nothing`]; the others of psql only look, print or format.
const COMMANDS: &[(&str, Effect)] = &[
    ("g", Effect::Sends),
    ("gx", Effect::Sends),
    ("gdesc", Effect::Sends),
    ("crosstabview", Effect::Sends),
    ("watch", Effect::Sends),
    ("parse", Effect::Sends),
    ("sendpipeline", Effect::Sends),
    ("gexec", Effect::Runs),
    ("gset", Effect::Keeps),
    ("i", Effect::Hides("the file that it includes is not read with this one")),
    ("include", Effect::Hides("the file that it includes is not read with this one")),
    ("ir", Effect::Hides("the file that it includes is not read with this one")),
    ("include_relative", Effect::Hides("the file that it includes is not read with this one")),
    ("c", Effect::Hides("what follows runs in another session, perhaps in another database")),
    ("connect", Effect::Hides("what follows runs in another session, perhaps in another database")),
    ("!", Effect::Hides("it runs a command of the shell")),
    ("lo_import", Effect::Hides("it writes a large object")),
    ("lo_export", Effect::Hides("it reads a large object")),
    ("bind_named", Effect::Hides("it runs a statement that was prepared elsewhere")),
    ("set", Effect::Sets),
    ("unset", Effect::Unsets),
    ("prompt", Effect::Asks),
    ("getenv", Effect::Asks),
    ("if", Effect::Branches),
    ("elif", Effect::Branches),
    ("else", Effect::Branches),
    ("endif", Effect::Branches),
    ("copy", Effect::Copies),
];

impl<R: BufRead> Script<R> {
    /// The command at a backslash; where the line goes on behind it, if it does.
    pub(super) fn command(&mut self, line: &[u8], start: usize) -> Option<usize> {
        let behind = line.get(start + 1..).unwrap_or_default();
        match behind.first() {
            // A semicolon that sends nothing: both statements go as one.
            Some(b';') => {
                self.keep(line, start + 1..start + 2);
                return Some(start + 2);
            }
            Some(b'\\') => return Some(start + 2),
            _ => {}
        }
        let length = behind.iter().position(u8::is_ascii_whitespace).unwrap_or(behind.len());
        let name = String::from_utf8_lossy(behind.get(..length).unwrap_or_default()).into_owned();
        let name = if name.starts_with('!') { "!".to_owned() } else { name };
        let effect = COMMANDS.iter().find(|(known, _)| *known == name).map_or(Effect::Nothing, |(_, effect)| *effect);
        let end = match effect {
            Effect::Copies | Effect::Hides(_) => line.len(),
            _ => arguments_end(line, start + 1 + length),
        };
        let arguments = line.get(start + 1 + length..end).unwrap_or_default();
        let arguments = String::from_utf8_lossy(arguments).trim().to_owned();
        self.obey(effect, &name, &arguments, (line, start, end));
        (end < line.len()).then_some(end)
    }

    fn obey(&mut self, effect: Effect, name: &str, arguments: &str, at: (&[u8], usize, usize)) {
        match effect {
            Effect::Nothing => {}
            Effect::Sends => self.finish(),
            Effect::Runs => {
                self.finish();
                self.hidden("it runs what the statement before it gives back", at);
            }
            Effect::Keeps => {
                self.finish();
                self.variables.forget();
            }
            Effect::Hides(why) => self.hidden(why, at),
            Effect::Branches => {
                self.branch(name);
                // Each branch may have set them.
                self.variables.forget();
            }
            Effect::Sets => self.set(arguments),
            Effect::Unsets => self.variables.unset(arguments),
            Effect::Asks => self.variables.forget(),
            Effect::Copies => self.copy(arguments, at),
        }
    }

    fn hidden(&mut self, why: &str, at: (&[u8], usize, usize)) {
        let content = Content::Opaque(why.to_owned());
        self.push(content, at);
    }

    fn push(&mut self, content: Content, (line, start, end): (&[u8], usize, usize)) {
        let text = line.get(start..end).unwrap_or_default().trim_ascii_end();
        let (start, end) = (self.place(line, start), self.place(line, start + text.len()));
        self.done.push_back(Piece { start, end, text: String::from_utf8_lossy(text).into_owned(), content });
    }

    const fn branch(&mut self, name: &str) {
        match name.as_bytes() {
            b"if" => self.branches += 1,
            b"endif" => self.branches = self.branches.saturating_sub(1),
            _ => {}
        }
    }

    /// `\set name value…`: the values are put together.
    fn set(&mut self, arguments: &str) {
        let (name, values) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
        let plain = !values.contains(['\\', ':', '`']);
        if !plain || self.branches > 0 {
            self.variables.unset(name);
            return;
        }
        let value: String = words(values).concat();
        self.variables.set(name, value);
    }

    /// `\copy` sends a COPY whose other end is a file of the client's.
    fn copy(&mut self, arguments: &str, at: (&[u8], usize, usize)) {
        let Some((sql, inline)) = copy_statement(arguments) else {
            self.hidden("it copies what cannot be read from its text", at);
            return;
        };
        let (sql, notes, opaque) = (sql.into_bytes(), Vec::new(), Vec::new());
        self.push(Content::Sql { sql, notes, opaque }, at);
        if inline {
            self.rows = Rows::Skipped;
        }
    }
}

/// The COPY that the server gets, and whether its rows stand in the script.
fn copy_statement(arguments: &str) -> Option<(String, bool)> {
    use crate::analysis::scan::{StringMode, TokenKind, tokens};
    let (mut depth, mut found, mut next) = (0_usize, None, None);
    for token in tokens(arguments.as_bytes(), StringMode::Standard) {
        let text = arguments.get(token.range.clone())?;
        if found.is_some() {
            next = Some(text.to_ascii_lowercase());
            break;
        }
        match (token.kind, text) {
            (TokenKind::Punct, "(") => depth += 1,
            (TokenKind::Punct, ")") => depth = depth.saturating_sub(1),
            (TokenKind::Word, word) if depth == 0 && word.eq_ignore_ascii_case("from") => {
                found = Some((token.range.start, "FROM STDIN"));
            }
            (TokenKind::Word, word) if depth == 0 && word.eq_ignore_ascii_case("to") => {
                found = Some((token.range.start, "TO STDOUT"));
            }
            _ => {}
        }
    }
    let (at, end) = found?;
    let what = arguments.get(..at)?;
    let inline = end == "FROM STDIN" && next.as_deref() == Some("stdin");
    says_something(what.as_bytes()).then(|| (format!("COPY {what}{end}"), inline))
}

/// Where the arguments end: at the next command of the line, or with it.
fn arguments_end(line: &[u8], from: usize) -> usize {
    let mut quote = None;
    for (at, byte) in line.iter().enumerate().skip(from) {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(*byte),
            (Some(open), close) if open == *close => quote = None,
            (None, b'\\') => return at,
            _ => {}
        }
    }
    line.len()
}

/// Words of an argument list, their quotes taken off.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut some) = (Vec::new(), String::new(), None, false);
    for letter in text.chars() {
        match (quote, letter) {
            (None, '\'' | '"') => {
                quote = Some(letter);
                some = true;
            }
            (Some(open), close) if open == close => quote = None,
            (None, blank) if blank.is_whitespace() => {
                if std::mem::take(&mut some) {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => {
                word.push(letter);
                some = true;
            }
        }
    }
    if some {
        words.push(word);
    }
    words
}
