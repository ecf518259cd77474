//! Who asks: the database role, the agent behind it, and the human for whom the agent acts.

use serde::{Deserialize, Serialize};

/// What sort of requester a principal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A program that acts by itself on somebody's behalf.
    Agent,
    /// A person at a keyboard.
    Human,
    /// A program without a person behind each request.
    Service,
    /// The configuration says nothing: the default where logins are relayed to the upstream.
    #[default]
    Unknown,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The name by which policies and records know the requester; in relay mode the role's name.
    pub name: String,
    /// What sort of requester it is.
    #[serde(default)]
    pub kind: PrincipalKind,
    /// The human for whom it acts, by the configuration; the subject of the self-approval check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<String>,
    /// Groups that policies may name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The role that Postgres sees.
    pub role: String,
}

/// What an agent says about itself; shown and recorded, never trusted for a decision that widens access.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentClaim {
    /// `holdgate.agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `holdgate.model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `holdgate.run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl AgentClaim {
    /// It says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
