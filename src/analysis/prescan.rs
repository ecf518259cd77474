//! One pass over the text before any parser sees it: what would make a lexer or a parser slow or overflow is refused.

use super::context::{Context, Rejected};
use super::scan::{StringMode, TokenKind, is_operator, tokens};

/// How deep a statement may nest.
pub const DEPTH_MAX: usize = 2_500;
/// How deep comments may nest: each level costs Postgres's lexer another look at the rest.
pub const COMMENT_DEPTH_MAX: usize = 32;
/// Longest operator: Postgres refuses longer ones.
pub const OPERATOR_MAX: usize = 63;
/// Bytes that Postgres's lexer may read twice in one run of operator characters: at each operator and each comment that
/// begins in a run it looks to the run's end, so that `/**//**/…` and `+++…` cost their length squared.
pub const LOOK_AHEAD_MAX: usize = 8_192;

/// Comments in a row: the parser's lexer goes one call down for each.
pub const COMMENTS_MAX: usize = 20_000;
/// Calls of the lexer that take no more stack than one level of a tree.
const COMMENTS_A_LEVEL: usize = 8;
/// Statements in one text.
pub const STATEMENTS_MAX: usize = 10_000;

/// What the pass found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prescan {
    /// No syntax tree of the text is deeper than about this.
    pub(super) depth: usize,
    /// How long a chain of operators can be where AND and OR are not flattened, as the second witness builds it.
    pub(super) chain: usize,
    /// A plain string holds a backslash.
    pub(super) backslash: bool,
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
    let mut nesting = Nesting::default();
    let mut runs = Runs { text, ..Runs::default() };
    let mut backslash = false;
    let mut semicolons = 0;
    let mut comments = 0;
    let mut comments_most = 0;
    for token in tokens(text, mode) {
        let start = token.range.start;
        let bytes = text.get(token.range).unwrap_or_default();
        match token.kind {
            TokenKind::BlockComment => runs.comment(start, bytes)?,
            TokenKind::Operator if bytes.len() > OPERATOR_MAX => {
                return Err(Rejected::OperatorTooLong { max: OPERATOR_MAX });
            }
            TokenKind::Operator => runs.begin(start)?,
            TokenKind::Punct if bytes == b";" => {
                semicolons += 1;
                if semicolons > STATEMENTS_MAX {
                    return Err(Rejected::TooManyStatements { max: STATEMENTS_MAX });
                }
            }
            TokenKind::String | TokenKind::NationalString => backslash |= bytes.contains(&b'\\'),
            _ => {}
        }
        if token.kind.is_comment() {
            comments += 1;
            comments_most = comments.max(comments_most);
            if comments > COMMENTS_MAX {
                return Err(Rejected::TooManyComments { max: COMMENTS_MAX });
            }
        } else {
            comments = 0;
            nesting.step(token.kind, bytes);
            if nesting.most.depth > DEPTH_MAX {
                return Err(Rejected::TooDeep { max: DEPTH_MAX });
            }
        }
    }
    let Height { depth, chain } = nesting.most;
    Ok(Prescan { depth: depth.max(comments_most / COMMENTS_A_LEVEL), chain, backslash })
}

/// One open parenthesis, bracket or CASE.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators that can hang one below the other.
    operators: usize,
    /// The same where AND and OR hang too.
    chain: usize,
    /// Joins and set operations since the level opened: they hang one below the other.
    chained: usize,
    case: bool,
    /// A BETWEEN waits for its AND, which parts nothing.
    between: bool,
}

impl Level {
    fn height(self) -> Height {
        Height { depth: self.operators + self.chained, chain: self.chain + self.chained }
    }
}

/// What levels add to the depth of a tree.
#[derive(Clone, Copy, Default)]
struct Height {
    depth: usize,
    chain: usize,
}

/// How deep the tree can be, as far as the tokens say.
struct Nesting {
    levels: Vec<Level>,
    /// The heights of all levels but the last.
    below: Height,
    most: Height,
    /// The token before was a dot: what follows is a name, whatever it spells.
    dotted: bool,
}

impl Default for Nesting {
    fn default() -> Self {
        let levels = vec![Level::default()];
        Self { levels, below: Height::default(), most: Height::default(), dotted: false }
    }
}

