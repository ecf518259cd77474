//! Statements that the server may plan before anybody has decided, because planning them runs nothing that people wrote.
//!
//! The planner runs immutable and stable functions, operators over its statistics, the checks of domains that a literal
//! becomes, and what is constant in index expressions, checks and partition keys. Whatever of these is not the server's
//! own, or not of an extension that is known to compute alone, keeps the whole statement from being planned, and so does
//! everything that is not known.

use std::collections::BTreeSet;

use super::analyzer::{Analyzer, relation_scope, stored};
use super::builtins::{self, Builtin};
use super::context::{Context, Encoding};
use super::facts::{Kind, StatementFacts};
use super::parse::{Node, parse, walk_all};
use super::prescan::prescan;
use super::scan::{StringMode, Token, TokenKind, tokens};
use super::work::Work;
use super::{CACHED_TEXT_MAX, SHALLOW, SHALLOW_LEVELS, analyze};
use crate::catalog::{Language, Oid, Relation, RelationKind, SearchPath};

/// A query that may be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plannable {
    /// The statement itself, or the query inside a COPY or DECLARE.
    pub query: String,
    /// It has parameters, without whose values it cannot be planned.
    pub parameters: bool,
}

/// The query whose plan says how much a statement brings back; `None` where planning it could run people's code, where
/// anything about that is unknown, and for statements that do more than read.
///
/// `types` are those of the parameters as the client gave them, 0 where it left them to the server.
#[must_use]
pub fn plannable(text: &[u8], types: &[Oid], context: &Context<'_>) -> Option<Plannable> {
    if !context.standard_conforming_strings || context.encoding != Encoding::Safe || text.len() > CACHED_TEXT_MAX {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    if prescan(text.as_bytes(), context).ok()?.depth > SHALLOW || parse(text).ok()?.statements(text).count() != 1 {
        return None;
    }
    let query = query_in(text)?;
    // What is looked at below is the very text that will be planned, not the one around it.
    let facts = analyze(query.as_bytes(), context).ok()?;
    let [statement] = facts.statements.as_slice() else { return None };
    if !only_reads(statement) {
        return None;
    }
    let work = Work::new(context.work_max);
    let mut analyzer = Analyzer::new(context, &work, SHALLOW_LEVELS);
    let quiet = analyzer.knows_types_of(query)
        && analyzer.has_only_quiet_code()
        && statement.relations.iter().all(|name| {
            analyzer.catalog().relation_in(&name.schema, &name.name).is_some_and(|found| analyzer.plans_quietly(found))
        })
        && types.iter().all(|oid| analyzer.reads_quietly(*oid, &mut BTreeSet::new()))
        && analyzer.met_nothing();
    let parameters = tokens(query.as_bytes(), StringMode::Standard).any(|token| token.kind == TokenKind::Param);
    quiet.then(|| Plannable { query: query.to_owned(), parameters })
}

/// A plain query that calls nothing but the server's own harmless functions.
fn only_reads(facts: &StatementFacts) -> bool {
    facts.pure_read
        && facts.opaque.is_empty()
        && facts.functions.is_empty()
        && facts.effects.is_empty()
        && !facts.session_local
        && facts.kinds.iter().eq([&Kind::Read])
}

/// The query of a statement: the text itself, or the part of a `COPY (…) TO` or `DECLARE … FOR` that is one.
fn query_in(text: &str) -> Option<&str> {
    let all: Vec<Token> =
        tokens(text.as_bytes(), StringMode::Standard).filter(|token| !token.kind.is_comment()).collect();
    let word = |token: &Token, word: &str| {
        token.kind == TokenKind::Word
            && text.get(token.range.clone()).is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    let first = all.first()?;
    if word(first, "copy") {
        return in_parentheses(text, all.get(1..)?);
    }
    if word(first, "declare") {
        // A cursor cannot be called FOR without quotes.
        let at = all.iter().position(|token| word(token, "for"))?;
        return text.get(all.get(at)?.range.end..);
    }
    Some(text)
}

/// What stands between a parenthesis that the tokens begin with and the one that closes it.
fn in_parentheses<'t>(text: &'t str, tokens: &[Token]) -> Option<&'t str> {
    let mut depth = 0_usize;
    let start = tokens.first()?;
    for token in tokens {
        match text.get(token.range.clone())? {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            // Without a parenthesis at its beginning this is the first token, and there is nothing between.
            return text.get(start.range.end..token.range.start);
        }
    }
    None
}

