//! The sessions that live now, how they are signalled, and by which key they are cancelled.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use dashmap::DashMap;
use tokio::sync::watch;

use super::bell::Bell;
pub use super::bell::Signal;
use crate::approvals::Hold;
use crate::backend::connect::Upstream;
use crate::clock::Timestamp;
use crate::ids::{HoldId, SessionId, random_bytes};

/// A session as operators see it.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Who logged in, by the name in policies and records.
    pub principal: String,
    /// The role that Postgres sees.
    pub user: String,
    /// Its database.
    pub database: String,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// As it was at start-up.
    pub application_name: String,
    /// Since when.
    pub since: Timestamp,
    /// The backend's process id.
    pub backend_pid: u32,
    /// The human behind the principal, where one is known.
    pub human: Option<String>,
    /// What it does.
    pub activity: Activity,
}

/// What a session does now, in the words of `pg_stat_activity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// In which state it is.
    pub state: Doing,
    /// Since when.
    pub since: Timestamp,
    /// The command of the statement that runs or waits; that of the last one where none does.
    pub statement: Option<String>,
    /// Since when its transaction is open.
    pub transaction_since: Option<Timestamp>,
    /// The hold on which it waits.
    pub hold: Option<HoldId>,
    /// `holdgate.agent`.
    pub agent: Option<String>,
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It waits for its client.
    Idle,
    /// The server works for it.
    Active,
    /// It waits for its client in an open transaction.
    IdleInTransaction,
    /// The same after an error.
    Aborted,
    /// A statement or a stream of it waits for a person.
    Held,
}

impl Doing {
    /// The word that operators read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::IdleInTransaction => "idle in transaction",
            Self::Aborted => "idle in transaction (aborted)",
            Self::Held => "held",
        }
    }
}

impl Activity {
    /// Of a session that has just begun.
    #[must_use]
    pub const fn begun(since: Timestamp) -> Self {
        Self { state: Doing::Idle, since, statement: None, transaction_since: None, hold: None, agent: None }
    }
}

/// All live sessions.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    sessions: Arc<DashMap<SessionId, Entry>>,
    keys: Arc<DashMap<(u32, Vec<u8>), SessionId>>,
    paused: Arc<watch::Sender<bool>>,
}

/// A backend that can be cancelled: where it is, its process id, its own key.
pub type Backend = (Upstream, u32, Vec<u8>);

#[derive(Debug)]
struct Entry {
    row: SessionRow,
    backend: Backend,
    live: Arc<Live>,
}

/// What a session and those outside share.
#[derive(Debug)]
struct Live {
    /// A hold or a paused stream waits: a cancel is for the hold, not for the backend.
    holding: AtomicBool,
    /// A statement is being judged that the backend knows nothing of: a cancel is for it.
    judging: AtomicBool,
    activity: Mutex<Activity>,
    bell: Bell,
}

impl Live {
    fn takes_cancels(&self) -> bool {
        self.holding.load(Ordering::SeqCst) || self.judging.load(Ordering::Acquire)
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place in the registry; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Registry,
    id: SessionId,
    key: (u32, Vec<u8>),
    live: Arc<Live>,
}

impl Registry {
    /// Enters a session; gives back the secret that its client will cancel with, of the length of the server's own.
    #[must_use]
    pub fn enter(&self, row: SessionRow, backend: Backend) -> (Registration, Vec<u8>) {
        let secret = random_bytes(backend.2.len().clamp(4, 256));
        let (id, key) = (row.id, (row.backend_pid, secret.clone()));
        let live = Arc::new(Live {
            holding: AtomicBool::new(false),
            judging: AtomicBool::new(false),
            activity: Mutex::new(row.activity.clone()),
            bell: Bell::default(),
        });
        self.keys.insert(key.clone(), id);
        self.sessions.insert(id, Entry { row, backend, live: live.clone() });
        (Registration { registry: self.clone(), id, key, live }, secret)
    }

    /// A client cancels: a session that waits for a person, or judges, is told; otherwise the backend is given back that
    /// is to be cancelled. A wrong key does nothing.
    #[must_use]
    pub fn cancel(&self, pid: u32, key: &[u8]) -> Option<Backend> {
        let id = self.keys.get(&(pid, key.to_vec())).map(|entry| *entry.value())?;
        let (takes, backend) =
            self.sessions.get(&id).map(|entry| (entry.live.takes_cancels(), entry.backend.clone()))?;
        if takes {
            let _there = self.signal(id, Signal::Cancel);
            return None;
        }
        Some(backend)
    }

    /// Signals one session; false where it is not there.
    #[must_use]
    pub fn signal(&self, id: SessionId, signal: Signal) -> bool {
        let live = self.sessions.get(&id).map(|entry| entry.live.clone());
        live.as_ref().map(|live| live.bell.ring(signal)).is_some()
    }

