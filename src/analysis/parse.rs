//! The only module that knows the parser: Postgres's own grammar through `libpg_query`.

use super::scan::{self, StringMode};

pub(super) use pg_raw_parse::list::NodeList;
pub(super) use pg_raw_parse::walk::{Recurse, walk_manual};
pub(super) use pg_raw_parse::{ConstValue, Node, nodes, raw};

/// A target list.
pub(super) type TargetList = pg_raw_parse::list::CastNodeList<nodes::ResTarget>;

/// A parsed text.
pub(super) struct Tree(pg_raw_parse::Owned<pg_raw_parse::StmtList>);

/// One statement of a text.
pub(super) struct Parsed<'a> {
    pub(super) node: Node<'a>,
    /// Its bytes in the text, without the semicolon.
    pub(super) span: std::ops::Range<usize>,
}

/// Parses a text; the error is the parser's own sentence.
pub(super) fn parse(text: &str) -> Result<Tree, String> {
    let read = |text: &str| pg_raw_parse::parse(text).map(|result| Tree(result.into_inner()));
    // The parser looks one token ahead for `NULLS LAST`, `WITH TIME ZONE` and their kin, and a comment there hides it.
    read(text)
        .or_else(|error| without_comments(text).and_then(|plain| read(&plain).ok()).ok_or(error))
        .map_err(|error| error.to_string())
}

/// The text with spaces in place of its comments, each byte where it was; `None` where it has none.
fn without_comments(text: &str) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    for token in scan::tokens(text.as_bytes(), StringMode::Standard).filter(|token| token.kind.is_comment()) {
        bytes.get_mut(token.range)?.fill(b' ');
    }
    String::from_utf8(bytes).ok().filter(|plain| plain != text)
}

impl Tree {
    /// The statements in order.
    pub(super) fn statements<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Parsed<'a>> {
        self.0.iter().map(|raw| {
            let start = usize::try_from(raw.stmt_location).unwrap_or(0);
            let length = usize::try_from(raw.stmt_len).ok().filter(|length| *length > 0);
            let end = length.map_or(text.len(), |length| start + length).min(text.len());
            Parsed { node: raw.stmt(), span: start..end.max(start) }
        })
    }
}

/// The strings of a list of names; anything else in it is left out.
pub(super) fn strings(list: &NodeList) -> Vec<&str> {
    list.iter().filter_map(Node::as_str).collect()
}

/// The text of a constant: strings as they are, numbers as written.
pub(super) fn constant_text(node: Node<'_>) -> Option<String> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::String(text) | ConstValue::Float(text) => Some(text.to_owned()),
            ConstValue::Integer(number) => Some(number.to_string()),
            ConstValue::Boolean(flag) => Some(flag.to_string()),
            _ => None,
        },
        Node::TypeCast(cast) if cast.type_name().is_some_and(keeps_text) => constant_text(cast.arg()),
        _ => None,
    }
}

/// Whether a text that is read as this type stays as it is: `char(5)` and `name` would cut it.
fn keeps_text(name: &nodes::TypeName) -> bool {
    let last = name.names().iter().next_back().and_then(|name| name.sval());
    name.typmods().is_empty()
        && name.array_bounds().is_empty()
        && matches!(last, Some("text" | "varchar" | "regclass" | "unknown"))
}

/// A literal integer.
pub(super) fn constant_integer(node: Node<'_>) -> Option<u64> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::Integer(number) => u64::try_from(number).ok(),
            ConstValue::Float(text) => text.parse().ok(),
            _ => None,
        },
        Node::TypeCast(cast) => constant_integer(cast.arg()),
        _ => None,
    }
}

/// Visits a node and what is below it; the callback says whether to go below.
pub(super) fn walk_all<'a>(node: Node<'a>, mut visit: impl FnMut(Node<'a>) -> bool) {
    if matches!(node, Node::None) || !visit(node) {
        return;
    }
    walk_manual::<()>(node, |child| Recurse::recurse_if(visit(child)));
}
