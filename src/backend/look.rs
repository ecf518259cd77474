//! One question to the server over the proxy's own credential, waited for only briefly.

use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::databases::Databases;

impl Databases {
    /// What the server answers. `None`: there is no credential, or no answer in time; whoever asks must do without.
    pub(super) async fn look(&self, name: &str, question: &str, wait: Duration) -> Option<Vec<SimpleQueryMessage>> {
        if !self.has_credential() {
            return None;
        }
        let database = self.database(name);
        let look = async {
            // One after the other: they share a connection, which is kept.
            let mut looking = database.looking.lock().await;
            if looking.as_ref().is_none_or(Client::is_closed) {
                *looking = Some(self.log_in(name).await.ok()?);
            }
            let rows = looking.as_ref()?.simple_query(question).await;
            if rows.is_err() {
                *looking = None;
            }
            rows.ok()
        };
        tokio::time::timeout(wait, look).await.ok().flatten()
    }
}
