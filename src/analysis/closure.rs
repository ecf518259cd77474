//! The definitions that give a text its meaning: of all that it may name, and of all that those name in turn.
//!
//! A superset by names: whatever in the catalog is called by a word of the text counts, in whatever schema, and so does
//! what the definitions so found are written in. So a view, a function, a trigger, a policy or a domain cannot change
//! behind a text without the set changing, whether or not the text reaches it.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use ring::digest;

use super::scan::{StringMode, Token, TokenKind, tokens};
use crate::catalog::{Catalog, Function, Oid, Relation, fold};

/// The longest operator name that is looked for, bytes.
const OPERATOR_MAX: usize = 63;
/// A string literal that is longer names nothing.
const NAME_MAX: usize = 256;

/// One line for each definition, in the order of its text. Statistics are left out: they change without anything changing.
#[must_use]
pub fn definitions<'a>(catalog: &Catalog, texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut closure =
        Closure { catalog, lines: BTreeSet::new(), seen: HashSet::new(), oids: HashSet::new(), due: vec![] };
    for text in texts {
        closure.names_in(text);
    }
    for cast in catalog.casts() {
        closure.line(format!("cast {} {} {}", cast.source, cast.target, cast.function));
        closure.function_by_oid(cast.function);
    }
    while let Some(name) = closure.due.pop() {
        closure.named(&name);
    }
    closure.lines
}

struct Closure<'a> {
    catalog: &'a Catalog,
    lines: BTreeSet<String>,
    /// Names that were looked up or will be.
    seen: HashSet<String>,
    /// Relations and functions that are in already.
    oids: HashSet<(char, Oid)>,
    due: Vec<String>,
}

impl Closure<'_> {
    fn line(&mut self, line: String) {
        self.lines.insert(line);
    }

    fn name(&mut self, name: String) {
        if self.seen.insert(name.clone()) {
            self.due.push(name);
        }
    }

    fn names_in(&mut self, text: &str) {
        for token in tokens(text.as_bytes(), StringMode::Standard) {
            let Some(word) = text.get(token.range) else { continue };
            match token.kind {
                TokenKind::Word => self.name(fold(word)),
                TokenKind::QuotedIdent if word.starts_with(['u', 'U']) => self.everything(),
                TokenKind::QuotedIdent => self.name(word.trim_matches('"').replace("\"\"", "\"")),
                TokenKind::Operator => self.operators(word),
                // A body in dollars is SQL as a whole; a short literal may name a relation: 'orders'::regclass.
                TokenKind::DollarString => self.names_in(word.trim_matches('$')),
                kind if kind.is_string() && word.len() <= NAME_MAX => {
                    for part in word.split(|letter: char| !letter.is_alphanumeric() && letter != '_') {
                        self.name(fold(part));
                    }
                }
                _ => {}
            }
        }
    }

    /// A name that is spelled in code points: nothing is left out.
    fn everything(&mut self) {
        self.line(format!("all {}", self.catalog.signature()));
    }

    fn operators(&mut self, run: &str) {
        if !self.seen.insert(run.to_owned()) {
            return;
        }
        let run = run.get(..run.len().min(OPERATOR_MAX)).unwrap_or_default();
        let catalog = self.catalog;
        for start in 0..run.len() {
            for end in start + 1..=run.len() {
                for operator in run.get(start..end).map_or(&[][..], |name| catalog.operators(name)) {
                    self.line(format!("operator {operator:?}"));
                    self.function_by_oid(operator.function);
                }
            }
        }
    }

    fn named(&mut self, name: &str) {
        let catalog = self.catalog;
        for relation in catalog.relations_named(name) {
            self.relation(relation);
        }
        for function in catalog.functions_named(name) {
            self.function(function);
        }
        for oid in catalog.types_named(name) {
            self.type_of(oid);
        }
    }

    fn relation(&mut self, relation: &Relation) {
        if relation.is_built_in() || !self.oids.insert(('r', relation.oid)) {
            return;
        }
        let Relation { oid, schema, name, kind, row_security, parents, columns, definition, .. } = relation;
        self.line(format!(
            "relation {oid} {schema}.{name} {kind:?} {row_security} {parents:?} {columns:?} {definition:?}"
        ));
        self.line(format!("of {oid} {:?} {:?} {:?}", relation.rules, relation.policies, relation.triggers));
        self.line(format!("of {oid} {:?} {:?} {:?}", relation.expressions, relation.references, relation.keys));
        let rules = relation.rules.iter().map(|rule| &rule.definition);
        let policies = relation.policies.iter().flat_map(|policy| policy.using.iter().chain(&policy.check));
        let expressions = relation.expressions.iter().map(|expression| &expression.text);
        let defaults = columns.iter().filter_map(|column| column.default.as_ref());
        let conditions = relation.triggers.iter().filter_map(|trigger| trigger.definition.as_ref());
        for text in definition.iter().chain(rules).chain(policies).chain(expressions).chain(defaults).chain(conditions)
        {
            self.names_in(text);
        }
        for column in columns {
            self.type_of(column.type_oid);
        }
        for trigger in &relation.triggers {
            self.function_by_oid(trigger.function);
        }
        let catalog = self.catalog;
        let children = catalog.family(*oid).into_iter().skip(1);
        let referring = relation.references.iter().filter_map(|reference| catalog.relation(reference.from));
        for other in children.chain(referring) {
            self.name(other.name.to_string());
        }
    }

    fn function_by_oid(&mut self, oid: Oid) {
        let catalog = self.catalog;
        if let Some(function) = catalog.function(oid) {
            self.function(function);
        }
    }

    fn function(&mut self, function: &Function) {
        if function.is_built_in() || !self.oids.insert(('f', function.oid)) {
            return;
        }
        let Function { oid, schema, name, language, volatility, arguments, returns, definer, owner, .. } = function;
        self.line(format!(
            "function {oid} {schema}.{name} {language} {volatility} {arguments:?} {returns} {definer} {owner}"
        ));
        let (source, body) = (&function.source, &function.body);
        self.line(format!("of {oid} {source:?} {body:?} {:?} {:?}", function.settings, function.default_values));
        for text in source.iter().chain(body).chain(&function.default_values) {
            self.names_in(text);
        }
    }

    fn type_of(&mut self, oid: Oid) {
        let Some(found) = self.catalog.type_of(oid).filter(|found| found.is_made_by_people()) else { return };
        if !self.oids.insert(('t', oid)) {
            return;
        }
        self.line(format!("type {found:?}"));
        for check in &found.checks {
            self.names_in(check);
        }
        for inner in [found.base, found.element, found.subtype] {
            self.type_of(inner);
        }
    }
}

