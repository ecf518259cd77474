//! Reads the catalog of a database over a connection.

use std::sync::Arc;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::catalog::refresh::{Next, Refresh};
use crate::catalog::{Catalog, CatalogError};

/// Why a catalog cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The server does not answer, or answers with an error.
    #[error("the catalog query {query:?} failed")]
    Query {
        /// Which.
        query: &'static str,
        /// What came back.
        source: tokio_postgres::Error,
    },
    /// A row cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Reads everything in one read-only snapshot. The connection must be outside a transaction.
///
/// # Errors
/// A query that fails, or an answer that cannot be read. The transaction is rolled back in either case.
pub async fn load(client: &Client) -> Result<Catalog, LoadError> {
    follow(client, None).await
}

/// The same, but reads only what has changed since another catalog of the same database was read.
///
/// # Errors
/// As [`load`].
pub async fn follow(client: &Client, base: Option<&Arc<Catalog>>) -> Result<Catalog, LoadError> {
    client.batch_execute(OPEN).await.map_err(|source| LoadError::Query { query: "begin", source })?;
    let catalog = match read(client, base).await {
        Ok(None) => read(client, None).await,
        other => other,
    };
    let closed = client.batch_execute("ROLLBACK").await;
    let catalog = catalog?;
    closed.map_err(|source| LoadError::Query { query: "rollback", source })?;
    catalog.ok_or_else(|| CatalogError::Survey("a first survey wants another one".to_owned()).into())
}

/// The search path decides what definitions print unqualified.
const OPEN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = '2s'; \
                    SET LOCAL quote_all_identifiers = off; SET LOCAL standard_conforming_strings = on";

/// `None`: begin anew.
async fn read(client: &Client, base: Option<&Arc<Catalog>>) -> Result<Option<Catalog>, LoadError> {
    let mut refresh = Refresh::from(base);
    let answer = texts(client, "survey", &refresh.survey()).await?;
    let mut next = refresh.surveyed(answer.iter().map(String::as_str))?;
    if next == Next::On
        && let Some(details) = refresh.details()
    {
        let answer = texts(client, "details", &details).await?;
        next = refresh.detailed(answer.iter().map(String::as_str))?;
    }
    if next == Next::Anew {
        return Ok(None);
    }
    let mut builder = refresh.builder();
    for (name, sql) in refresh.reads() {
        for row in texts(client, name, &sql).await? {
            builder.add(name, &row)?;
        }
    }
    Ok(Some(refresh.finish(builder)))
}

async fn texts(client: &Client, query: &'static str, sql: &str) -> Result<Vec<String>, LoadError> {
    let rows = client.simple_query(sql).await.map_err(|source| LoadError::Query { query, source })?;
    let text = |row: &SimpleQueryMessage| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Ok(rows.iter().filter_map(text).collect())
}

/// A text that stays the same as long as no transaction has ended that wrote: then no definition has changed either. It
/// costs next to nothing.
///
/// # Errors
/// A query that fails.
pub async fn moment(client: &Client) -> Result<String, LoadError> {
    const MOMENT: &str = "SELECT CAST(pg_catalog.pg_current_snapshot() AS pg_catalog.text)";
    Ok(texts(client, "moment", MOMENT).await?.pop().unwrap_or_default())
}

/// Whether a definition has changed since a catalog was read; for polling.
///
/// # Errors
/// A query that fails, or an answer that cannot be read.
pub async fn is_same(client: &Client, base: &Arc<Catalog>) -> Result<bool, LoadError> {
    let mut refresh = Refresh::from(Some(base));
    let answer = texts(client, "survey", &refresh.survey()).await?;
    Ok(refresh.surveyed(answer.iter().map(String::as_str))? == Next::Same)
}
