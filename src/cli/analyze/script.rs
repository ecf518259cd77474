//! A file of SQL as psql reads it: statements, psql's own commands, rows of COPY. Read a line at a time, so that a dump
//! costs no more memory than its largest statement.

mod command;
mod lexer;
mod variables;

use std::collections::VecDeque;
use std::io::{BufRead, Read};

use self::lexer::{Lexer, Stop};
use self::variables::Variables;
use crate::analysis::STATEMENT_MAX;
use crate::analysis::scan::StringMode;

/// A line that is longer is not read: one more than the largest statement.
const LINE_MAX: u64 = 16 << 20;

/// Where something stands in a file; both from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: Place,
    pub(super) end: Place,
    /// What stands there, without white space around it.
    pub(super) text: String,
    pub(super) content: Content,
}

/// What a part of a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// SQL as the server gets it, and what was assumed of it.
    Sql { sql: Vec<u8>, notes: Vec<String>, opaque: Vec<String> },
    /// Something that no analysis can know, and why.
    Opaque(String),
}

/// What the text of a file is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    None,
    /// Behind COPY … FROM STDIN, up to `\.`.
    Skipped,
}

/// An iterator of the pieces of a file.
pub(super) struct Script<R> {
    reader: R,
    lexer: Lexer,
    variables: Variables,
    /// The statement so far: as it is sent, and as it stands in the file.
    sent: Vec<u8>,
    written: Vec<u8>,
    start: Place,
    end: Place,
    line: u64,
    rows: Rows,
    /// How many \if are open.
    branches: u32,
    done: VecDeque<Piece>,
    ended: bool,
}

impl<R: BufRead> Script<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            lexer: Lexer::default(),
            variables: Variables::default(),
            sent: Vec::new(),
            written: Vec::new(),
            start: Place::default(),
            end: Place::default(),
            line: 0,
            rows: Rows::None,
            branches: 0,
            done: VecDeque::new(),
            ended: false,
        }
    }

    /// What a backslash in a plain string means from here on.
    pub(super) const fn set_mode(&mut self, mode: StringMode) {
        self.lexer.set_mode(mode);
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next_piece(&mut self) -> std::io::Result<Option<Piece>> {
        let mut line = Vec::new();
        loop {
            if let Some(piece) = self.done.pop_front() {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            line.clear();
            let read = self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
            if read == 0 {
                self.ended = true;
                self.finish();
                continue;
            }
            self.line += 1;
            if u64::try_from(read).is_ok_and(|read| read == LINE_MAX) && self.rows == Rows::None {
                self.overlong();
                continue;
            }
            match self.rows {
                Rows::Skipped if matches!(line.trim_ascii_end(), b"\\.") => self.rows = Rows::None,
                Rows::Skipped => {}
                Rows::None => self.read_line(&line),
            }
        }
    }

    fn overlong(&mut self) {
        self.ended = true;
        let place = Place { line: self.line, column: 1 };
        let why = format!("a line of more than {} MiB: the rest of the file is not read", LINE_MAX >> 20);
        self.done.push_back(Piece { start: place, end: place, text: String::new(), content: Content::Opaque(why) });
    }

    fn read_line(&mut self, line: &[u8]) {
        let line = if self.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let mut at = 0;
        loop {
            let stop = self.lexer.scan(line, at);
            match stop {
                Stop::LineEnd => {
                    self.keep(line, at..line.len());
                    return;
                }
                Stop::Semicolon(end) => {
                    self.keep(line, at..end + 1);
                    self.finish();
                    if self.rows == Rows::Skipped {
                        return;
                    }
                    at = end + 1;
                }
                Stop::Backslash(start) => {
                    self.keep(line, at..start);
                    match self.command(line, start) {
                        Some(next) => at = next,
                        None => return,
                    }
                }
            }
        }
    }

    /// Adds a part of the line to the statement.
    fn keep(&mut self, line: &[u8], mut range: std::ops::Range<usize>) {
        let part = line.get(range.clone()).unwrap_or_default();
        let solid = |byte: &u8| !byte.is_ascii_whitespace();
        if self.written.is_empty() {
            let Some(blank) = part.iter().position(solid) else { return };
            range.start += blank;
            self.start = self.place(line, range.start);
        }
        let part = line.get(range.clone()).unwrap_or_default();
        if let Some(last) = part.iter().rposition(solid) {
            self.end = self.place(line, range.start + last + 1);
        }
        // One byte more than a statement may have is enough for the analysis to refuse it.
        let room = (STATEMENT_MAX + 1).saturating_sub(self.written.len());
        let part = part.get(..room.min(part.len())).unwrap_or_default();
        self.written.extend_from_slice(part);
        self.sent.extend_from_slice(part);
    }

    fn place(&self, line: &[u8], at: usize) -> Place {
        let before = line.get(..at).unwrap_or_default();
        // A continuation byte begins no character.
        let characters = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        Place { line: self.line, column: u64::try_from(characters).unwrap_or(u64::MAX).saturating_add(1) }
    }

    /// The statement is complete.
    fn finish(&mut self) {
        let copies_in = self.lexer.copies_in();
        self.lexer.begin();
        let sent = std::mem::take(&mut self.sent);
        let written = std::mem::take(&mut self.written);
        if !variables::says_something(&written) {
            return;
        }
        if copies_in {
            self.rows = Rows::Skipped;
        }
        let (sql, notes, opaque) = self.variables.interpolate(&sent);
        let start = self.behind_comments(&written);
        let text = String::from_utf8_lossy(variables::without_comments(&written)).trim().to_owned();
        let content = Content::Sql { sql, notes, opaque };
        self.done.push_back(Piece { start, end: self.end, text, content });
    }

    /// The place of the first token: comments above a statement are not it.
    fn behind_comments(&self, written: &[u8]) -> Place {
        let all = written.len();
        let comments = written.get(..all - variables::without_comments(written).len()).unwrap_or_default();
        let lines = comments.split(|byte| *byte == b'\n').count() - 1;
        let last = comments.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let characters = comments.iter().skip(last).filter(|byte| **byte & 0xc0 != 0x80).count();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let from = if lines == 0 { self.start.column } else { 1 };
        Place { line: self.start.line.saturating_add(number(lines)), column: from.saturating_add(number(characters)) }
    }
}

#[cfg(test)]
mod tests;
