//! What a logical stream of `pgoutput` is subscribed to, and what its publications let out.

use std::collections::BTreeSet;

use super::{Token, reveal, tokens};
use crate::analysis::facts::{Bound, StatementFacts};
use crate::catalog::Catalog;

/// Bytes of a name that the server keeps (`NAMEDATALEN - 1`).
const NAME_MAX: usize = 63;

/// The slot and the publications that `START_REPLICATION` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The slot.
    pub slot: String,
    /// The publications.
    pub publications: Vec<String>,
}

/// A table as a publication has it. Which of its rows are left out changes nothing of what its columns say.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Published {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The columns that are sent; `None`: all of them.
    pub columns: Option<Vec<String>>,
}

/// What a command subscribes to. `None`: it names no publications, or anything about it is unusual; then it counts as
/// carrying the whole database.
#[must_use]
pub fn subscribed(text: &[u8]) -> Option<Subscribed> {
    let tokens: Vec<Token> = tokens(text).into_iter().collect::<Option<_>>()?;
    let tokens = match tokens.as_slice() {
        [rest @ .., Token::Sign(b';')] => rest,
        all => all,
    };
    let [Token::Word(start), Token::Word(word), slot, Token::Word(logical), Token::Place, rest @ ..] = tokens else {
        return None;
    };
    let [Token::Sign(b'('), options @ .., Token::Sign(b')')] = rest else { return None };
    if start != "START_REPLICATION" || word != "SLOT" || logical != "LOGICAL" {
        return None;
    }
    let mut publications = None;
    let mut seen = BTreeSet::new();
    for option in options.split(|token| *token == Token::Sign(b',')) {
        let [name, Token::Literal(value)] = option else { return None };
        let name = identifier(name)?;
        match name.as_str() {
            "publication_names" => publications = Some(names(value)?),
            "proto_version" | "binary" | "streaming" | "two_phase" | "origin" => {}
            // Messages carry whatever somebody has written into the log; of other options nobody knows.
            _ => return None,
        }
        if !seen.insert(name) {
            return None;
        }
    }
    Some(Subscribed { slot: identifier(slot)?, publications: publications.filter(|names| !names.is_empty())? })
}

fn identifier(token: &Token) -> Option<String> {
    let name = match token {
        Token::Word(word) => word.to_ascii_lowercase(),
        Token::Quoted(name) => name.clone(),
        _ => return None,
    };
    fits(name)
}

/// A longer name would be cut, and one with letters beyond ASCII is folded as the server's locale has it.
fn fits(name: String) -> Option<String> {
    (!name.is_empty() && name.len() <= NAME_MAX && name.is_ascii() && !name.contains('\0')).then_some(name)
}

/// A list of names as `SplitIdentifierString` reads it.
fn names(list: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = list.trim_matches(is_space);
    loop {
        let (name, behind) = if let Some(inner) = rest.strip_prefix('"') {
            quoted(inner)?
        } else {
            let end = rest.find(|letter| letter == ',' || is_space(letter)).unwrap_or(rest.len());
            let (name, behind) = rest.split_at_checked(end)?;
            (name.to_ascii_lowercase(), behind)
        };
        found.push(fits(name)?);
        rest = behind.trim_start_matches(is_space);
        if rest.is_empty() {
            return Some(found);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(is_space);
    }
}

/// `scanner_isspace`.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// What stands before the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('"')?;
        name.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

/// The published columns leave, of a partitioned table those of its partitions too.
pub(super) fn export(facts: &mut StatementFacts, catalog: &Catalog, published: &[Published]) {
    (facts.packs, facts.bound) = (true, Bound::Unbounded);
    facts.findings.push(
        "it carries every change of what its publications have, from then on, until somebody ends it; tables that are \
         added to them meanwhile are carried too, and what was written before is sent as it was published then"
            .to_owned(),
    );
    for table in published {
        let Some(relation) = catalog.relation_in(&table.schema, &table.name) else {
            facts.cannot_know("a published table is not known");
            continue;
        };
        let carries = |column: &str| table.columns.as_ref().is_none_or(|some| some.iter().any(|one| one == column));
        for part in catalog.family(relation.oid) {
            reveal(facts, catalog, part, carries);
        }
    }
}
