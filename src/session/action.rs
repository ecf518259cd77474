//! The hash that an approval is bound to: the statement, and all that gives it its meaning.

use ring::digest::{Context, SHA256};

use super::Session;
use super::clear::Form;
use super::run::Run;
use crate::analysis::StatementFacts;
use crate::catalog::Catalog;

/// SHA-256, hex, over statement, values, role, path, database, principal, the definitions of every object that the
/// statement touches, and the limits under which it was judged. Every part is preceded by its length, so that no two
/// actions give the same bytes.
pub(super) fn hash(session: &Session, run: &Run, form: &Form) -> String {
    let mut action = Action(Context::new(&SHA256));
    action.part(&run.text);
    if let Form::Bind(values) | Form::Execute(values) | Form::Call(values) = form {
        action.part(values);
    }
    let principal = &session.who.principal;
    action.part(session.who.database.as_bytes());
    action.part(principal.name.as_bytes());
    action.part(principal.role.as_bytes());
    if let Some(names) = &session.settings.names {
        action.part(names.role.as_bytes());
        for schema in &names.search_path {
            action.part(schema.as_bytes());
        }
    }
    if run.facts.statements.iter().any(|facts| facts.session_local) {
        // What only this session can see is no other session's action.
        action.part(session.registration.id().to_string().as_bytes());
    }
    for (index, facts) in run.facts.statements.iter().enumerate() {
        for (column, touched) in &facts.columns {
            action.part(format!("{column} {:?} {:?}", touched.access, touched.tags).as_bytes());
        }
        if let Some(snapshot) = &session.snapshot {
            action.definitions(&snapshot.catalog, facts);
        }
        if let Some(part) = run.parts.get(index) {
            action.part(format!("{:?}", part.decision.limits).as_bytes());
        }
    }
    action.finish()
}

struct Action(Context);

impl Action {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
    }

    /// What gives the statement's names their meaning: relations with columns, defaults, rules, policies and triggers,
    /// and functions with their sources. Statistics are left out: they change without anything changing.
    fn definitions(&mut self, catalog: &Catalog, facts: &StatementFacts) {
        for name in &facts.relations {
            let Some(relation) = catalog.relation_in(&name.schema, &name.name) else {
                self.part(format!("no {name}").as_bytes());
                continue;
            };
            self.part(format!("{} {} {:?} {}", relation.oid, name, relation.kind, relation.row_security).as_bytes());
            self.part(format!("{:?}", relation.columns).as_bytes());
            self.part(format!("{:?} {:?}", relation.definition, relation.parents).as_bytes());
            self.part(format!("{:?} {:?} {:?}", relation.rules, relation.policies, relation.triggers).as_bytes());
            for trigger in &relation.triggers {
                self.part(
                    format!("{:?}", catalog.function(trigger.function).map(|function| &function.source)).as_bytes(),
                );
            }
        }
        for name in &facts.functions {
            let (schema, function) = name.split_once('.').unwrap_or(("", name));
            for function in catalog.functions_in(schema, function) {
                let meaning = (&function.oid, &function.source, &function.body, &function.settings, function.definer);
                self.part(format!("{meaning:?}").as_bytes());
            }
        }
    }

    fn finish(self) -> String {
        let digest = self.0.finish();
        digest
            .as_ref()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }
}