impl Analyzer<'_> {
    /// Whether every type that the text names is in the catalog.
    fn knows_types_of(&self, query: &str) -> bool {
        let Ok(tree) = parse(query) else { return false };
        let mut known = true;
        for statement in tree.statements(query) {
            walk_all(statement.node, |node| {
                if let Node::TypeName(name) = node {
                    known &= self.type_named(name) != 0;
                }
                true
            });
        }
        known
    }

    /// Whether what runs without being written is harmless: operators, casts, support of operator classes and ranges.
    fn has_only_quiet_code(&self) -> bool {
        let catalog = self.catalog();
        catalog.own_operators().all(|operator| self.is_quiet_code(operator.function))
            && catalog.casts().iter().all(|cast| cast.function == 0 || self.is_quiet_code(cast.function))
            && catalog.support().iter().all(|oid| self.is_quiet_code(*oid))
    }

    /// A function that computes from its arguments alone, as far as that is known of the server's and of extensions'.
    fn is_quiet_code(&self, oid: Oid) -> bool {
        let Some(function) = self.catalog().function(oid) else { return false };
        if function.is_built_in() {
            return matches!(builtins::builtin(&function.name), None | Some(Builtin::Packs | Builtin::Speaks));
        }
        function.language() == Language::Compiled
            && function.extension.is_some()
            && builtins::extension(function.extension.as_deref(), &function.name).is_none()
    }

    /// Reads what the planner computes of a relation and of what is below it; false for what it asks others about.
    fn plans_quietly(&mut self, relation: &Relation) -> bool {
        let family: Vec<_> = self.catalog().family(relation.oid).into_iter().cloned().collect();
        family.iter().all(|member| {
            if !member.is_made_by_people() {
                return true;
            }
            let stores = matches!(member.kind, RelationKind::Table | RelationKind::Partitioned | RelationKind::Matview);
            stores && self.computes_quietly(member)
        })
    }

    fn computes_quietly(&mut self, relation: &Relation) -> bool {
        let fields = stored(relation);
        let scope = relation_scope(relation, &fields);
        let path = std::mem::replace(&mut self.path, SearchPath::of_definitions(self.context.catalog));
        let generated =
            relation.columns.iter().filter(|column| column.generated).filter_map(|column| column.default.as_ref());
        for text in relation.expressions.iter().map(|expression| &expression.text).chain(generated) {
            self.expression_text(text, &scope);
        }
        self.path = path;
        relation.columns.iter().all(|column| self.reads_quietly(column.type_oid, &mut BTreeSet::new()))
    }

    /// Whether a literal becomes a value of the type without people's code; the checks of domains are read on the way.
    fn reads_quietly(&mut self, oid: Oid, seen: &mut BTreeSet<Oid>) -> bool {
        let catalog = self.catalog();
        let Some(found) = catalog.type_of(oid) else { return oid == 0 };
        if !found.is_made_by_people() || !seen.insert(oid) {
            return true;
        }
        self.type_checks(oid);
        let columns = catalog.relation(found.relation).map(|row| row.columns.as_slice()).unwrap_or_default();
        let parts =
            [found.base, found.element, found.subtype].into_iter().chain(columns.iter().map(|one| one.type_oid));
        let plain = found.kind != 'b' || found.element != 0 || self.is_read_by_quiet_code(oid);
        plain && parts.collect::<Vec<_>>().into_iter().all(|part| self.reads_quietly(part, seen))
    }

    /// Whether all that makes a base type from a text is harmless; a type that nothing makes is not known.
    fn is_read_by_quiet_code(&self, oid: Oid) -> bool {
        const CSTRING: Oid = 2275;
        let inputs =
            self.catalog().functions().filter(|one| one.returns == oid && one.arguments.first() == Some(&CSTRING));
        let mut inputs = inputs.peekable();
        inputs.peek().is_some() && inputs.all(|one| self.is_quiet_code(one.oid))
    }

    /// Nothing of people's was met in what was read so far.
    fn met_nothing(&self) -> bool {
        self.touched.functions.is_empty()
            && self.touched.opaque.is_empty()
            && !self.touched.acts
            && !self.touched.session_local
            && !self.exhausted
    }
}
