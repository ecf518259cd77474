//! Where a statement of a psql script ends: `psqlscan.l`'s rules, fed a line at a time.

use crate::analysis::scan::StringMode;

/// What a line holds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A semicolon that ends the statement, at that byte.
    Semicolon(usize),
    /// A backslash that begins a command of psql, at that byte.
    Backslash(usize),
    /// The line is over and the statement is not.
    LineEnd,
}

/// What the bytes so far have left open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    /// Inside quotes; whether a backslash escapes.
    Quoted { quote: u8, escapes: bool },
    /// Behind a string: it goes on behind white space with a line end in it.
    Behind { escapes: bool, line_ended: bool },
    /// Inside `$tag$ … $tag$`.
    Dollar(Vec<u8>),
    /// Inside so many block comments.
    Comment(u32),
}

/// The scanner's memory between lines.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    state: State,
    mode: StringMode,
    parentheses: u32,
    /// BEGIN and CASE that wait for their END, in a body of SQL.
    blocks: u32,
    words: Words,
}

/// The first words of a statement, as far as its end hangs on them.
#[derive(Debug, Default)]
struct Words {
    count: u32,
    /// CREATE [OR REPLACE] FUNCTION or PROCEDURE, so far.
    creates: bool,
    routine: bool,
    copies: bool,
    from: bool,
    stdin: bool,
}

impl Words {
    fn add(&mut self, word: &[u8]) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        self.stdin |= self.copies && self.from && is("stdin");
        self.from = is("from");
        match self.count {
            0 => {
                self.creates = is("create");
                self.copies = is("copy");
            }
            1..=3 if self.creates && (is("function") || is("procedure")) => self.routine = true,
            _ => {}
        }
        self.count += 1;
    }
}

impl Lexer {
    /// What a backslash in a plain string means from here on.
    pub(super) const fn set_mode(&mut self, mode: StringMode) {
        self.mode = mode;
    }

    /// A new statement begins; what is open is closed.
    pub(super) fn begin(&mut self) {
        *self = Self { mode: self.mode, ..Self::default() };
    }

    /// The statement is `COPY … FROM STDIN`: rows follow it.
    pub(super) const fn copies_in(&self) -> bool {
        self.words.stdin
    }

    /// Goes on from a byte of a line to what comes next.
    pub(super) fn scan(&mut self, line: &[u8], mut at: usize) -> Stop {
        while let Some(byte) = line.get(at).copied() {
            at = match &self.state {
                State::Plain => match self.plain(line, at, byte) {
                    Ok(next) => next,
                    Err(stop) => return stop,
                },
                State::Quoted { quote, escapes } => self.quoted(line, at, *quote, *escapes),
                State::Behind { escapes, line_ended } => self.behind(line, at, *escapes, *line_ended),
                State::Dollar(tag) => {
                    if line.get(at..).is_some_and(|rest| rest.starts_with(tag)) {
                        let end = at + tag.len();
                        self.state = State::Plain;
                        end
                    } else {
                        at + 1
                    }
                }
                State::Comment(depth) => self.comment(line, at, *depth),
            };
        }
        Stop::LineEnd
    }

    fn plain(&mut self, line: &[u8], at: usize, byte: u8) -> Result<usize, Stop> {
        let next = line.get(at + 1).copied().unwrap_or(0);
        match byte {
            b'\'' => self.open(b'\'', self.mode == StringMode::Backslash),
            b'"' => self.open(b'"', false),
            b'$' => return Ok(self.dollar(line, at)),
            b'-' if next == b'-' => return Ok(line_end(line, at)),
            b'/' if next == b'*' => {
                self.state = State::Comment(1);
                return Ok(at + 2);
            }
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            b';' if self.parentheses == 0 && self.blocks == 0 => return Err(Stop::Semicolon(at)),
            b'\\' => return Err(Stop::Backslash(at)),
            _ if is_word_start(byte) => return Ok(self.word(line, at)),
            _ => {}
        }
        Ok(at + 1)
    }

    fn open(&mut self, quote: u8, escapes: bool) {
        self.state = State::Quoted { quote, escapes };
    }

    fn quoted(&mut self, line: &[u8], at: usize, quote: u8, escapes: bool) -> usize {
        match line.get(at) {
            Some(b'\\') if escapes => at + 2,
            Some(byte) if *byte != quote => at + 1,
            _ if line.get(at + 1) == Some(&quote) => at + 2,
            _ => {
                self.state = if quote == b'"' { State::Plain } else { State::Behind { escapes, line_ended: false } };
                at + 1
            }
        }
    }

    /// Segments that are parted by white space with a line end in it are one string (`quotecontinue`).
    fn behind(&mut self, line: &[u8], at: usize, escapes: bool, line_ended: bool) -> usize {
        match line.get(at) {
            Some(b'\n' | b'\r') => self.state = State::Behind { escapes, line_ended: true },
            Some(byte) if byte.is_ascii_whitespace() => {}
            Some(b'-') if line.get(at + 1) == Some(&b'-') => return line_end(line, at),
            Some(b'\'') if line_ended => self.open(b'\'', escapes),
            _ => {
                self.state = State::Plain;
                return at;
            }
        }
        at + 1
    }

    fn comment(&mut self, line: &[u8], at: usize, depth: u32) -> usize {
        match (line.get(at), line.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => self.state = State::Comment(depth + 1),
            (Some(b'*'), Some(b'/')) => {
                self.state = if depth > 1 { State::Comment(depth - 1) } else { State::Plain };
            }
            _ => return at + 1,
        }
        at + 2
    }

    /// `$tag$` opens a string; `$1` and a lone `$` do not.
    fn dollar(&mut self, line: &[u8], at: usize) -> usize {
        let rest = line.get(at + 1..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_word(*byte) || *byte == b'$').unwrap_or(rest.len());
        let digit = rest.first().is_some_and(u8::is_ascii_digit);
        if digit || rest.get(length) != Some(&b'$') {
            return at + 1;
        }
        let end = at + length + 2;
        self.state = State::Dollar(line.get(at..end).unwrap_or_default().to_vec());
        end
    }

    fn word(&mut self, line: &[u8], at: usize) -> usize {
        let rest = line.get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let end = at + length;
        if word.eq_ignore_ascii_case(b"e") && rest.get(length) == Some(&b'\'') {
            self.open(b'\'', true);
            return end + 1;
        }
        if self.parentheses == 0 {
            self.words.add(word);
            self.block(word);
        }
        end
    }

    /// The body of a routine in SQL: its semicolons are inside.
    fn block(&mut self, word: &[u8]) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if !self.words.routine {
            return;
        }
        if is("begin") || (self.blocks > 0 && is("case")) {
            self.blocks += 1;
        } else if is("end") {
            self.blocks = self.blocks.saturating_sub(1);
        }
    }
}

/// Where a line comment ends: before the line's end.
fn line_end(line: &[u8], at: usize) -> usize {
    let rest = line.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len())
}

const fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
