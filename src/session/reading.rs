//! Reads the catalog over the client's own connection, where it shows what no other connection does.
//!
//! Definitions are to print as they do on the proxy's own connection, so that what has not changed need not be read: the
//! search path is another one for the time of the questions. It is set for the transaction alone, and set again to what it
//! was where that transaction is the client's.

use std::sync::Arc;

use super::Session;
use super::relay::End;
use crate::backend::databases::Snapshot;
use crate::catalog::refresh::{Next, Refresh};
use crate::catalog::{Catalog, CatalogError};

/// The search path under which definitions are printed.
const PRINTED_UNDER: &str = "pg_catalog, pg_temp";

/// What came of the questions.
enum Read {
    /// They cannot be asked now.
    Nothing,
    /// What was known does not help.
    Anew,
    Done(Arc<Catalog>),
}

impl Session {
    /// Reads the catalog over the client's own connection; of what is known already, only what has changed.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn read_catalog(&mut self, uncommitted: bool) -> Result<(), End> {
        let private = uncommitted || self.private;
        let own = self.base.clone().filter(|_| private);
        let base = own.or_else(|| self.database.latest());
        let mut read = self.follow(base.as_ref()).await?;
        if let Ok(Read::Anew) = read {
            read = self.follow(None).await?;
        }
        let catalog = match read {
            Ok(Read::Done(catalog)) => catalog,
            Ok(Read::Nothing | Read::Anew) => return Ok(()),
            Err(error) => {
                tracing::error!(%error, "the catalog cannot be read");
                return Ok(());
            }
        };
        let databases = &self.services.databases;
        let snapshot: Arc<Snapshot> = if private {
            self.private = true;
            let snapshot = databases.private(&self.who.database, &catalog, &self.own);
            self.keep_own(&snapshot);
            self.base = Some(catalog);
            snapshot
        } else {
            databases.offer(&self.who.database, &catalog)
        };
        self.snapshot = Some(snapshot);
        Ok(())
    }

    async fn follow(&mut self, base: Option<&Arc<Catalog>>) -> Result<Result<Read, CatalogError>, End> {
        let mut refresh = Refresh::from(base);
        let Some(answer) = self.ask(&refresh.survey()).await? else { return Ok(Ok(Read::Nothing)) };
        let mut next = refresh.surveyed(texts(&answer));
        if let Ok(Next::On) = next
            && let Some(details) = refresh.details()
        {
            let Some(answer) = self.ask(&details).await? else { return Ok(Ok(Read::Nothing)) };
            next = refresh.detailed(texts(&answer));
        }
        match (next, base) {
            (Ok(Next::Same), Some(base)) => return Ok(Ok(Read::Done(Arc::clone(base)))),
            (Ok(Next::Anew), _) => return Ok(Ok(Read::Anew)),
            (Err(error), _) => return Ok(Err(error)),
            (Ok(Next::On | Next::Same), _) => {}
        }
        let mut questions = vec![set_path(PRINTED_UNDER)];
        questions.extend(refresh.reads().iter().map(|(name, sql)| format!("SELECT '{name}', q.* FROM ({sql}) AS q")));
        questions.push(set_path(refresh.path()));
        let mut builder = refresh.builder();
        if questions.len() > 2 {
            let Some(answer) = self.ask_all(&questions).await? else { return Ok(Ok(Read::Nothing)) };
            for row in &answer {
                if let [Some(name), Some(json)] = row.as_slice()
                    && let Err(error) = builder.add(name, json)
                {
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(Read::Done(Arc::new(refresh.finish(builder)))))
    }
}

fn texts(answer: &[Vec<Option<String>>]) -> impl Iterator<Item = &str> {
    answer.iter().filter_map(|row| row.first()?.as_deref())
}

/// Sets the search path until the transaction ends.
fn set_path(path: &str) -> String {
    let path = path.replace('\\', r"\\").replace('\'', "''");
    format!("SELECT pg_catalog.set_config('search_path', E'{path}', true)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_path_is_quoted_whatever_is_in_it() {
        let set = set_path(r#""o'clock\", public"#);
        assert_eq!(set, r#"SELECT pg_catalog.set_config('search_path', E'"o''clock\\", public', true)"#);
    }
}
