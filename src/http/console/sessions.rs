//! Who is signed in to the console: sessions that are kept here, and of which the browser has nothing but a name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, digest};

use crate::approvals::Operator;
use crate::clock::{Clock, Timestamp};
use crate::ids::random_base32;

/// A session that nobody used for so long is over.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// However much it is used, it is over after this.
pub(super) const AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once; the one that was unused longest makes room.
const SESSIONS_MAX: usize = 1000;
/// Sessions of one operator at once.
const OWN_MAX: usize = 20;
/// 160 random bits.
const NAME_LEN: usize = 32;

/// One signed-in browser.
#[derive(Clone, Debug)]
pub(in crate::http) struct Session {
    pub(super) operator: Operator,
    /// Every form of this session carries it.
    pub(super) csrf: String,
    opened_at: Timestamp,
    used_at: Timestamp,
}

/// All sessions of this process. A name is kept as its hash alone.
pub(in crate::http) struct Sessions {
    sessions: Mutex<HashMap<Vec<u8>, Session>>,
    clock: Clock,
}

impl Sessions {
    pub(in crate::http) fn new(clock: Clock) -> Self {
        Self { sessions: Mutex::default(), clock }
    }

    /// Opens one and gives its name, which is told once.
    pub(super) fn open(&self, operator: Operator) -> String {
        let (name, now) = (random_base32(NAME_LEN), self.clock.now());
        let mut sessions = self.live(now);
        let own = sessions.values().filter(|session| session.operator.name == operator.name).count();
        if own >= OWN_MAX {
            drop_oldest(&mut sessions, |session| session.operator.name == operator.name);
        }
        if sessions.len() >= SESSIONS_MAX {
            drop_oldest(&mut sessions, |_| true);
        }
        let session = Session { operator, csrf: random_base32(NAME_LEN), opened_at: now, used_at: now };
        sessions.insert(hashed(&name), session);
        name
    }

    /// The session of that name, which counts as used now.
    pub(super) fn find(&self, name: &str) -> Option<Session> {
        let now = self.clock.now();
        let mut sessions = self.live(now);
        let session = sessions.get_mut(&hashed(name))?;
        session.used_at = now;
        Some(session.clone())
    }

    /// Ends one.
    pub(super) fn close(&self, name: &str) -> Option<Session> {
        self.live(self.clock.now()).remove(&hashed(name))
    }

    /// The sessions without those that are over.
    fn live(&self, now: Timestamp) -> MutexGuard<'_, HashMap<Vec<u8>, Session>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| now.since(session.used_at) < IDLE_MAX && now.since(session.opened_at) < AGE_MAX);
        sessions
    }
}

impl Session {
    /// Whether a form was made by a page of this session. Hashes are compared, so that time tells nothing.
    pub(super) fn made(&self, csrf: &str) -> bool {
        hashed(csrf) == hashed(&self.csrf)
    }
}

fn hashed(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

fn drop_oldest(sessions: &mut HashMap<Vec<u8>, Session>, of: impl Fn(&Session) -> bool) {
    let oldest = sessions.iter().filter(|(_, session)| of(session)).min_by_key(|(_, session)| session.used_at);
    if let Some(name) = oldest.map(|(name, _)| name.clone()) {
        sessions.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::samples;

    fn sessions() -> (Sessions, Clock) {
        let clock = Clock::manual(samples::start());
        (Sessions::new(clock.clone()), clock)
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_also_when_it_never_is() {
        let (sessions, clock) = sessions();
        let (idle, busy) = (sessions.open(samples::ada()), sessions.open(samples::ada()));
        let step = IDLE_MAX.saturating_sub(Duration::from_secs(1));
        let mut used = Duration::ZERO;
        while used + step < AGE_MAX {
            assert!(sessions.find(&busy).is_some());
            clock.advance(step);
            used += step;
        }
        assert!(sessions.find(&idle).is_none());
        assert!(sessions.find(&busy).is_some());
        clock.advance(step);
        assert!(sessions.find(&busy).is_none());
    }

    #[test]
    fn a_closed_or_made_up_name_is_nobodys() {
        let (sessions, _) = sessions();
        let name = sessions.open(samples::ada());
        assert!(sessions.close(&name).is_some());
        assert!(sessions.find(&name).is_none() && sessions.find("").is_none());
    }

    #[test]
    fn sessions_are_bounded_for_one_operator_and_for_all() {
        let (sessions, clock) = sessions();
        let first = sessions.open(samples::ada());
        for _ in 0..OWN_MAX {
            clock.advance(Duration::from_millis(1));
            sessions.open(samples::ada());
        }
        assert!(sessions.find(&first).is_none());
        for number in 0..SESSIONS_MAX + 5 {
            sessions.open(Operator { name: number.to_string(), ..samples::ada() });
        }
        assert_eq!(sessions.sessions.lock().unwrap().len(), SESSIONS_MAX);
    }
}
