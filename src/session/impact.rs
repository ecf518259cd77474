//! What a held statement meets: numbers of the card, from the catalog, from the server's locks, from history.

use super::Session;
use super::relay::End;
use super::run::Run;
use crate::analysis::{StatementFacts, TableLock, reversible, table_lock};
use crate::approvals::{Blocked, Impact, RelationImpact};
use crate::backend::locks::RelationLock;
use crate::catalog::{Catalog, Oid, Relation, RelationKind};
use crate::policy::Estimate;

/// Dependents that are named of one relation; a last entry says how many more there are.
const DEPENDENTS_MAX: usize = 20;
/// A page of a relation's main storage, bytes (`BLCKSZ` as it is built everywhere).
const PAGE: u64 = 8192;
/// An estimate of the planner's is no promise: so much more may leave without asking again.
const CAP_FACTOR: u64 = 2;
const CAP_SLACK_ROWS: u64 = 1000;
const CAP_SLACK_BYTES: u64 = 1 << 20;

impl Session {
    /// What the statement that decides meets now.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn impact(&mut self, run: &Run) -> Result<Impact, End> {
        let Some(facts) = run.facts_of(run.deciding()) else { return Ok(Impact::default()) };
        let catalog = self.snapshot.as_ref().map(|snapshot| snapshot.catalog.clone());
        let named = catalog.as_deref().map(|catalog| relations(catalog, facts)).unwrap_or_default();
        let oids: Vec<Oid> = named.iter().map(|relation| relation.oid).collect();
        let (services, database, pid) = (self.services.clone(), self.who.database.clone(), self.backend.1);
        let locks = self.wait_for(async move { services.databases.locks(&database, &oids, pid).await }).await?;
        let (approvals, principal) = (self.services.approvals.clone(), self.who.principal.name.clone());
        let before = self.wait_for(async move { approvals.before(&principal).await }).await?;
        let lock = table_lock(facts);
        let held = locks.iter().flatten().filter(|other| other.pid == pid);
        let holds_locks = held.map(|own| held_lock(catalog.as_deref(), own)).collect();
        Ok(Impact {
            relations: catalog.as_deref().map(|catalog| sizes(catalog, &named)).unwrap_or_default(),
            lock: lock.map(|lock| lock.as_str().to_owned()),
            blocks: locks.as_ref().zip(lock).zip(catalog.as_deref()).map(|((locks, lock), catalog)| {
                let others = locks.iter().filter(|other| other.pid != pid);
                others.filter(|other| stands_against(other, lock)).map(|other| blocked(catalog, other)).collect()
            }),
            holds_locks,
            transaction_since: self.transaction_since,
            reversible: reversible(facts).to_owned(),
            before: before.unwrap_or_default(),
        })
    }
}

/// What may leave at most of a statement of that size without asking again. What writes cannot be stopped in its middle, and
/// is not capped; a size that is not known is no cap.
pub(super) fn cap(facts: &StatementFacts, estimate: Estimate) -> Estimate {
    if !facts.pure_read || facts.packs {
        return Estimate::default();
    }
    let slack = |known: u64, least: u64| known.saturating_mul(CAP_FACTOR).max(known.saturating_add(least));
    Estimate {
        rows: facts.bound.rows().or_else(|| estimate.rows.map(|rows| slack(rows, CAP_SLACK_ROWS))),
        bytes: estimate.bytes.map(|bytes| slack(bytes, CAP_SLACK_BYTES)),
        source: estimate.source,
    }
}

fn relations<'a>(catalog: &'a Catalog, facts: &StatementFacts) -> Vec<&'a Relation> {
    facts
        .relations
        .iter()
        .filter_map(|name| catalog.relation_in(&name.schema, &name.name))
        .map(|found| &**found)
        .collect()
}

fn sizes(catalog: &Catalog, named: &[&Relation]) -> Vec<RelationImpact> {
    let size = |relation: &&Relation| RelationImpact {
        name: format!("{}.{}", relation.schema, relation.name),
        rows: relation.estimated_rows(),
        bytes: u64::try_from(relation.pages).unwrap_or(0).saturating_mul(PAGE),
        dependents: dependents(catalog, relation),
    };
    named.iter().map(size).collect()
}

/// Children, tables that refer to it, and views whose definition names it.
fn dependents(catalog: &Catalog, relation: &Relation) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    found.extend(
        catalog.family(relation.oid).iter().skip(1).map(|child| format!("child {}.{}", child.schema, child.name)),
    );
    let referring = relation.references.iter().filter_map(|reference| catalog.relation(reference.from));
    found.extend(referring.map(|other| format!("reference from {}.{}", other.schema, other.name)));
    let views = catalog.relations().filter(|other| {
        matches!(other.kind, RelationKind::View | RelationKind::Matview)
            && other.oid != relation.oid
            && other.definition.as_ref().is_some_and(|text| names(text, &relation.name))
    });
    let mut views: Vec<_> = views.map(|view| format!("view {}.{}", view.schema, view.name)).collect();
    views.sort();
    found.append(&mut views);
    let more = found.len().saturating_sub(DEPENDENTS_MAX);
    found.truncate(DEPENDENTS_MAX);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

fn names(text: &str, name: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

fn held_lock(catalog: Option<&Catalog>, lock: &RelationLock) -> String {
    let name = catalog.map_or_else(|| lock.relation.to_string(), |catalog| name_of(catalog, lock.relation));
    format!("{} on {name}", mode_of(lock))
}

fn mode_of(lock: &RelationLock) -> String {
    TableLock::parse(&lock.mode).map_or_else(|| lock.mode.clone(), |mode| mode.as_str().to_owned())
}

fn stands_against(other: &RelationLock, lock: TableLock) -> bool {
    TableLock::parse(&other.mode).is_some_and(|mode| mode.conflicts(lock))
}

fn blocked(catalog: &Catalog, lock: &RelationLock) -> Blocked {
    Blocked {
        pid: lock.pid,
        role: lock.role.clone(),
        application_name: lock.application_name.clone(),
        relation: name_of(catalog, lock.relation),
        mode: mode_of(lock),
        granted: lock.granted,
    }
}

fn name_of(catalog: &Catalog, oid: Oid) -> String {
    catalog.relation(oid).map_or_else(|| oid.to_string(), |relation| format!("{}.{}", relation.schema, relation.name))
}
