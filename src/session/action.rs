//! The hash that an approval is bound to: the statement, and all that gives it its meaning.

use std::collections::BTreeSet;

use ring::digest::{Context, SHA256};

use super::Session;
use super::clear::Form;
use super::run::Run;
use crate::analysis::definitions;
use crate::catalog::Catalog;
use crate::wire::frontend::bind_values;

/// SHA-256, hex, over statement, values, role, path, database, principal, the definitions of every object that the
/// statement touches, and the limits under which it was judged. Every part is preceded by its length, so that no two
/// actions give the same bytes.
pub(super) fn hash(session: &Session, run: &Run, form: &Form) -> String {
    let mut action = Action(Context::new(&SHA256));
    action.part(&run.text);
    action.part(match form {
        Form::Call(_) => b"call",
        Form::Binds(_) => b"many",
        _ => b"",
    });
    action.part(values(form).unwrap_or_default());
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
    if let Some(snapshot) = &session.snapshot {
        for line in closure(&snapshot.catalog, run) {
            action.part(line.as_bytes());
        }
    }
    for (index, facts) in run.facts.statements.iter().enumerate() {
        for (column, touched) in &facts.columns {
            action.part(format!("{column} {:?} {:?}", touched.access, touched.tags).as_bytes());
        }
        if let Some(part) = run.parts.get(index) {
            action.part(format!("{:?}", part.decision.limits).as_bytes());
        }
    }
    action.finish()
}

/// The values that come with a statement. By whichever protocol a text without values comes, it is the same action.
pub(super) fn values(form: &Form) -> Option<&[u8]> {
    match form {
        Form::Query => None,
        // What cannot be read carries some.
        Form::Bind(rest) | Form::Execute(rest) => {
            let none = rest.is_empty() || bind_values(rest).is_ok_and(|values| values.is_empty());
            (!none).then_some(rest)
        }
        Form::Binds(many) => Some(&many.digest),
        Form::Call(values) => Some(values),
    }
}

/// The definitions behind the text, and behind what it runs under another name: an EXECUTE, a FETCH, a call by number.
fn closure(catalog: &Catalog, run: &Run) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(&run.text);
    let statements = &run.facts.statements;
    let relations = statements.iter().flat_map(|facts| &facts.relations).map(|relation| relation.name.to_string());
    let functions = statements.iter().flat_map(|facts| &facts.functions);
    let functions = functions.map(|name| name.rsplit('.').next().unwrap_or(name).to_owned());
    let named: Vec<String> =
        relations.chain(functions).map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    definitions(catalog, named.iter().map(String::as_str).chain([&*text]))
}

struct Action(Context);

impl Action {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
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
