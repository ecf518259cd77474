//! Replication connections: the client speaks with a walsender, which knows commands of its own beside, or instead of, SQL.
//!
//! A walsender takes simple Queries alone. So what we ask it ourselves are simple Queries too, a refusal is a SHOW of
//! what does not exist, and what a client sends of the extended protocol is refused by the server itself.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::Session;
use super::ask::Answer;
use super::intercept::Forward;
use super::patience::{Stream, first};
use super::phase::{Request, Status, Whose};
use super::read;
use super::refuse::Instead;
use super::relay::End;
use super::run::Run;
use crate::analysis::{self, Facts, Kind, Published};
use crate::backend::databases::Snapshot;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build;
use crate::wire::frame::Header;
use crate::wire::startup::Parameters;

/// The setting that says how long a walsender waits for its client.
const STREAM_TIMEOUT: &str = "SHOW wal_sender_timeout";

/// A question that every walsender answers, whatever state it is in.
const ANY_QUESTION: &str = "SHOW server_version_num";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// SQL.
    Sql,
    /// Logical replication of one database, and SQL as simple Queries.
    Database,
    /// Physical replication of the whole server; no SQL.
    Cluster,
}

impl Channel {
    /// What a start-up packet asks for, as `ProcessStartupPacket` reads it. A value that means nothing is refused by the
    /// server.
    pub(super) fn of(parameters: &Parameters) -> Self {
        let Some(value) = parameters.text("replication") else { return Self::Sql };
        let value = value.to_lowercase();
        let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
        let is_off = begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0" || value.is_empty();
        match value.as_str() {
            "database" => Self::Database,
            _ if is_off => Self::Sql,
            _ => Self::Cluster,
        }
    }

    pub(super) fn is_walsender(self) -> bool {
        self != Self::Sql
    }

    /// What stands for a refused frame.
    pub(super) fn refuses_by(self, instead: Instead) -> Instead {
        if self.is_walsender() && instead == Instead::Query { Instead::Command } else { instead }
    }
}

impl Session {
    /// Judges a text that a walsender reads as a command of its own, or that it does not read at all. `None`: it is SQL.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge_command(&mut self, text: &Bytes) -> Result<Option<Box<Run>>, End> {
        let mut facts = analysis::replication(text, None, None);
        if facts.as_ref().is_some_and(|facts| facts.kinds.contains(&Kind::Export)) {
            let published = self.published(text).await?;
            let snapshot = self.replicated().await?;
            let catalog = snapshot.as_ref().map(|snapshot| &*snapshot.catalog);
            facts = analysis::replication(text, catalog, published.as_deref());
            self.snapshot = snapshot.or_else(|| self.snapshot.take());
        }
        let facts = match facts {
            Some(facts) => Arc::new(Facts { statements: vec![facts] }),
            None if self.channel == Channel::Database => return Ok(None),
            None if text.trim_ascii().is_empty() => Arc::default(),
            None => read::unknown(text, "it is no replication command that is known, and no SQL runs here"),
        };
        let mut run = self.decide(text.clone(), facts);
        run.replicates = true;
        Ok(Some(run))
    }

    /// What the publications of a stream have; `None` where that is not known for sure.
    async fn published(&mut self, text: &Bytes) -> Result<Option<Vec<Published>>, End> {
        let Some(subscribed) = analysis::subscribed(text) else { return Ok(None) };
        let (services, database) = (self.services.clone(), self.who.database.clone());
        self.wait_for(async move { services.databases.published(&database, &subscribed).await }).await
    }

    /// What is known of the database that is served, asked for beside the client's connection: a question on that one
    /// would come between BEGIN and its first command, or end a snapshot that the client has exported.
    async fn replicated(&mut self) -> Result<Option<Arc<Snapshot>>, End> {
        self.follow_tags();
        if !self.services.databases.has_credential() {
            let shared = self.services.databases.database(&self.who.database).current();
            return Ok(shared.or_else(|| self.snapshot.clone()));
        }
        let (services, database) = (self.services.clone(), self.who.database.clone());
        match self.wait_for(async move { services.databases.fresh(&database).await }).await? {
            Ok(shared) => Ok(Some(shared)),
            Err(error) => {
                tracing::warn!(%error, "the catalog could not be read for a replication command");
                Ok(None)
            }
        }
    }

    /// Asks a walsender one question. `None`: it could not be asked now, or it failed. Not in a transaction, where it could
    /// come before what must be first.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn ask_walsender(&mut self, text: &str) -> Result<Option<Answer>, End> {
        self.settle().await?;
        if self.phase.status != Status::Idle || self.phase.skipping {
            return Ok(None);
        }
        self.watch.answers.clear();
        self.watch.ask_failed = false;
        self.send_to_walsender(text);
        self.run_until(|session, _| if session.phase.is_quiet() { Poll::Ready(()) } else { Poll::Pending }).await?;
        let answer = std::mem::take(&mut self.watch.answers);
        Ok((!self.watch.ask_failed).then_some(answer))
    }

    fn send_to_walsender(&mut self, text: &str) {
        build::query(&mut self.server.output, text.as_bytes());
        self.phase.forwarded(Request::OwnQuery, Whose::Ours);
    }

    /// Asks how long the server lets a stream stand still.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn learn_stream_timeout(&mut self) -> Result<(), End> {
        if self.channel.is_walsender()
            && let Some(answer) = self.ask_walsender(STREAM_TIMEOUT).await?
        {
            self.settings.stream = Stream::of(&first(answer));
        }
        Ok(())
    }

    /// The client's frame is no data while the walsender may still stream, or read data. A question of ours takes its place:
    /// a stream ends with it as it would with the client's frame, and takes the connection along; otherwise it is answered.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn interrupt_stream(&mut self) -> Result<(), End> {
        self.send_to_walsender(ANY_QUESTION);
        self.run_until(|session, _| if session.phase.is_quiet() { Poll::Ready(()) } else { Poll::Pending }).await
    }

    /// A frame of the extended protocol, or a `FunctionCall`: one of the same kind that does nothing takes its place, and
    /// the server says in its own words that it takes none.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn refuse_extended(&mut self, header: Header) -> Result<(), End> {
        self.stream(header, Forward::Drop).await?;
        let report = Report::new(sqlstate::PROTOCOL_VIOLATION, "a replication connection takes simple queries alone");
        let instead = if header.tag == b'F' { Instead::Call } else { Instead::Execute };
        self.refuse(instead, report, None)
    }

    /// A Sync in the middle of COPY data: what the server makes of it cannot be found out here.
    ///
    /// # Errors
    /// The session is over, always.
    pub(super) async fn refuse_sync_in_copy(&mut self) -> Result<(), End> {
        let report =
            Report::new(sqlstate::PROTOCOL_VIOLATION, "unexpected Sync during COPY on a replication connection");
        Err(self.end_with(&report).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_read_as_the_server_reads_it() {
        let of = |value: &str| {
            Channel::of(&Parameters { minor: 0, pairs: vec![(b"replication".to_vec(), value.as_bytes().to_vec())] })
        };
        for value in ["database", "DATABASE"] {
            assert_eq!(of(value), Channel::Database, "{value}");
        }
        for value in ["off", "of", "no", "n", "F", "false", "0", ""] {
            assert_eq!(of(value), Channel::Sql, "{value}");
        }
        for value in ["on", "true", "1", "yes", "o", "databases", "what"] {
            assert_eq!(of(value), Channel::Cluster, "{value}");
        }
    }
}
