//! The second witness: another parser's opinion on which relations a text names.
//!
//! It adds a relation only where the name means a tagged relation that the first witness did not touch; it never
//! removes anything and never makes a statement opaque.

use std::ops::ControlFlow;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query};
use sqlparser::ast::{Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::context::Context;
use super::facts::{Facts, RelationName, SessionEffect, StatementFacts};
use super::prescan::Prescan;
use crate::catalog::{SearchPath, clip, fold};

/// The relation names in a text, schema first; empty where the parser refuses it.
pub(super) fn relations(text: &str) -> Vec<(Option<String>, String)> {
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(RECURSION_MAX).try_with_sql(text);
    let Ok(statements) = parser.and_then(|mut parser| parser.parse_statements()) else { return Vec::new() };
    let mut names = Names::default();
    if statements.visit(&mut names).is_break() {
        return Vec::new();
    }
    let Names { mut found, ctes } = names;
    found.retain(|(schema, name)| schema.is_some() || !ctes.contains(name));
    found
}

/// Deeper texts are the first witness's alone.
const RECURSION_MAX: usize = 50;
/// So are those in which it would make a long chain: each link of AND, of OR and of operators hangs below the next, and
/// it takes them apart by recursion.
const CHAIN_MAX: usize = 500;
/// So are long ones: its trees take a hundred times the bytes of the text.
const TEXT_MAX: usize = 128 << 10;

/// Whether the witness is asked.
pub(super) const fn can_hear(text: &str, prescan: Prescan) -> bool {
    text.len() <= TEXT_MAX && prescan.chain <= CHAIN_MAX
}

#[derive(Default)]
struct Names {
    found: Vec<(Option<String>, String)>,
    ctes: Vec<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.extend(ctes.map(|cte| identifier(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts: Vec<String> = relation
            .0
            .iter()
            .filter_map(|part| match part {
                ObjectNamePart::Identifier(name) => Some(identifier(name)),
                ObjectNamePart::Function(_) => None,
            })
            .collect();
        match parts.as_slice() {
            [name] => self.found.push((None, name.clone())),
            [.., schema, name] => self.found.push((Some(schema.clone()), name.clone())),
            [] => {}
        }
        ControlFlow::Continue(())
    }
}

fn identifier(name: &Ident) -> String {
    if name.quote_style.is_some() { clip(&name.value).to_owned() } else { fold(&name.value) }
}

/// Adds the tagged relations that only the second witness saw.
pub(super) fn hear(context: &Context<'_>, names: &[(Option<String>, String)], facts: &mut Facts) {
    let path = SearchPath::new(context.catalog, context.search_path, context.role);
    for (schema, name) in names {
        let found = match schema {
            Some(schema) => context.catalog.relation_in(schema, name),
            None => context.catalog.find_relation(&path, name),
        };
        if let Some(relation) = found
            && relation.stores()
            && !relation.is_built_in()
            && context.catalog.is_tagged(relation)
        {
            let name = RelationName { schema: relation.schema.clone(), name: relation.name.clone() };
            let deferred =
                |facts: &StatementFacts| matches!(facts.effects.first(), Some(SessionEffect::Prepare { .. }));
            if !facts.statements.iter().any(|facts| facts.relations.contains(&name) || deferred(facts))
                // It does not say in which statement it saw the name.
                && let Some(last) = facts.statements.last_mut()
            {
                last.relations.insert(name);
            }
        }
    }
}
