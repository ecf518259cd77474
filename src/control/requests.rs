//! Asking for a migration ahead of time: a bundle of statements, one card, one decision.

use futures_util::future::BoxFuture;

use super::{Control, SinkError, act};
use crate::approvals::{Hold, Method, NewHold, Operator, Requester, Role, StoreError};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleRequest {
    /// The principal that will send the statements.
    pub principal: String,
    /// The database, or `host:port/database` of the upstream.
    pub upstream: String,
    /// The statements, as the principal will send them one by one.
    pub sql: String,
    /// What it is for.
    pub intent: Option<String>,
}

/// Why a bundle cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The operator's roles do not allow it.
    #[error("a viewer may not ask in the name of others")]
    NotARequester,
    /// The request cannot be what it says: an unknown database, a text that is none, a statement that a rule denies.
    #[error("{0}")]
    Refused(String),
    /// Every statement is allowed as it is.
    #[error("no statement of it needs an approval")]
    NothingToApprove,
    /// The catalog cannot be read.
    #[error("the catalog of the database cannot be read: {0}")]
    Catalog(String),
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log did not take the record, so nothing was asked.
    #[error(transparent)]
    Log(#[from] SinkError),
}

/// Reads a migration as the data plane would: every statement in the light of those before it.
pub trait Bundles: Send + Sync {
    /// The hold that would be opened; its requester is not filled in.
    fn prepare(&self, request: BundleRequest) -> BoxFuture<'_, Result<NewHold, RequestError>>;
}

impl Control {
    /// Asks for a bundle in the name of a principal. The same bundle, asked for again, joins the open one.
    ///
    /// # Errors
    /// Why it cannot be asked for.
    pub async fn request(
        &self,
        operator: &Operator,
        request: BundleRequest,
        method: Method,
    ) -> Result<Hold, RequestError> {
        let may =
            operator.is_admin() || [Role::Operator, Role::Requester].iter().any(|role| operator.roles.contains(role));
        if !may || operator.roles.contains(&Role::Viewer) {
            return Err(RequestError::NotARequester);
        }
        let sentence = format!("request of a bundle for {} in {}", request.principal, request.upstream);
        let mut new = self.parts.bundles.prepare(request).await?;
        let mut record = act(operator, "request", method, sentence);
        record.hold = Some(new.hold.id.clone());
        self.record(record).await?;
        new.hold.requester = Some(Requester { name: operator.name.clone(), human: operator.human.clone() });
        Ok(self.parts.approvals.open(new).await?.hold().clone())
    }
}
