//! The sessions that live now, how they are signalled, and by which key they are cancelled.

use std::net::SocketAddr;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::ids::{SessionId, random_bytes};

/// Signals that may wait for one session. More are dropped: one is enough to wake it.
const SIGNALS_MAX: usize = 8;

/// What a session is told from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its client asked to cancel what runs.
    Cancel,
    /// An operator ends it.
    Kill {
        /// Who.
        by: String,
    },
    /// The proxy drains: it ends as soon as nothing of it runs.
    Drain,
}

/// A session as operators see it.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// The role that logged in.
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
}

/// All live sessions.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    sessions: Arc<DashMap<SessionId, Entry>>,
    keys: Arc<DashMap<(u32, Vec<u8>), SessionId>>,
}

#[derive(Debug)]
struct Entry {
    row: SessionRow,
    signals: mpsc::Sender<Signal>,
}

/// A session's place in the registry; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Registry,
    id: SessionId,
    key: (u32, Vec<u8>),
    /// What the session is told.
    pub signals: mpsc::Receiver<Signal>,
}

impl Registry {
    /// Enters a session; gives back the secret that its client will cancel with, of the length of the server's own.
    #[must_use]
    pub fn enter(&self, row: SessionRow, key_len: usize) -> (Registration, Vec<u8>) {
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        let secret = random_bytes(key_len.clamp(4, 256));
        let (id, key) = (row.id, (row.backend_pid, secret.clone()));
        self.keys.insert(key.clone(), id);
        self.sessions.insert(id, Entry { row, signals: sender });
        (Registration { registry: self.clone(), id, key, signals }, secret)
    }

    /// Signals the session that was given this key. A wrong key does nothing.
    pub fn cancel(&self, pid: u32, key: &[u8]) {
        let id = self.keys.get(&(pid, key.to_vec())).map(|entry| *entry.value());
        if let Some(id) = id {
            self.signal(id, Signal::Cancel);
        }
    }

    /// Signals one session; false where it is not there.
    pub fn signal(&self, id: SessionId, signal: Signal) -> bool {
        let sender = self.sessions.get(&id).map(|entry| entry.signals.clone());
        // A full queue already wakes the session; a closed one belongs to a session that is ending.
        sender.is_some_and(|sender| !matches!(sender.try_send(signal), Err(mpsc::error::TrySendError::Closed(_))))
    }

    /// Signals all sessions.
    pub fn signal_all(&self, signal: &Signal) {
        let senders: Vec<_> = self.sessions.iter().map(|entry| entry.signals.clone()).collect();
        for sender in senders {
            drop(sender.try_send(signal.clone()));
        }
    }

    /// The sessions, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<SessionRow> {
        let mut rows: Vec<_> = self.sessions.iter().map(|entry| entry.row.clone()).collect();
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

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.keys.remove(&self.key);
        self.registry.sessions.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> SessionRow {
        SessionRow {
            id: SessionId::new(),
            user: "agent".into(),
            database: "shop".into(),
            client: None,
            application_name: String::new(),
            since: Timestamp::from_micros(0),
            backend_pid: 7,
        }
    }

    #[test]
    fn a_wrong_cancel_key_does_nothing() {
        let registry = Registry::default();
        let (mut registration, key) = registry.enter(row(), 4);
        registry.cancel(8, &key);
        registry.cancel(7, b"nope");
        assert!(registration.signals.try_recv().is_err());
        registry.cancel(7, &key);
        assert_eq!(registration.signals.try_recv(), Ok(Signal::Cancel));
    }

    #[test]
    fn a_session_leaves_when_its_registration_is_dropped() {
        let registry = Registry::default();
        let (registration, _) = registry.enter(row(), 32);
        assert_eq!(registry.len(), 1);
        drop(registration);
        assert!(registry.is_empty());
    }
}
