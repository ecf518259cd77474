//! A person who may look at holds and, if a hold asks for one of their groups, decide it.

use serde::{Deserialize, Serialize};

/// What an operator may do beyond their groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads; never decides, whatever the groups and the other roles say.
    Viewer,
    /// Reads, and asks for bundles in the name of principals; decides nothing by that.
    Requester,
    /// Reads, and decides holds that ask for one of their groups.
    Operator,
    /// Counts as a member of every group, and may reload, pause and kill. No exception from the self-approval check.
    Admin,
}

/// Who acts on a hold. Two operators with the same human are one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The name of the account.
    pub name: String,
    /// The human who holds it.
    pub human: String,
    /// Groups that `approve.from` may name.
    pub groups: Vec<String>,
    /// What the account may do.
    pub roles: Vec<Role>,
}

impl Operator {
    /// Whether the account may reload, pause and kill, and counts as a member of every group.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.contains(&Role::Admin)
    }

    /// Whether the account may decide at all; one that is a viewer, or nothing, may not.
    #[must_use]
    pub fn may_decide(&self) -> bool {
        let deciding = self.is_admin() || self.roles.contains(&Role::Operator);
        deciding && !self.roles.contains(&Role::Viewer)
    }
}