    /// Stops new statements of all sessions, or lets them go on.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Whether new statements wait.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Returns once new statements are taken.
    pub async fn resumed(&self) {
        let mut paused = self.paused.subscribe();
        // The sender lives as long as the registry.
        drop(paused.wait_for(|paused| !paused).await);
    }

    /// Signals all sessions.
    pub fn signal_all(&self, signal: &Signal) {
        let all: Vec<_> = self.sessions.iter().map(|entry| entry.live.clone()).collect();
        for live in all {
            live.bell.ring(signal.clone());
        }
    }

    /// The sessions, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<SessionRow> {
        let mut rows: Vec<_> = self
            .sessions
            .iter()
            .map(|entry| SessionRow { activity: entry.live.activity().clone(), ..entry.row.clone() })
            .collect();
        rows.sort_by_key(|row| row.since);
        rows
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl Registration {
    /// The session's id.
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// Whether the session waits for a person.
    pub(super) fn holding(&self, holds: bool) {
        self.live.holding.store(holds, Ordering::SeqCst);
        if !holds {
            self.live.activity().hold = None;
        }
    }

    /// Whether a statement is being judged while nothing runs.
    pub(super) fn judging(&self, judges: bool) {
        // Twice a frame: whoever reads it a moment too early sends a cancel that came a moment too early.
        self.live.judging.store(judges, Ordering::Release);
    }

    /// Whether a cancel is for the session itself.
    pub(super) fn takes_cancels(&self) -> bool {
        self.live.takes_cancels()
    }

    /// What the session is told since it last asked; the task is woken by the next signal.
    pub(super) fn signals(&self, cx: &Context<'_>) -> Vec<Signal> {
        self.live.bell.answer(cx)
    }

    /// The same without being woken.
    pub(super) fn signals_now(&self) -> Vec<Signal> {
        self.live.bell.taken()
    }

    /// What it waits for.
    pub(super) fn waits_for(&self, hold: &Hold) {
        self.live.activity().hold = Some(hold.id.clone());
    }

    pub(super) fn is_holding(&self) -> bool {
        self.live.holding.load(Ordering::SeqCst)
    }

    /// What the session does, to be changed in place; never kept across an await.
    pub(super) fn activity(&self) -> MutexGuard<'_, Activity> {
        self.live.activity()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.keys.remove(&self.key);
        self.registry.sessions.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(registration: &Registration) -> Vec<Signal> {
        registration.signals(&Context::from_waker(std::task::Waker::noop()))
    }

    fn row() -> SessionRow {
        SessionRow {
            id: SessionId::new(),
            principal: "agent".into(),
            user: "agent".into(),
            database: "shop".into(),
            client: None,
            application_name: String::new(),
            since: Timestamp::from_micros(0),
            backend_pid: 7,
            human: None,
            activity: Activity::begun(Timestamp::from_micros(0)),
        }
    }

    fn backend() -> Backend {
        let upstream = Upstream {
            host: "localhost".into(),
            port: 5432,
            encryption: crate::backend::connect::Encryption::Never,
            address: None,
            negotiation: crate::backend::connect::Negotiation::Asked,
            timeout: std::time::Duration::from_secs(1),
        };
        (upstream, 7, vec![1, 2, 3, 4])
    }

    #[test]
    fn a_wrong_cancel_key_does_nothing() {
        let registry = Registry::default();
        let (registration, key) = registry.enter(row(), backend());
        assert!(registry.cancel(8, &key).is_none());
        assert!(registry.cancel(7, b"nope").is_none());
        assert!(registry.cancel(7, &key).is_some());
        assert_eq!(told(&registration), []);
    }

    #[test]
    fn a_cancel_withdraws_what_waits_for_a_person() {
        let registry = Registry::default();
        let (registration, key) = registry.enter(row(), backend());
        registration.holding(true);
        assert!(registry.cancel(7, &key).is_none());
        assert_eq!(told(&registration), [Signal::Cancel]);
    }

    #[test]
    fn a_cancel_is_for_the_statement_that_is_being_judged() {
        let registry = Registry::default();
        let (registration, key) = registry.enter(row(), backend());
        registration.judging(true);
        assert!(registry.cancel(7, &key).is_none());
        assert_eq!(told(&registration), [Signal::Cancel]);
        registration.judging(false);
        assert!(registry.cancel(7, &key).is_some());
    }

    #[test]
    fn a_session_leaves_when_its_registration_is_dropped() {
        let registry = Registry::default();
        let (registration, _) = registry.enter(row(), backend());
        assert_eq!(registry.len(), 1);
        drop(registration);
        assert!(registry.is_empty());
    }
}
