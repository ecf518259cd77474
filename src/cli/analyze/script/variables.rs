//! psql's variables: what `\set` said is put in, what comes from outside is taken for a value, and said so.

use std::collections::HashMap;

use crate::analysis::scan::{StringMode, TokenKind, tokens};

/// Variables whose values the script itself gives.
#[derive(Debug, Default)]
pub(super) struct Variables {
    known: HashMap<String, String>,
}

/// The statement as it is sent, what was assumed, and what cannot be known.
type Interpolated = (Vec<u8>, Vec<String>, Vec<String>);

impl Variables {
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.known.insert(name.to_owned(), value);
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Any of them may have another value now.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }

    /// Puts values in place of `:name`, `:'name'` and `:"name"`.
    pub(super) fn interpolate(&self, text: &[u8]) -> Interpolated {
        if !text.contains(&b':') {
            return (text.to_vec(), Vec::new(), Vec::new());
        }
        let mut sent =
            Sent { text, sql: Vec::with_capacity(text.len()), copied: 0, notes: Vec::new(), opaque: Vec::new() };
        let (mut colon, mut brackets) = (None, 0_usize);
        for token in tokens(text, StringMode::Standard) {
            let bytes = text.get(token.range.clone()).unwrap_or_default();
            if let Some(start) = colon.take()
                && start + 1 == token.range.start
                && token.closed
            {
                self.put(&mut sent, start..token.range.end, token.kind, brackets);
            }
            match bytes {
                b":" => colon = Some(token.range.start),
                b"[" => brackets += 1,
                b"]" => brackets = brackets.saturating_sub(1),
                _ => {}
            }
        }
        sent.finish()
    }

    fn put(&self, sent: &mut Sent<'_>, range: std::ops::Range<usize>, kind: TokenKind, brackets: usize) {
        let bytes = sent.text.get(range.start + 1..range.end).unwrap_or_default();
        let name = String::from_utf8_lossy(bytes).trim_matches(['\'', '"']).to_owned();
        let known = self.value(&name);
        match (kind, known) {
            (TokenKind::Word, Some(value)) => sent.replace(range, value),
            (TokenKind::String, Some(value)) => sent.replace(range, &format!("'{}'", value.replace('\'', "''"))),
            (TokenKind::QuotedIdent, Some(value)) => {
                sent.replace(range, &format!("\"{}\"", value.replace('"', "\"\"")));
            }
            // The bounds of an array's slice.
            (TokenKind::Word, None) if brackets > 0 => {}
            (TokenKind::Word, None) => {
                sent.notes.push(format!(":{name} is taken for a value"));
                sent.replace(range, "$1");
            }
            // A string, whatever is in it.
            (TokenKind::String, None) => sent.replace(range, &format!("'{name}'")),
            (TokenKind::QuotedIdent, None) => {
                sent.opaque.push(format!(":\"{name}\" stands for a name that is not in the file"));
            }
            _ => {}
        }
    }
}

struct Sent<'a> {
    text: &'a [u8],
    sql: Vec<u8>,
    copied: usize,
    notes: Vec<String>,
    opaque: Vec<String>,
}

impl Sent<'_> {
    fn replace(&mut self, range: std::ops::Range<usize>, by: &str) {
        self.sql.extend_from_slice(self.text.get(self.copied..range.start).unwrap_or_default());
        self.sql.extend_from_slice(by.as_bytes());
        self.copied = range.end;
    }

    fn finish(mut self) -> Interpolated {
        self.sql.extend_from_slice(self.text.get(self.copied..).unwrap_or_default());
        self.notes.dedup();
        (self.sql, self.notes, self.opaque)
    }
}

/// Whether there is more than white space, comments and semicolons.
pub(super) fn says_something(text: &[u8]) -> bool {
    tokens(text, StringMode::Standard)
        .any(|token| !token.kind.is_comment() && text.get(token.range.clone()) != Some(&b";"[..]))
}

/// The text from its first token on that is no comment.
pub(super) fn without_comments(text: &[u8]) -> &[u8] {
    let first = tokens(text, StringMode::Standard).find(|token| !token.kind.is_comment());
    first.and_then(|token| text.get(token.range.start..)).unwrap_or(text)
}
