//! The policy in force, asked about a text without running it.

use futures_util::future::BoxFuture;

use super::bundles::{Asked, database};
use super::ports::Ports;
use crate::control::{BundleRequest, Explain, Explained, Question};
use crate::principal::Principal;

impl Explain for Ports {
    fn principals(&self) -> Vec<Principal> {
        self.services().gate.principals()
    }

    fn policies(&self) -> (String, Vec<String>) {
        let policy = self.services().policy.load_full();
        (policy.sha256().to_owned(), policy.rule_names().map(str::to_owned).collect())
    }

    fn explain(&self, question: Question) -> BoxFuture<'_, Result<Vec<Explained>, String>> {
        let services = self.services();
        Box::pin(async move {
            let Question { sql, principal, database: wanted } = question;
            let wanted = if wanted.is_empty() { services.database.clone().unwrap_or_default() } else { wanted };
            let name = database(&services, &wanted).map_err(|error| error.to_string())?;
            let _presence = services.databases.enter(&name);
            let snapshot = services.databases.fresh(&name).await.map_err(|error| error.to_string())?;
            let request = BundleRequest { principal, upstream: name.clone(), sql, intent: None };
            let asked = Asked::new(services, request, name, snapshot);
            let explained = tokio::task::spawn_blocking(move || asked.explain()).await;
            explained.map_err(|error| error.to_string())?
        })
    }
}
