//! Cuts SQL text into tokens by `PostgreSQL`'s lexical rules (`src/backend/parser/scan.l`, 14 to 18), without a parser.
//!
//! One pass, no allocation, any bytes. What the server would refuse still gets a token, and what is never closed
//! reaches to the end of the text, so that a caller that masks literals masks too much and never too little.

mod mask;
mod secrets;

use std::ops::Range;

pub use mask::{Masked, mask, mask_with};
pub use secrets::Secrets;

/// The server's `standard_conforming_strings`, which decides what a backslash in a plain string means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StringMode {
    /// `on`: a backslash in `'…'` is a backslash.
    #[default]
    Standard,
    /// `off`: a backslash in `'…'` escapes the next character, as in `E'…'`.
    Backslash,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A keyword or an unquoted identifier.
    Word,
    /// `"…"` or `U&"…"`.
    QuotedIdent,
    /// `'…'`, with its continuations on later lines, as in all quoted forms.
    String,
    /// `E'…'`.
    EscapeString,
    /// `U&'…'`.
    UnicodeString,
    /// `N'…'`.
    NationalString,
    /// `B'…'`.
    BitString,
    /// `X'…'`.
    HexString,
    /// `$tag$…$tag$`.
    DollarString,
    /// An integer or a decimal, without its sign.
    Number,
    /// `$1`.
    Param,
    /// An operator: `=`, `->>`, `||`.
    Operator,
    /// One of `, ( ) [ ] . ; :` or `::`, `:=`, `..`.
    Punct,
    /// `-- …` without the end of the line.
    LineComment,
    /// `/* … */`, nested.
    BlockComment,
    /// A byte that starts no token of `PostgreSQL`'s.
    Other,
}

impl TokenKind {
    /// Whether it is a quoted literal.
    #[must_use]
    pub const fn is_string(self) -> bool {
        matches!(
            self,
            Self::String
                | Self::EscapeString
                | Self::UnicodeString
                | Self::NationalString
                | Self::BitString
                | Self::HexString
                | Self::DollarString
        )
    }

    /// Whether the server drops it.
    #[must_use]
    pub const fn is_comment(self) -> bool {
        matches!(self, Self::LineComment | Self::BlockComment)
    }
}

/// One token: what it is and where it stands. White space has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes in the text, quotes included.
    pub range: Range<usize>,
    /// Its closing quote or `*/` is there. Never false for kinds that need none.
    pub closed: bool,
}

/// The tokens of a text, in order.
#[must_use]
pub fn tokens(text: &[u8], mode: StringMode) -> Tokens<'_> {
    Tokens { text, mode, at: 0, signs_end: 0 }
}

/// Iterator of [`tokens`].
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a [u8],
    mode: StringMode,
    at: usize,
    /// Up to here every byte is a `+` or `-` that stands for itself.
    signs_end: usize,
}

/// What a backslash does in a quoted form, and whether a doubled quote stands for one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Doubled,
    Escaped,
    Bare,
}

/// Where a scan ended, and whether it found what closes the token.
type End = (usize, bool);

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.at = self.past(self.at, is_space);
        let start = self.at;
        let first = self.byte(start)?;
        let (kind, (end, closed)) = self.token(start, first);
        self.at = end;
        Some(Token { kind, range: start..end, closed })
    }
}

