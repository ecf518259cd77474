//! Reads the catalog of a database over a connection.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::catalog::source::{QUERIES, SIGNATURE};
use crate::catalog::{Catalog, CatalogBuilder, CatalogError};

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
    client.batch_execute(OPEN).await.map_err(|source| LoadError::Query { query: "begin", source })?;
    let catalog = read(client).await;
    let closed = client.batch_execute("ROLLBACK").await;
    let catalog = catalog?;
    closed.map_err(|source| LoadError::Query { query: "rollback", source })?;
    Ok(catalog)
}

/// The search path decides what view definitions print unqualified.
const OPEN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog; SET LOCAL lock_timeout = '2s'; \
                    SET LOCAL quote_all_identifiers = off; SET LOCAL standard_conforming_strings = on";

async fn read(client: &Client) -> Result<Catalog, LoadError> {
    let mut builder = CatalogBuilder::new();
    for query in QUERIES {
        let rows =
            client.simple_query(query.sql).await.map_err(|source| LoadError::Query { query: query.name, source })?;
        for row in rows {
            if let SimpleQueryMessage::Row(row) = row
                && let Some(text) = row.get(0)
            {
                builder.add(query.name, text)?;
            }
        }
    }
    Ok(builder.finish())
}

/// A text that stays the same as long as no transaction has ended that wrote: then no definition has changed either. It
/// costs next to nothing.
///
/// # Errors
/// A query that fails.
pub async fn moment(client: &Client) -> Result<String, LoadError> {
    const MOMENT: &str = "SELECT CAST(pg_catalog.pg_current_snapshot() AS pg_catalog.text)";
    first(client, "moment", MOMENT).await
}

/// A text that changes when a definition changed; for polling.
///
/// # Errors
/// A query that fails.
pub async fn signature(client: &Client) -> Result<String, LoadError> {
    first(client, "signature", SIGNATURE).await
}

async fn first(client: &Client, query: &'static str, sql: &str) -> Result<String, LoadError> {
    let rows = client.simple_query(sql).await.map_err(|source| LoadError::Query { query, source })?;
    let text = rows.iter().find_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(text.unwrap_or_default())
}