/// SHA-256, hex, of a statement as a bundle knows it: its tokens without blanks, comments and semicolons around them. Tools
/// indent what they print otherwise than what they send; how many blanks stand between two tokens means nothing. That some
/// do counts, and so does every byte of literals, bodies, names and comments within.
#[must_use]
pub fn bundle_digest(text: &[u8]) -> String {
    let own = text.get(solid(text)).unwrap_or_default();
    let mut context = digest::Context::new(&digest::SHA256);
    let mut end = 0;
    for Token { range, .. } in tokens(own, StringMode::Standard) {
        context.update(&[u8::from(range.start > end)]);
        context.update(&u64::try_from(range.len()).unwrap_or(u64::MAX).to_be_bytes());
        end = range.end;
        context.update(own.get(range).unwrap_or_default());
    }
    crate::ids::hex(context.finish().as_ref())
}

/// Where a statement's own text lies: without blanks, comments and semicolons around it.
#[must_use]
pub fn solid(text: &[u8]) -> Range<usize> {
    let own = |token: &Token| !token.kind.is_comment() && text.get(token.range.clone()) != Some(b";");
    let mut solid = tokens(text, StringMode::Standard).filter(own);
    let Some(first) = solid.next() else { return 0..0 };
    first.range.start..solid.last().map_or(first.range.end, |last| last.range.end)
}

/// SHA-256, hex, over what gives the texts of a bundle their meaning: role, search path, definitions.
#[must_use]
pub fn bundle_basis(catalog: &Catalog, text: &str, search_path: &[String], role: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let lines = definitions(catalog, [text]);
    for part in [role].into_iter().chain(search_path.iter().map(String::as_str)).chain(lines.iter().map(String::as_str))
    {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    crate::ids::hex(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_of_a_bundle_is_the_same_however_it_is_indented_and_another_one_in_every_other_respect() {
        let of = |text: &str| bundle_digest(text.as_bytes());
        let one = of("CREATE TABLE t (\n    a text DEFAULT 'x y', -- c\n    b int\n)");
        for same in [
            "\nCREATE TABLE t (\n\ta text DEFAULT 'x y', -- c\n\tb int\n)\n\n",
            "-- first\nCREATE  TABLE\tt (\r\n a text DEFAULT 'x y', -- c\n b int\n) ;",
        ] {
            assert_eq!(of(same), one, "{same}");
        }
        for other in [
            "CREATE TABLE t (\n    a text DEFAULT 'x  y', -- c\n    b int\n)",
            "CREATE TABLE t (\n    a text DEFAULT 'x y', -- c b int\n)",
            "CREATE TABLE t (\n    a text DEFAULT 'x y', --  c\n    b int\n)",
            "CREATE TABLE t (\n    a text DEFAULT 'x y',\n    b int\n)",
            "CREATE TABLE t(\n    a text DEFAULT 'x y', -- c\n    b int\n)",
            "CREATE TABLE \"t\" (\n    a text DEFAULT 'x y', -- c\n    b int\n)",
        ] {
            assert_ne!(of(other), one, "{other}");
        }
        assert_ne!(of("SELECT $$a b$$"), of("SELECT $$a  b$$"));
        assert_ne!(of("SELECT 'a'\n'b'"), of("SELECT 'a' 'b'"));
        assert_ne!(of("SELECT 1 -- c\n, x"), of("SELECT 1 -- c , x"));
        assert_ne!(of("SELECT - -1"), of("SELECT --1"));
    }
}
