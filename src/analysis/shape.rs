//! Which texts are the same statement with other values, so that one analysis serves them all.
//!
//! A text has a shape only where every literal stands in a place in which its value cannot change what the statement
//! touches: as an operand, between BETWEEN and AND, in a list of IN or VALUES. A number after LIMIT or ORDER BY, a string
//! that is cast, or handed to a function, is none of these, and its text is known by itself alone.

use super::facts::{Facts, Kind};
use super::scan::{StringMode, Token, TokenKind, tokens};

/// Between tokens that touch. No token begins with a control character.
const JOINT: u8 = 2;

/// Parentheses within parentheses; a text with more is known by itself alone.
const DEPTH_MAX: usize = 32;

/// A text with a sign in place of each value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) text: Vec<u8>,
    pub(super) has_values: bool,
}

/// The shape of a text; `None` where a value could matter.
pub(super) fn of(text: &[u8]) -> Option<Shape> {
    let (mut shape, mut has_values) = (Vec::with_capacity(text.len()), false);
    let mut place = Place::default();
    let mut end = 0;
    for token in tokens(text, StringMode::Standard) {
        // Comments and white space are one gap; that there is one shows in the text that records tell.
        if token.kind.is_comment() {
            continue;
        }
        shape.push(if token.range.start > end { b' ' } else { JOINT });
        end = token.range.end;
        let bytes = text.get(token.range.clone())?;
        match sign(&token) {
            Some(sign) => {
                if !token.closed || !place.takes_a_value() {
                    return None;
                }
                shape.extend_from_slice(sign);
                has_values = true;
            }
            None => shape.extend_from_slice(bytes),
        }
        place.step(&token, bytes)?;
    }
    Some(Shape { text: shape, has_values })
}

/// Whether these facts hold for every text of the shape.
pub(super) fn is_general(facts: &Facts) -> bool {
    match facts.statements.as_slice() {
        [only] => {
            only.kinds.iter().all(|kind| matches!(kind, Kind::Read | Kind::Write))
                && only.effects.is_empty()
                && only.opaque.is_empty()
                && !only.session_local
        }
        _ => false,
    }
}

/// What stands for a value. Each form has its own sign: they can mean different types, and records tell them apart.
const fn sign(token: &Token) -> Option<&'static [u8]> {
    match token.kind {
        TokenKind::Number => Some(b"\x010"),
        TokenKind::String => Some(b"\x01'"),
        TokenKind::EscapeString => Some(b"\x01e"),
        TokenKind::UnicodeString => Some(b"\x01u"),
        TokenKind::NationalString => Some(b"\x01n"),
        TokenKind::BitString => Some(b"\x01b"),
        TokenKind::HexString => Some(b"\x01x"),
        TokenKind::DollarString => Some(b"\x01$"),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    /// A value cannot be plain here.
    #[default]
    Other,
    /// An operator, BETWEEN, LIKE, or the AND of a BETWEEN.
    Operand,
    /// IN or VALUES: the parenthesis that follows is a list.
    List,
    /// A list has just ended; a comma may begin the next.
    EndOfList,
    /// A comma or the beginning of a list.
    Element,
    /// A comma between two lists of VALUES.
    BetweenLists,
    /// A value: a cast may follow, and then it matters.
    Value,
}

#[derive(Debug, Default)]
struct Place {
    before: Before,
    /// For each open parenthesis, whether it is a list of values.
    open: Vec<bool>,
}

impl Place {
    fn takes_a_value(&self) -> bool {
        matches!(self.before, Before::Operand | Before::Element)
    }