impl Nesting {
    fn step(&mut self, kind: TokenKind, bytes: &[u8]) {
        let dotted = std::mem::replace(&mut self.dotted, kind == TokenKind::Punct && bytes == b".");
        match (kind, bytes) {
            (TokenKind::Punct, b"(" | b"[") => self.open(Level::default()),
            (TokenKind::Punct, b")" | b"]") => {
                while self.levels.last().is_some_and(|level| level.case) {
                    self.close();
                }
                self.close();
            }
            (TokenKind::Punct, b",") => self.top(|level| (level.operators, level.chain) = (0, 0)),
            (TokenKind::Punct, b";") => self.top(|level| *level = Level { case: level.case, ..Level::default() }),
            (TokenKind::Operator, _) | (TokenKind::Punct, b"::" | b".") => self.hang(),
            (TokenKind::Word, word) if !dotted => self.word(word),
            _ => {}
        }
        let top = self.top_height();
        self.most.depth = self.most.depth.max(self.below.depth + self.levels.len() + top.depth);
        self.most.chain = self.most.chain.max(self.below.chain + self.levels.len() + top.chain);
    }

    fn word(&mut self, word: &[u8]) {
        let is = |name: &&str| word.eq_ignore_ascii_case(name.as_bytes());
        if is(&"case") {
            self.open(Level { case: true, ..Level::default() });
        } else if is(&"end") {
            if self.levels.last().is_some_and(|level| level.case) {
                self.close();
            }
        } else if is(&"and") && self.levels.last().is_some_and(|level| level.between) {
            self.top(|level| level.between = false);
        } else if PARTING.iter().any(is) {
            // The grammar flattens chains of AND and of OR; behind the others another expression begins.
            self.hang();
            self.top(|level| level.operators = 0);
        } else if STACKING.iter().any(is) {
            self.hang();
            self.top(|level| level.between |= is(&"between"));
        } else if CHAINING.iter().any(is) {
            self.top(|level| level.chained += 1);
        }
    }

    fn hang(&mut self) {
        self.top(|level| {
            level.operators += 1;
            level.chain += 1;
        });
    }

    fn top_height(&self) -> Height {
        self.levels.last().map(|level| level.height()).unwrap_or_default()
    }

    fn top(&mut self, change: impl FnOnce(&mut Level)) {
        if let Some(level) = self.levels.last_mut() {
            change(level);
        }
    }

    fn open(&mut self, level: Level) {
        let height = self.top_height();
        self.below.depth += height.depth;
        self.below.chain += height.chain;
        self.levels.push(level);
    }

    fn close(&mut self) {
        if self.levels.len() > 1 {
            self.levels.pop();
            let height = self.top_height();
            self.below.depth = self.below.depth.saturating_sub(height.depth);
            self.below.chain = self.below.chain.saturating_sub(height.chain);
        }
    }
}

/// Words between which no tree hangs below another: they part the operands of AND and OR, and one clause from the next.
const PARTING: &[&str] = &["and", "or", "when", "then", "else", "select", "where", "on", "having"];
/// Words that put one expression on top of another.
const STACKING: &[&str] = &[
    "not", "is", "isnull", "notnull", "collate", "like", "ilike", "similar", "between", "in", "at", "overlaps",
    "escape", "operator",
];
/// Words that put one query or table on top of another.
const CHAINING: &[&str] = &["union", "intersect", "except", "join", "explain"];

/// Runs of operator characters, comments among them, and what the lexer reads of them twice.
#[derive(Default)]
struct Runs<'a> {
    text: &'a [u8],
    end: usize,
    ahead: usize,
}

impl Runs<'_> {
    /// An operator or a comment begins here.
    fn begin(&mut self, at: usize) -> Result<(), Rejected> {
        if at >= self.end {
            let rest = self.text.get(at..).unwrap_or_default();
            self.end = at + rest.iter().take_while(|byte| is_operator(**byte)).count();
            self.ahead = 0;
        }
        self.ahead += self.end - at;
        // One look along the run is what it takes to read it at all.
        if self.ahead > LOOK_AHEAD_MAX && self.ahead > self.end - at {
            return Err(Rejected::RunTooLong { max: LOOK_AHEAD_MAX });
        }
        Ok(())
    }

    /// Comments within a comment begin anew.
    fn comment(&mut self, start: usize, comment: &[u8]) -> Result<(), Rejected> {
        let mut depth = 0_usize;
        let mut rest = comment;
        loop {
            rest = match rest {
                [b'/', b'*', tail @ ..] => {
                    depth += 1;
                    if depth > COMMENT_DEPTH_MAX {
                        return Err(Rejected::CommentsTooDeep { max: COMMENT_DEPTH_MAX });
                    }
                    self.begin(start + comment.len() - rest.len())?;
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
}

#[cfg(test)]
#[path = "prescan_tests.rs"]
mod tests;
