//! The agent: a plain Postgres client that keeps the notices it gets.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use futures_util::TryStreamExt as _;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection, NoTls, SimpleQueryMessage, Socket};

use crate::ids::NAME;

/// Rows as text, as psql would show them.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// One connection.
pub(super) struct Agent {
    client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

/// What a statement gave before it ended, and how it ended.
pub(super) struct Ran {
    pub(super) rows: Rows,
    pub(super) error: Option<Refusal>,
}

/// An error as the client got it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) sqlstate: String,
    pub(super) message: String,
    pub(super) detail: String,
}

impl Agent {
    pub(super) async fn connect(dsn: &str) -> anyhow::Result<Self> {
        let mut config: Config = dsn.parse()?;
        config.application_name(format!("{NAME} demo"));
        let (client, connection) = config.connect(NoTls).await.context("the agent cannot connect")?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(listen(connection, Arc::clone(&notices)));
        Ok(Self { client, notices })
    }

    /// Runs a simple Query to its end.
    ///
    /// # Errors
    /// Faults of the connection; what the server says against the statement is in the result.
    pub(super) async fn run(&self, sql: &str) -> anyhow::Result<Ran> {
        let mut rows = Rows::new();
        let ended = self.stream(sql, &mut rows).await;
        let error = ended.err().map(refusal).transpose()?;
        Ok(Ran { rows, error })
    }

    async fn stream(&self, sql: &str, rows: &mut Rows) -> Result<(), tokio_postgres::Error> {
        let mut messages = std::pin::pin!(self.client.simple_query_raw(sql).await?);
        while let Some(message) = messages.try_next().await? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
            }
        }
        Ok(())
    }

    /// Runs a statement that must succeed.
    pub(super) async fn rows(&self, sql: &str) -> anyhow::Result<Rows> {
        let ran = self.run(sql).await?;
        match ran.error {
            None => Ok(ran.rows),
            Some(refusal) => Err(anyhow::anyhow!("{sql}: {refusal}")),
        }
    }

    /// Runs a statement that must fail with a SQLSTATE.
    pub(super) async fn refused(&self, sql: &str, sqlstate: &str) -> anyhow::Result<Refusal> {
        let refusal = self.run(sql).await?.error.with_context(|| format!("{sql} was not refused"))?;
        refusal.expect(sqlstate)
    }

    /// Runs a COPY TO STDOUT that must fail with a SQLSTATE.
    pub(super) async fn copy_refused(&self, sql: &str, sqlstate: &str) -> anyhow::Result<Refusal> {
        match self.client.copy_out(sql).await {
            Ok(_) => Err(anyhow::anyhow!("{sql} was not refused")),
            Err(error) => refusal(error)?.expect(sqlstate),
        }
    }

    pub(super) fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// The notice that holds a text.
    pub(super) fn notice(&self, text: &str) -> anyhow::Result<String> {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let found = notices.iter().find(|notice| notice.contains(text));
        found.cloned().with_context(|| format!("the agent got no notice with {text}"))
    }
}

impl Refusal {
    fn expect(self, sqlstate: &str) -> anyhow::Result<Self> {
        ensure!(self.sqlstate == sqlstate, "refused with another SQLSTATE than {sqlstate}: {self}");
        Ok(self)
    }

    /// Whether message or detail hold all of these words, in any case.
    pub(super) fn names(&self, words: &[&str]) -> anyhow::Result<()> {
        let said = self.to_string().to_lowercase();
        for word in words {
            ensure!(said.contains(&word.to_lowercase()), "the error does not name {word}: {self}");
        }
        Ok(())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " · {}", self.detail) }
    }
}

fn refusal(error: tokio_postgres::Error) -> anyhow::Result<Refusal> {
    match error.as_db_error() {
        Some(said) => Ok(Refusal {
            sqlstate: said.code().code().to_owned(),
            message: said.message().to_owned(),
            detail: said.detail().unwrap_or_default().to_owned(),
        }),
        None => Err(error.into()),
    }
}

/// Keeps notices until the connection ends; its error is the client's too.
async fn listen(
    mut connection: Connection<Socket, tokio_postgres::tls::NoTlsStream>,
    notices: Arc<Mutex<Vec<String>>>,
) {
    while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notice(notice) = message {
            let text = format!("{} · {}", notice.message(), notice.detail().unwrap_or_default());
            notices.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }
}
