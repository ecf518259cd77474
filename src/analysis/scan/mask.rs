//! Text without its literals and comments, and the shape by which statements that differ in literals alone are one.

use std::borrow::Cow;
use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use super::{StringMode, Token, TokenKind, tokens};

/// A statement without what it was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The text on one line: strings are `'?'`, numbers `?`, comments gone, each run of white space one space.
    /// Identifiers and the case of keywords stay. What is never closed is `?` to the end.
    pub text: String,
    /// 128 bits of SHA-256 over the tokens, hex: the same for texts that differ in literals, white space and comments
    /// alone. Each form of literal (`'…'`, `E'…'`, `B'…'`, `$$…$$`, number) counts as a different one.
    pub shape: String,
}

/// Masks `text`. Never fails; what Postgres would refuse is masked as far as its tokens can be told.
#[must_use]
pub fn mask(text: impl AsRef<[u8]>, mode: StringMode) -> Masked {
    masked(text.as_ref(), mode, |_, _| None)
}

/// The same where `show` says what stands for a literal; `None`: the mask.
#[must_use]
pub fn mask_with<'a>(
    text: &'a [u8],
    mode: StringMode,
    show: &dyn Fn(&Token, &'a [u8]) -> Option<Cow<'a, [u8]>>,
) -> Masked {
    masked(text, mode, show)
}

fn masked<'a>(text: &'a [u8], mode: StringMode, show: impl Fn(&Token, &'a [u8]) -> Option<Cow<'a, [u8]>>) -> Masked {
    let mut shown = Vec::with_capacity(text.len());
    let mut hashed = Vec::with_capacity(text.len() + text.len() / 4);
    let mut end = 0;
    for token in tokens(text, mode) {
        let gap = token.range.start > end;
        if !shown.is_empty() && (gap || token.kind.is_comment()) && shown.last() != Some(&b' ') {
            shown.push(b' ');
        }
        end = token.range.end;
        if token.kind.is_comment() {
            continue;
        }
        let bytes = text.get(token.range.clone()).unwrap_or_default();
        match shown_as(&token) {
            None => shown.extend_from_slice(bytes),
            Some(mask) => match show(&token, bytes) {
                Some(other) => shown.extend_from_slice(&other),
                None => shown.extend_from_slice(mask),
            },
        }
        hashed.extend_from_slice(hashed_as(&token).unwrap_or(bytes));
        hashed.push(b' ');
    }
    if shown.last() == Some(&b' ') {
        shown.pop();
    }
    Masked { text: into_string(shown), shape: shape(&hashed) }
}

/// What stands for a literal in the text; `None` where the token stands for itself.
const fn shown_as(token: &Token) -> Option<&'static [u8]> {
    match token.kind {
        _ if !token.closed => Some(b"?"),
        TokenKind::Number => Some(b"?"),
        kind if kind.is_string() => Some(b"'?'"),
        _ => None,
    }
}

/// What stands for a literal in the hash. Nothing that is not a literal of that form can be read as one.
const fn hashed_as(token: &Token) -> Option<&'static [u8]> {
    match token.kind {
        _ if !token.closed => Some(b"\0"),
        TokenKind::Number => Some(b"0"),
        TokenKind::String => Some(b"''"),
        TokenKind::EscapeString => Some(b"e''"),
        TokenKind::UnicodeString => Some(b"u&''"),
        TokenKind::NationalString => Some(b"n''"),
        TokenKind::BitString => Some(b"b''"),
        TokenKind::HexString => Some(b"x''"),
        TokenKind::DollarString => Some(b"$$$$"),
        _ => None,
    }
}

fn into_string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn shape(hashed: &[u8]) -> String {
    let mut shape = String::with_capacity(32);
    for byte in digest(&SHA256, hashed).as_ref().iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(shape, "{byte:02x}");
    }
    shape
}
