//! One pass over the text before any parser sees it: what would make a lexer or a parser slow or overflow is refused.

use super::context::{Context, Rejected};
use super::scan::{StringMode, TokenKind, tokens};

/// How deep a statement may nest.
pub const DEPTH_MAX: usize = 2_500;
/// How deep comments may nest: each level costs Postgres's lexer another look at the rest.
pub const COMMENT_DEPTH_MAX: usize = 32;
/// Longest operator: Postgres refuses longer ones.
pub const OPERATOR_MAX: usize = 63;

/// What the pass found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prescan {
    /// No syntax tree of the text is deeper than about this.
    pub(super) depth: usize,
    /// A plain string holds a backslash.
    pub(super) backslash: bool,
}

/// One open parenthesis, bracket or CASE.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators since the last comma: they can hang one below the other.
    operators: usize,
    /// Joins and set operations since the level opened: so can they.
    chained: usize,
    case: bool,
}

/// Looks at every token once.
///
/// # Errors
/// A text over one of the bounds.
pub(super) fn prescan(text: &[u8], context: &Context<'_>) -> Result<Prescan, Rejected> {
    if text.len() > context.statement_max {
        return Err(Rejected::TooLarge { bytes: text.len(), max: context.statement_max });
    }
    let mode = if context.standard_conforming_strings { StringMode::Standard } else { StringMode::Backslash };
    let mut levels = vec![Level::default()];
    let mut below = 0;
    let mut depth = 0;
    let mut backslash = false;
    for token in tokens(text, mode) {
        let bytes = text.get(token.range).unwrap_or_default();
        match token.kind {
            TokenKind::BlockComment => comment_depth(bytes)?,
            TokenKind::Operator if bytes.len() > OPERATOR_MAX => {
                return Err(Rejected::OperatorTooLong { max: OPERATOR_MAX });
            }
            TokenKind::String | TokenKind::NationalString => backslash |= bytes.contains(&b'\\'),
            _ => {}
        }
        step(&mut levels, &mut below, token.kind, bytes);
        let top = levels.last().map_or(0, |level| level.operators + level.chained);
        depth = depth.max(below + levels.len() + top);
        if depth > DEPTH_MAX {
            return Err(Rejected::TooDeep { max: DEPTH_MAX });
        }
    }
    Ok(Prescan { depth, backslash })
}

/// Moves the levels over one token; `below` is the sum of all but the last.
fn step(levels: &mut Vec<Level>, below: &mut usize, kind: TokenKind, bytes: &[u8]) {
    match (kind, bytes) {
        (TokenKind::Punct, b"(" | b"[") => open(levels, below, false),
        (TokenKind::Punct, b")" | b"]") => {
            while levels.last().is_some_and(|level| level.case) {
                close(levels, below);
            }
            close(levels, below);
        }
        (TokenKind::Punct, b",") => {
            if let Some(level) = levels.last_mut() {
                level.operators = 0;
            }
        }
        (TokenKind::Punct, b";") => {
            if let Some(level) = levels.last_mut() {
                *level = Level { case: level.case, ..Level::default() };
            }
        }
        (TokenKind::Operator, _) | (TokenKind::Punct, b"::" | b".") => {
            if let Some(level) = levels.last_mut() {
                level.operators += 1;
            }
        }
        (TokenKind::Word, word) => step_word(levels, below, word),
        _ => {}
    }
}

fn step_word(levels: &mut Vec<Level>, below: &mut usize, word: &[u8]) {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    if is("case") {
        open(levels, below, true);
    } else if is("end") {
        if levels.last().is_some_and(|level| level.case) {
            close(levels, below);
        }
    } else if is("and") || is("or") {
        // The grammar flattens chains of these.
        if let Some(level) = levels.last_mut() {
            level.operators = 0;
        }
    } else if STACKING.iter().any(|name| is(name)) {
        if let Some(level) = levels.last_mut() {
            level.operators += 1;
        }
    } else if CHAINING.iter().any(|name| is(name))
        && let Some(level) = levels.last_mut()
    {
        level.chained += 1;
    }
}

/// Words that put one expression on top of another.
const STACKING: &[&str] = &[
    "not", "is", "isnull", "notnull", "collate", "like", "ilike", "similar", "between", "in", "at", "overlaps",
    "escape", "operator",
];
/// Words that put one query or table on top of another.
const CHAINING: &[&str] = &["union", "intersect", "except", "join", "explain"];

fn open(levels: &mut Vec<Level>, below: &mut usize, case: bool) {
    *below += levels.last().map_or(0, |level| level.operators + level.chained);
    levels.push(Level { case, ..Level::default() });
}

fn close(levels: &mut Vec<Level>, below: &mut usize) {
    if levels.len() > 1 {
        levels.pop();
        *below = below.saturating_sub(levels.last().map_or(0, |level| level.operators + level.chained));
    }
}

fn comment_depth(comment: &[u8]) -> Result<(), Rejected> {
    let mut depth = 0_usize;
    let mut rest = comment;
    loop {
        rest = match rest {
            [b'/', b'*', tail @ ..] => {
                depth += 1;
                if depth > COMMENT_DEPTH_MAX {
                    return Err(Rejected::CommentsTooDeep { max: COMMENT_DEPTH_MAX });
                }
                tail
            }
            [b'*', b'/', tail @ ..] => {
                depth = depth.saturating_sub(1);
                tail
            }
            [_, tail @ ..] => tail,
            [] => return Ok(()),
        };
    }
}

#[cfg(test)]
#[path = "prescan_tests.rs"]
mod tests;
