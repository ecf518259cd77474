//! Questions of our own on the client's connection.
//!
//! Extended protocol under reserved names, so that the client's unnamed statement and its portals stay as they are; every
//! name and operator is qualified, so that the client's `search_path` decides nothing. Never in a failed transaction. The
//! answers are swallowed. Between batches a Sync ends a question; within one, where a Sync would commit, a Flush does, and
//! an error, which has failed the client's batch, is the client's to see.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::Session;
use super::names::{Portal, Prepared};
use super::patience::{TIMEOUTS, Timeouts};
use super::phase::{Request, Status, Whose};
use super::relay::End;
use super::settings::NameContext;
use super::walsender::Channel;
use crate::ids::{NAME, random_base32};
use crate::wire::backend::Fields;
use crate::wire::build;

/// An error that the server gave to a question of ours, as it came.
#[derive(Clone, Debug)]
pub(super) struct ServerError {
    pub(super) body: Vec<u8>,
    pub(super) sqlstate: String,
    routine: Vec<u8>,
}

impl ServerError {
    pub(super) fn of(body: &[u8]) -> Self {
        let fields = Fields::new(body);
        Self {
            body: body.to_vec(),
            sqlstate: fields.sqlstate().to_owned(),
            routine: fields.field(b'R').unwrap_or_default().to_vec(),
        }
    }
}

/// Rows of an answer, each a list of text values.
pub(super) type Answer = Vec<Vec<Option<String>>>;

/// What names mean now: the schemas of the path as a JSON array, the role, and whether there are relations that only this
/// session sees.
const NAMES: &str = "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(false)), \
                     pg_catalog.\"current_user\"(), CASE WHEN pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0 \
                     THEN EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) \
                     pg_catalog.pg_my_temp_schema()) ELSE false END";

/// How texts are read now: the server reports both settings, and in the middle of a batch only after it.
const READING: &str =
    "pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('standard_conforming_strings')";

impl Session {
    /// Asks the server one question. `None`: it could not be asked now, or it failed.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Option<Answer>, End> {
        match self.channel {
            Channel::Sql => {}
            Channel::Database => return self.ask_walsender(sql).await,
            Channel::Cluster => return Ok(None),
        }
        self.settle().await?;
        if self.phase.status == Status::Failed || self.phase.skipping {
            return Ok(None);
        }
        self.watch.answers.clear();
        self.watch.ask_failed = false;
        // A Sync would commit what the client's batch has done so far.
        let within = self.phase.executed;
        self.watch.asked_within = within;
        self.send_question(sql);
        if within {
            build::bare(&mut self.server.output, b'H');
            self.phase.flushed();
        } else {
            build::bare(&mut self.server.output, b'S');
            self.phase.forwarded(Request::Sync, Whose::Ours);
        }
        self.run_until(|session, _| if session.phase.is_quiet() { Poll::Ready(()) } else { Poll::Pending }).await?;
        self.watch.asked_within = false;
        self.phase.skipping &= within;
        let answer = std::mem::take(&mut self.watch.answers);
        Ok((!self.watch.ask_failed).then_some(answer))
    }

    fn send_question(&mut self, sql: &str) {
        let name = format!("{NAME}_{}", random_base32(16)).into_bytes();
        let out = &mut self.server.output;
        build::parse(out, &name, sql.as_bytes());
        build::bind(out, &name, &name);
        build::execute(out, &name);
        // An open portal in the client's transaction would be seen: COPY FREEZE refuses to start beside one.
        build::close_portal(out, &name);
        build::close_statement(out, &name);
        let prepared = Prepared::unknown(Bytes::copy_from_slice(sql.as_bytes()));
        let portal = Portal::new(prepared.clone());
        let name: Box<[u8]> = name.into();
        self.phase.forwarded(Request::Parse(name.clone(), Box::new(prepared)), Whose::Ours);
        self.phase.forwarded(Request::Bind(name.clone(), Box::new(portal)), Whose::Ours);
        self.phase.forwarded(Request::Own, Whose::Ours);
        self.phase.forwarded(Request::ClosePortal(name.clone()), Whose::Ours);
        self.phase.forwarded(Request::CloseStatement(name), Whose::Ours);
    }

    /// Whether Postgres refuses a text before it plans anything. A text with a name that the catalog does not know, or
    /// that our grammar does not, is most often a mistake, and the client is better served with the server's own error
    /// than with a hold. Parse runs nothing; what it reads of a text is what the Query would have read.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn is_mistaken(&mut self, text: &Bytes) -> Result<Option<ServerError>, End> {
        self.settle().await?;
        // A walsender takes no Parse.
        let takes_parse = self.channel == Channel::Sql && !self.phase.skipping && !self.phase.in_batch;
        if self.phase.status == Status::Failed || !takes_parse {
            return Ok(None);
        }
        self.watch.ask_failed = false;
        let name: Box<[u8]> = format!("{NAME}_{}", random_base32(16)).into_bytes().into();
        let out = &mut self.server.output;
        build::parse(out, &name, text);
        build::close_statement(out, &name);
        build::bare(out, b'S');
        let prepared = Prepared::unknown(text.clone());
        self.phase.forwarded(Request::Parse(name.clone(), Box::new(prepared)), Whose::Ours);
        self.phase.forwarded(Request::CloseStatement(name), Whose::Ours);
        self.phase.forwarded(Request::Sync, Whose::Ours);
        self.run_until(|session, _| if session.phase.is_quiet() { Poll::Ready(()) } else { Poll::Pending }).await?;
        self.phase.skipping = false;
        // Several statements at once are refused in a Parse and not in a Query: that says nothing.
        Ok(self.watch.own_error.take().filter(|error| error.routine != b"exec_parse_message"))
    }

    /// Asks what names mean, where that is not known.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn learn_names(&mut self) -> Result<(), End> {
        if self.settings.names.is_some() {
            return Ok(());
        }
        let Some(rows) = self.ask(&format!("{NAMES}, {TIMEOUTS}, {READING}")).await? else { return Ok(()) };
        let mut values = rows.into_iter().next().unwrap_or_default().into_iter().flatten();
        let path = values.next().and_then(|json| serde_json::from_str(&json).ok());
        self.settings.names =
            path.zip(values.next()).map(|(search_path, role)| Arc::new(NameContext { search_path, role }));
        if let Some(own) = values.next() {
            self.note_own_relations(own == "t");
        }
        self.settings.timeouts = Timeouts::of(&values.next().unwrap_or_default());
        if let (Some(encoding), Some(strings)) = (values.next(), values.next()) {
            self.settings.reads_texts_by(&encoding, &strings);
        }
        Ok(())
    }
}
