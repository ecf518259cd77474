//! Roles, and for whom a relation's row-level security policies stand (`check_enable_rls`, `has_privs_of_role`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, Policy, Relation};

/// The role that the owner of a database is a member of without being written down as one.
const PG_DATABASE_OWNER: Oid = 6171;

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    /// Its OID.
    pub oid: Oid,
    /// Its name.
    pub name: std::sync::Arc<str>,
    /// SUPERUSER or BYPASSRLS.
    pub bypasses: bool,
    /// The roles whose privileges it has without SET ROLE.
    #[serde(default)]
    pub inherits: Vec<Oid>,
}

impl Catalog {
    /// A role by its name. Only databases with row-level security have roles in their snapshots.
    #[must_use]
    pub fn role_named(&self, name: &str) -> Option<&Role> {
        self.store.roles.values().find(|role| &*role.name == name)
    }

    /// Whether any relation has row-level security.
    #[must_use]
    pub fn has_row_security(&self) -> bool {
        !self.store.roles.is_empty()
    }

    /// The policies that count for a reader, `None` where nobody knows who reads; without regard to their commands.
    pub fn policies_for<'a>(&self, relation: &'a Relation, reader: Option<Oid>) -> impl Iterator<Item = &'a Policy> {
        let reader = reader.and_then(|oid| self.store.roles.get(&oid));
        let exempt = !relation.row_security || reader.is_some_and(|role| self.is_exempt(relation, role));
        let all: &[Policy] = if exempt { &[] } else { &relation.policies };
        let meant: Vec<&Policy> = all.iter().filter(|policy| self.may_mean(policy, reader)).collect();
        meant.into_iter()
    }

    /// Whether it is certain that policies do not stand for a role.
    fn is_exempt(&self, relation: &Relation, role: &Role) -> bool {
        role.bypasses
            || (!relation.force_row_security && relation.owner != 0 && self.privileges(role).contains(&relation.owner))
    }

    fn may_mean(&self, policy: &Policy, reader: Option<&Role>) -> bool {
        let (Some(roles), Some(reader)) = (&policy.roles, reader) else { return true };
        let has = self.privileges(reader);
        roles.iter().any(|oid| {
            *oid == 0 || *oid == PG_DATABASE_OWNER || has.contains(oid) || !self.store.roles.contains_key(oid)
        })
    }

    /// The roles whose privileges a role surely has, itself included.
    fn privileges(&self, role: &Role) -> BTreeSet<Oid> {
        let mut found = BTreeSet::from([role.oid]);
        let mut next = vec![role];
        while let Some(role) = next.pop() {
            for oid in &role.inherits {
                if found.insert(*oid) {
                    next.extend(self.store.roles.get(oid));
                }
            }
        }
        found
    }
}