impl Tokens<'_> {
    fn token(&mut self, start: usize, first: u8) -> (TokenKind, End) {
        let second = self.byte(start + 1).unwrap_or(0);
        match first {
            b'\'' => (TokenKind::String, self.string(start + 1, self.plain_body())),
            b'"' => (TokenKind::QuotedIdent, self.quoted(start + 1, b'"', Body::Doubled)),
            b'$' => self.dollar(start),
            b'-' if second == b'-' => (TokenKind::LineComment, (self.line_end(start), true)),
            b'/' if second == b'*' => (TokenKind::BlockComment, self.block_comment(start)),
            b'0'..=b'9' => (TokenKind::Number, (self.number(start), true)),
            b'.' if second.is_ascii_digit() => (TokenKind::Number, (self.number(start), true)),
            b',' | b'(' | b')' | b'[' | b']' | b'.' | b';' | b':' => {
                let pair = matches!((first, second), (b':', b':' | b'=') | (b'.', b'.'));
                (TokenKind::Punct, (start + 1 + usize::from(pair), true))
            }
            _ if is_operator(first) => (TokenKind::Operator, (self.operator(start), true)),
            _ if is_ident_start(first) => self.word(start, first, second),
            _ => (TokenKind::Other, (start + 1, true)),
        }
    }

    /// A word, or one of the literals that begin with a letter.
    fn word(&self, start: usize, first: u8, second: u8) -> (TokenKind, End) {
        match (first, second) {
            (b'e' | b'E', b'\'') => (TokenKind::EscapeString, self.string(start + 2, Body::Escaped)),
            (b'b' | b'B', b'\'') => (TokenKind::BitString, self.string(start + 2, Body::Bare)),
            (b'x' | b'X', b'\'') => (TokenKind::HexString, self.string(start + 2, Body::Bare)),
            (b'n' | b'N', b'\'') => (TokenKind::NationalString, self.string(start + 2, self.plain_body())),
            (b'u' | b'U', b'&') => match self.byte(start + 2) {
                Some(b'\'') => (TokenKind::UnicodeString, self.unicode_string(start + 3)),
                Some(b'"') => (TokenKind::QuotedIdent, self.quoted(start + 3, b'"', Body::Doubled)),
                _ => (TokenKind::Word, (start + 1, true)),
            },
            _ => (TokenKind::Word, (self.past(start, is_ident), true)),
        }
    }

    const fn plain_body(&self) -> Body {
        match self.mode {
            StringMode::Standard => Body::Doubled,
            StringMode::Backslash => Body::Escaped,
        }
    }

    /// The server refuses `U&'…'` while backslashes escape, so where it ends is nobody's to say: all of the rest.
    fn unicode_string(&self, at: usize) -> End {
        match self.mode {
            StringMode::Standard => self.string(at, Body::Doubled),
            StringMode::Backslash => (self.text.len(), false),
        }
    }

    /// A string and its continuations: segments that are parted by white space with a line end in it are one literal.
    fn string(&self, mut at: usize, body: Body) -> End {
        loop {
            let (end, closed) = self.quoted(at, b'\'', body);
            match self.continuation(end) {
                Some(next) if closed => at = next,
                _ => return (end, closed),
            }
        }
    }

    /// From behind the opening quote to behind the closing one.
    fn quoted(&self, mut at: usize, quote: u8, body: Body) -> End {
        while let Some(byte) = self.byte(at) {
            at += match byte {
                b'\\' if body == Body::Escaped => 2,
                _ if byte != quote => 1,
                _ if body != Body::Bare && self.byte(at + 1) == Some(quote) => 2,
                _ => return (at + 1, true),
            };
        }
        (self.text.len(), false)
    }

    /// `quotecontinue` of scan.l: white space and line comments with at least one line end, then a quote.
    /// Returns the place behind that quote.
    fn continuation(&self, mut at: usize) -> Option<usize> {
        let mut line_ended = false;
        loop {
            match self.byte(at)? {
                b'\n' | b'\r' => {
                    line_ended = true;
                    at += 1;
                }
                byte if is_space(byte) => at += 1,
                b'-' if self.byte(at + 1) == Some(b'-') => {
                    at = self.line_end(at);
                    self.byte(at)?;
                }
                b'\'' if line_ended => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// `$1`, `$tag$…$tag$`, or a lone `$`.
    fn dollar(&self, start: usize) -> (TokenKind, End) {
        let second = self.byte(start + 1).unwrap_or(0);
        if second.is_ascii_digit() {
            return (TokenKind::Param, (self.past(start + 1, |byte| byte.is_ascii_digit()), true));
        }
        let tag_end = if is_ident_start(second) { self.past(start + 1, is_tag) } else { start + 1 };
        if self.byte(tag_end) != Some(b'$') {
            return (TokenKind::Other, (start + 1, true));
        }
        let delimiter = self.text.get(start..=tag_end).unwrap_or_default();
        (TokenKind::DollarString, self.dollar_body(tag_end + 1, delimiter))
    }

    /// A delimiter holds no `$` but its first and last byte, so that no byte is compared more than twice.
    fn dollar_body(&self, mut at: usize, delimiter: &[u8]) -> End {
        loop {
            at = self.past(at, |byte| byte != b'$');
            let Some(rest) = self.text.get(at..).filter(|rest| !rest.is_empty()) else {
                return (self.text.len(), false);
            };
            if rest.starts_with(delimiter) {
                return (at + delimiter.len(), true);
            }
            at += 1;
        }
    }

    fn block_comment(&self, start: usize) -> End {
        let mut depth = 0_usize;
        let mut at = start;
        while let Some(byte) = self.byte(at) {
            at += match (byte, self.byte(at + 1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    2
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    if depth == 0 {
                        return (at + 2, true);
                    }
                    2
                }
                _ => 1,
            };
        }
        (self.text.len(), false)
    }

    /// An operator ends before a comment; it ends in a sign only where it holds one of `~!@#^&|?%` or a backtick.
    fn operator(&mut self, start: usize) -> usize {
        if start < self.signs_end {
            return start + 1;
        }
        let mut end = start;
        let mut keeps_signs = false;
        while let Some(byte) = self.byte(end).filter(|byte| is_operator(*byte)) {
            if matches!((byte, self.byte(end + 1)), (b'-', Some(b'-')) | (b'/', Some(b'*'))) {
                break;
            }
            keeps_signs |= matches!(byte, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%');
            end += 1;
        }
        self.signs_end = end;
        while !keeps_signs && end > start + 1 && matches!(self.byte(end - 1), Some(b'+' | b'-')) {
            end -= 1;
        }
        end
    }

    /// Integers in any base, decimals and exponents, with the digit separators of version 16.
    fn number(&self, start: usize) -> usize {
        if self.byte(start) == Some(b'0') {
            let is_digit: fn(&u8) -> bool = match self.byte(start + 1) {
                Some(b'x' | b'X') => u8::is_ascii_hexdigit,
                Some(b'o' | b'O') => |byte| matches!(byte, b'0'..=b'7'),
                Some(b'b' | b'B') => |byte| matches!(byte, b'0' | b'1'),
                _ => |_| false,
            };
            let end = self.digits(start + 2, is_digit);
            if end > start + 2 {
                return end;
            }
        }
        let mut end = self.digits(start, u8::is_ascii_digit);
        if self.byte(end) == Some(b'.') && self.byte(end + 1) != Some(b'.') {
            end = self.digits(end + 1, u8::is_ascii_digit);
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            let exponent = self.digits(end + 1 + sign, u8::is_ascii_digit);
            if exponent > end + 1 + sign {
                return exponent;
            }
        }
        end
    }

    /// Digits, with single underscores before digits.
    fn digits(&self, mut at: usize, is_digit: fn(&u8) -> bool) -> usize {
        loop {
            let separator = usize::from(self.byte(at) == Some(b'_'));
            if !self.byte(at + separator).is_some_and(|byte| is_digit(&byte)) {
                return at;
            }
            at += separator + 1;
        }
    }

    fn line_end(&self, at: usize) -> usize {
        self.past(at, |byte| !matches!(byte, b'\n' | b'\r'))
    }

    fn past(&self, at: usize, matches: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !matches(*byte)).unwrap_or(rest.len())
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }
}

/// Version 16 added the vertical tab; before it the server refuses the text.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

const fn is_ident_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_tag(byte: u8) -> bool {
    is_ident_start(byte) || byte.is_ascii_digit()
}

const fn is_ident(byte: u8) -> bool {
    is_tag(byte) || byte == b'$'
}

/// Whether Postgres makes operators of it.
pub(super) const fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

#[cfg(test)]
mod tests;