    /// One token on; `None` where the value before it mattered after all, or the text is too deep.
    fn step(&mut self, token: &Token, bytes: &[u8]) -> Option<()> {
        let in_list = self.open.last().copied().unwrap_or(false);
        self.before = match token.kind {
            _ if self.before == Before::Value && matches!(bytes, b"::" | b"." | b"[") => return None,
            TokenKind::Number => Before::Value,
            kind if kind.is_string() => Before::Value,
            TokenKind::Operator => Before::Operand,
            TokenKind::Word => word(bytes),
            TokenKind::Punct => match bytes {
                b"(" => {
                    let list = matches!(self.before, Before::List | Before::BetweenLists);
                    if self.open.len() >= DEPTH_MAX {
                        return None;
                    }
                    self.open.push(list);
                    if list { Before::Element } else { Before::Other }
                }
                b")" => {
                    self.open.pop();
                    if in_list { Before::EndOfList } else { Before::Other }
                }
                b"," if in_list => Before::Element,
                b"," if self.before == Before::EndOfList => Before::BetweenLists,
                _ => Before::Other,
            },
            _ => Before::Other,
        };
        Some(())
    }
}

fn word(bytes: &[u8]) -> Before {
    let is = |words: &[&str]| words.iter().any(|word| bytes.eq_ignore_ascii_case(word.as_bytes()));
    if is(&["in", "values"]) {
        Before::List
    } else if is(&["between", "and", "like", "ilike"]) {
        Before::Operand
    } else {
        Before::Other
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scan::mask;
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let one = of(one.as_bytes());
        one.is_some() && one == of(other.as_bytes())
    }

    #[test]
    fn texts_that_differ_in_operands_are_one_shape() {
        assert!(same("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id  =  4711 -- why"));
        assert!(same("UPDATE t SET a = a + -5 WHERE b = 'x'", "UPDATE t SET a = a + -7 WHERE b = 'y''z'"));
        assert!(same(
            "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')",
            "INSERT INTO t (a, b) VALUES (3, 'z'), (4, '')"
        ));
        assert!(same(
            "SELECT a FROM t WHERE b IN (1, 2) AND c BETWEEN 1 AND 2",
            "SELECT a FROM t WHERE b IN (3, 4) AND c BETWEEN 5 AND 6"
        ));
    }

    #[test]
    fn a_value_that_could_change_what_is_touched_has_no_shape() {
        for text in [
            "SELECT a FROM t LIMIT 10",
            "SELECT a FROM t ORDER BY 1",
            "SELECT a, b FROM t ORDER BY a, 2",
            "SELECT query_to_xml('SELECT email FROM customers', true, true, '')",
            "SELECT set_config('search_path', 'x', false)",
            "SELECT a FROM t WHERE oid = 'customers'::regclass",
            "SELECT nextval('s')",
            "SELECT a FROM t WHERE b = 'never closed",
            "SELECT a FROM t TABLESAMPLE system (5)",
            "SELECT a FROM t WHERE b = ANY ('{1}')",
            "SELECT DATE '2020-01-01'",
        ] {
            assert_eq!(of(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn another_relation_or_another_form_of_value_is_another_shape() {
        assert!(!same("SELECT a FROM t WHERE id = 1", "SELECT a FROM u WHERE id = 1"));
        assert!(!same("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = '1'"));
        assert!(!same("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = E'1'"));
        assert!(!same("SELECT \"A\" FROM t", "SELECT a FROM t"));
    }

    proptest! {
        /// Records of one shape share their text: it must be the text that each of them would get by itself.
        #[test]
        fn texts_of_one_shape_are_masked_alike(one in text(), other in text()) {
            if same(&one, &other) {
                prop_assert_eq!(mask(&one, StringMode::Standard), mask(&other, StringMode::Standard));
            }
        }
    }

    /// Texts of few words, so that two of them often have one shape.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec!["a", "=", "1", "22", "'x'", "E'x'", "b'1'", "(", ")", ",", "in", "-"]);
        let gap = prop::sample::select(vec!["", " ", "  ", "/* why */", " -- why\n"]);
        prop::collection::vec((piece, gap), 1..4)
            .prop_map(|pieces| pieces.iter().flat_map(|(piece, gap)| [*piece, *gap]).collect())
    }
}
