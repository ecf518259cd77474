//! What stands for a literal in a record: nothing of it, a keyed tag by which equal ones are known, or itself.

use std::borrow::Cow;
use std::fmt::Write as _;

use ring::hmac;

use super::mask::cut_text;
use super::values::text_of_binary;
use crate::analysis::scan::{self, Masked, Secrets, StringMode, Token, TokenKind};

/// Hex digits of a tag: 48 bits, enough to tell the literals of a log apart, too few to be anything else.
const TAG_LEN: usize = 12;

/// How literals are recorded. Passwords and connection strings are `'?'` in every mode.
#[derive(Clone, Debug, Default)]
pub enum Literals {
    /// `'?'`.
    #[default]
    Masked,
    /// `'?h:1f2e3d4c5b6a'`: the beginning of an HMAC-SHA-256 under a key of this installation. Equal values have equal tags,
    /// whatever their quotes.
    Hmac(hmac::Key),
    /// As they were sent.
    Plain,
}

/// How a Bind sends a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueForm {
    /// As text.
    Text,
    /// In the binary form of the type with this OID; 0: it is not known.
    Binary(u32),
}

impl Literals {
    /// Keyed tags under this key.
    #[must_use]
    pub fn keyed(key: &[u8]) -> Self {
        Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Texts that differ in literals alone are the same in records.
    #[must_use]
    pub fn are_alike(&self) -> bool {
        matches!(self, Self::Masked)
    }

    /// Whether records hold something of the values of a Bind.
    #[must_use]
    pub fn tell_values(&self) -> bool {
        !matches!(self, Self::Masked)
    }

    /// What stands for a Bind value: the tag that a literal of the same text has. A binary value of a type that is not
    /// known is tagged by its bytes.
    #[must_use]
    pub fn of_value(&self, value: &[u8], form: ValueForm) -> String {
        let text = match form {
            ValueForm::Text => None,
            ValueForm::Binary(type_oid) => text_of_binary(type_oid, value),
        };
        let bytes = text.as_deref().map_or(value, str::as_bytes);
        match self {
            Self::Masked => "?".to_owned(),
            Self::Hmac(key) => hashed(key, bytes),
            Self::Plain => match (form, text.as_deref().or_else(|| std::str::from_utf8(value).ok())) {
                (ValueForm::Binary(_), _) if text.is_none() => format!("\\x{}", crate::ids::hex(value)),
                (_, Some(text)) => text.to_owned(),
                (_, None) => format!("\\x{}", crate::ids::hex(value)),
            },
        }
    }

    /// A statement's text for a record, cut at [`super::TEXT_MAX`]; the shape is the same in every mode.
    #[must_use]
    pub fn mask(&self, text: impl AsRef<[u8]>, mode: StringMode) -> Masked {
        let text = text.as_ref();
        let mut masked = match self {
            Self::Masked => scan::mask(text, mode),
            Self::Hmac(_) | Self::Plain => {
                let secrets = Secrets::of(text, mode);
                scan::mask_with(text, mode, &|token, bytes| match self {
                    _ if secrets.has(token.range.start) || !token.closed => None,
                    Self::Hmac(key) => Some(Cow::Owned(tag(key, token, bytes))),
                    // A body of code can hold a secret inside.
                    Self::Plain if token.kind == TokenKind::DollarString => {
                        Some(Cow::Owned(inner(&secrets, token, bytes)))
                    }
                    Self::Plain => Some(Cow::Borrowed(bytes)),
                    Self::Masked => None,
                })
            }
        };
        cut_text(&mut masked.text);
        masked
    }
}

fn inner(secrets: &Secrets, token: &Token, bytes: &[u8]) -> Vec<u8> {
    let start = token.range.start;
    let inside = |range: &&std::ops::Range<usize>| range.start >= start && range.end <= token.range.end;
    let literals = secrets.literals.iter().filter(inside);
    let literals = literals.map(|range| range.start - start..range.end - start).collect();
    Secrets { literals, params: Vec::new() }.hide(bytes)
}

fn tag(key: &hmac::Key, token: &Token, bytes: &[u8]) -> Vec<u8> {
    let shown = hashed(key, &value(token.kind, bytes));
    let quoted = if token.kind == TokenKind::Number { shown } else { format!("'{shown}'") };
    quoted.into_bytes()
}

fn hashed(key: &hmac::Key, value: &[u8]) -> String {
    let digest = hmac::sign(key, value);
    let mut shown = String::with_capacity(TAG_LEN + 3);
    shown.push_str("?h:");
    for byte in digest.as_ref().iter().take(TAG_LEN / 2) {
        // Writing to a String cannot fail.
        let _ = write!(shown, "{byte:02x}");
    }
    shown
}

/// The value behind the quotes, for the forms in which that needs no more than undoing them; others stand for themselves.
fn value(kind: TokenKind, bytes: &[u8]) -> Cow<'_, [u8]> {
    let quoted = match kind {
        TokenKind::String => bytes,
        TokenKind::NationalString => bytes.get(1..).unwrap_or_default(),
        TokenKind::EscapeString if !bytes.contains(&b'\\') => bytes.get(1..).unwrap_or_default(),
        TokenKind::DollarString => return Cow::Borrowed(body(bytes)),
        _ => return Cow::Borrowed(bytes),
    };
    let inside = quoted.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'")).unwrap_or(quoted);
    if !inside.contains(&b'\'') {
        return Cow::Borrowed(inside);
    }
    let mut value = Vec::with_capacity(inside.len());
    let mut was_quote = false;
    for byte in inside {
        was_quote = *byte == b'\'' && !was_quote;
        if !was_quote {
            value.push(*byte);
        }
    }
    Cow::Owned(value)
}

