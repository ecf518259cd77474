//! Reading a text: a small one at once, a large or laborious one beside the reactor, a few at a time.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::relay::End;
use super::settings::NameContext;
use super::{Services, Session};
use crate::analysis::{Context, Encoding, Facts, Known, Rejected, StatementFacts};
use crate::backend::databases::Snapshot;
use crate::catalog::Oid;
use crate::report::Report;
use crate::sqlstate;

/// Bytes of a text that is read on the reactor.
const QUICK_TEXT_MAX: usize = 16 << 10;
/// Steps that a text may take there: some milliseconds.
pub(super) const QUICK_WORK_MAX: usize = 10_000;

/// Large texts that are read at the same time, in all sessions: a tree takes a hundred times the bytes of its text.
static READERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// All that a text is read in, for another thread.
struct Desk {
    services: Arc<Services>,
    snapshot: Arc<Snapshot>,
    names: Arc<NameContext>,
    database: Arc<str>,
    standard_conforming_strings: bool,
    encoding: Encoding,
    called: Option<Oid>,
    text: Bytes,
}

impl Desk {
    fn read(&self) -> Result<Arc<Facts>, Rejected> {
        let context = Context {
            standard_conforming_strings: self.standard_conforming_strings,
            encoding: self.encoding,
            called: self.called,
            statement_max: self.services.bounds.statement_max,
            ..Context::new(&self.snapshot.catalog, &self.database, &self.names.search_path, &self.names.role)
        };
        self.services.facts.analyze(&self.text, &context)
    }
}

impl Session {
    /// The facts of a text here and now.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn read_text(&mut self, text: &Bytes) -> Result<Result<Arc<Facts>, Report>, End> {
        let epoch = self.epoch();
        if let Some(facts) = self.recall.get(text, epoch).filter(|_| self.calling.is_none()) {
            return Ok(Ok(facts.clone()));
        }
        if let Some(known) = self.read_quickly(text) {
            if let Ok(Known { facts, repeats: true }) = &known
                && self.calling.is_none()
            {
                self.recall.keep(text, epoch, facts);
            }
            return Ok(known.map(|known| known.facts).map_err(too_hard));
        }
        let Some(desk) = self.desk(text) else { return Ok(Ok(self.without_names(text))) };
        let read = async move {
            // The permit goes with the work: a client that leaves does not make room for another's.
            let permit = Arc::clone(&READERS).acquire_owned().await.ok()?;
            let work = move || {
                let facts = desk.read();
                drop(permit);
                facts
            };
            tokio::task::spawn_blocking(work).await.ok()
        };
        match self.wait_for(read).await? {
            Some(facts) => Ok(facts.map_err(too_hard)),
            None => Ok(Ok(unknown(text, "the analysis came to no end"))),
        }
    }

    /// The facts of a text that takes no time to speak of; `None` for every other.
    fn read_quickly(&self, text: &Bytes) -> Option<Result<Known, Rejected>> {
        if text.len() > QUICK_TEXT_MAX {
            return None;
        }
        let known = self.services.facts.look_up(text, &self.context()?);
        if known.as_ref().is_ok_and(|known| known.facts.is_unfinished()) { None } else { Some(known) }
    }

    fn desk(&self, text: &Bytes) -> Option<Desk> {
        let (snapshot, names) = self.snapshot.as_ref().zip(self.settings.names.as_ref())?;
        Some(Desk {
            services: Arc::clone(&self.services),
            snapshot: Arc::clone(snapshot),
            names: Arc::clone(names),
            database: self.who.database.as_str().into(),
            standard_conforming_strings: self.settings.standard_conforming_strings,
            encoding: self.settings.encoding,
            called: self.calling,
            text: text.clone(),
        })
    }
}

pub(super) fn unknown(text: &Bytes, why: &str) -> Arc<Facts> {
    Arc::new(Facts { statements: vec![StatementFacts::opaque("unknown", 0..text.len(), why)] })
}

pub(super) fn too_hard(rejected: Rejected) -> Report {
    Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, rejected.to_string()).hint("Split the statement into smaller ones.")
}