fn body(bytes: &[u8]) -> &[u8] {
    let open = bytes.iter().skip(1).position(|byte| *byte == b'$').map_or(0, |at| at + 2);
    bytes.get(open..bytes.len().saturating_sub(open)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: StringMode = StringMode::Standard;

    #[test]
    fn equal_values_have_equal_tags_and_another_key_gives_others() {
        let (one, other) = (Literals::keyed(b"one"), Literals::keyed(b"other"));
        let tags = |literals: &Literals, sql: &str| -> Vec<String> {
            let text = literals.mask(sql, STANDARD).text;
            text.split(' ').filter_map(|word| Some(word.split_once("?h:")?.1.trim_matches('\'').to_owned())).collect()
        };
        let found = tags(&one, "SELECT 'it''s' , E'it''s' , $$it's$$ , N'it''s' , 'its' , 7 , 8 , 7");
        assert_eq!(found[..4].iter().collect::<std::collections::HashSet<_>>().len(), 1, "{found:?}");
        assert!(found[4] != found[0] && found[5] == found[7] && found[5] != found[6]);
        assert!(found.iter().all(|tag| tag.len() == TAG_LEN));
        assert_ne!(tags(&other, "SELECT 7"), tags(&one, "SELECT 7"));
    }

    #[test]
    fn a_bind_value_has_the_tag_of_the_literal_that_it_stands_for() {
        let literals = Literals::keyed(b"k");
        let text = literals.mask("SELECT 'it''s' , 42 , 'it''s'", STANDARD).text;
        for (value, form) in [
            (&b"it's"[..], ValueForm::Text),
            (b"42", ValueForm::Text),
            (b"it's", ValueForm::Binary(25)),
            (&42_i32.to_be_bytes(), ValueForm::Binary(23)),
            (&42_i64.to_be_bytes(), ValueForm::Binary(20)),
        ] {
            let tag = literals.of_value(value, form);
            assert!(tag.starts_with("?h:") && tag.len() == 3 + TAG_LEN && text.contains(&tag), "{text}: {tag}");
        }
        assert!(!text.contains(&literals.of_value(&42_i32.to_be_bytes(), ValueForm::Binary(0))));
        assert_ne!(
            Literals::keyed(b"other").of_value(b"42", ValueForm::Text),
            literals.of_value(b"42", ValueForm::Text)
        );
        assert_eq!(Literals::Masked.of_value(b"42", ValueForm::Text), "?");
    }

    #[test]
    fn a_password_is_hidden_in_every_mode_and_the_shape_is_one() {
        let sql = "ALTER ROLE bob PASSWORD 'CANARY' VALID UNTIL '2030-01-01'";
        let modes = [Literals::Masked, Literals::keyed(b"k"), Literals::Plain];
        for literals in &modes {
            let masked = literals.mask(sql, STANDARD);
            assert!(masked.text.starts_with("ALTER ROLE bob PASSWORD '?' VALID UNTIL '"), "{}", masked.text);
            assert_eq!(masked.shape, scan::mask(sql, STANDARD).shape);
        }
        assert!(modes[2].mask(sql, STANDARD).text.ends_with("'2030-01-01'"));
        let body = "DO $x$ BEGIN EXECUTE 'ALTER ROLE b PASSWORD ''CANARY'''; PERFORM 'shown'; END $x$";
        let shown = Literals::Plain.mask(body, STANDARD).text;
        assert!(shown.contains("PERFORM 'shown'") && !shown.contains("CANARY"), "{shown}");
    }

    #[test]
    fn what_is_never_closed_is_masked_in_every_mode() {
        for literals in [Literals::keyed(b"k"), Literals::Plain] {
            assert_eq!(literals.mask("SELECT 'secret", STANDARD).text, "SELECT ?");
        }
    }
}
