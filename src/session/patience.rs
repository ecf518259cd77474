//! How long a session may wait for a person: as configured, and never so long that the server ends it first.

use std::time::Duration;

use super::Session;
use super::ask::Answer;
use super::phase::Status;
use super::relay::End;
use super::settings;
use crate::approvals::Hold;
use crate::clock;

/// The server is given this much time before it would end a session or a statement by itself.
const MARGIN: Duration = Duration::from_secs(2);

/// What the server ends a session or a statement with; `None`: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// `idle_session_timeout`.
    idle: Option<Duration>,
    /// `idle_in_transaction_session_timeout`.
    idle_in_transaction: Option<Duration>,
    /// `statement_timeout`.
    statement: Option<Duration>,
    /// `transaction_timeout`, of PostgreSQL 17 and later.
    transaction: Option<Duration>,
}

/// The settings, as `name=milliseconds` with commas between them.
pub(super) const TIMEOUTS: &str = "(SELECT pg_catalog.string_agg(name OPERATOR(pg_catalog.||) '=' \
     OPERATOR(pg_catalog.||) setting, ',') FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) ANY \
     (ARRAY['idle_session_timeout', 'idle_in_transaction_session_timeout', 'statement_timeout', \
     'transaction_timeout']))";

/// Their names.
pub(super) const NAMES: [&str; 4] =
    ["idle_session_timeout", "idle_in_transaction_session_timeout", "statement_timeout", "transaction_timeout"];

impl Timeouts {
    /// Reads what [`TIMEOUTS`] gives.
    pub(super) fn of(text: &str) -> Self {
        let mut timeouts = Self::default();
        for (name, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
            let value = value.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis);
            match name {
                "idle_session_timeout" => timeouts.idle = value,
                "idle_in_transaction_session_timeout" => timeouts.idle_in_transaction = value,
                "statement_timeout" => timeouts.statement = value,
                "transaction_timeout" => timeouts.transaction = value,
                _ => {}
            }
        }
        timeouts
    }

    /// The longest wait that the server outlasts.
    fn longest(&self, server: Server, elapsed: Elapsed) -> Option<Duration> {
        let left = |limit: Option<Duration>, gone: Duration| limit.map(|limit| limit.saturating_sub(gone + MARGIN));
        let of_transaction = left(self.transaction, elapsed.transaction);
        let limits = match server {
            Server::Idle => [left(self.idle, Duration::ZERO), None],
            Server::IdleInTransaction => [left(self.idle_in_transaction, Duration::ZERO), of_transaction],
            Server::AtWork => [left(self.statement, elapsed.statement), of_transaction],
        };
        limits.into_iter().flatten().min()
    }
}

/// How long a walsender's stream may stand still; `None`: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stream(Option<Duration>);

impl Stream {
    /// Reads `wal_sender_timeout`. A client answers when half of it has passed; from then on the other half is left.
    pub(super) fn of(setting: &str) -> Self {
        Self(
            settings::duration(setting)
                .filter(|whole| !whole.is_zero())
                .map(|whole| (whole / 2).saturating_sub(MARGIN)),
        )
    }

    fn longest(self) -> Option<Duration> {
        self.0
    }
}

/// What the server does while the session waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Idle,
    IdleInTransaction,
    /// In the middle of a batch, or of a stream.
    AtWork,
}

/// How long things have lasted.
#[derive(Clone, Copy, Debug, Default)]
struct Elapsed {
    statement: Duration,
    transaction: Duration,
}

impl Session {
    /// How long this connection waits for its hold. The server is asked anew, which also begins its idle time anew.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn patience(&mut self, hold: &Hold) -> Result<Duration, End> {
        let configured = self.services.hold.stream_wait;
        let wait = self.settings.wait.unwrap_or(self.services.hold.wait);
        let wait = if self.holds_locks() { wait.min(configured) } else { wait };
        let wait = wait.min(hold.expires_at.since(self.services.clock.now()));
        if let Some(answer) = self.ask(&format!("SELECT {TIMEOUTS}")).await? {
            self.settings.timeouts = Timeouts::of(&first(answer));
        }
        let server = match self.phase.status {
            _ if self.phase.in_batch => Server::AtWork,
            Status::Idle => Server::Idle,
            Status::Transaction | Status::Failed => Server::IdleInTransaction,
        };
        let longest = self.settings.timeouts.longest(server, self.elapsed(Duration::ZERO));
        Ok(longest.map_or(wait, |longest| wait.min(longest)))
    }

    /// How long a paused stream waits that began at some time.
    pub(super) fn patience_of_stream(&self, since: std::time::Instant) -> Duration {
        let elapsed = self.elapsed(clock::monotonic().saturating_duration_since(since));
        let longest = self.settings.timeouts.longest(Server::AtWork, elapsed);
        let longest = longest.into_iter().chain(self.settings.stream.longest()).min();
        longest.map_or(self.services.hold.stream_wait, |longest| longest.min(self.services.hold.stream_wait))
    }

    fn elapsed(&self, statement: Duration) -> Elapsed {
        let now = self.services.clock.now();
        let transaction = self.transaction_since.map_or(statement, |since| now.since(since).max(statement));
        Elapsed { statement, transaction }
    }
}

pub(super) fn first(answer: Answer) -> String {
    answer.into_iter().flatten().flatten().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_wait_ends_two_seconds_before_the_server_would_end_the_session() {
        let timeouts =
            Timeouts::of("idle_in_transaction_session_timeout=10000,idle_session_timeout=0,statement_timeout=5000");
        let none = Elapsed::default();
        assert_eq!(timeouts.longest(Server::IdleInTransaction, none), Some(SECONDS(8)));
        assert_eq!(timeouts.longest(Server::Idle, none), None);
        assert_eq!(timeouts.longest(Server::AtWork, none), Some(SECONDS(3)));
    }

    #[test]
    fn a_stream_that_stands_still_is_waited_for_as_long_as_the_server_surely_does() {
        assert_eq!(Stream::of("1min").longest(), Some(SECONDS(28)));
        assert_eq!(Stream::of("0").longest(), None);
    }

    #[test]
    fn what_has_passed_already_is_not_waited_again() {
        let timeouts = Timeouts::of("statement_timeout=9000,transaction_timeout=20000");
        let elapsed = Elapsed { statement: SECONDS(4), transaction: SECONDS(17) };
        assert_eq!(timeouts.longest(Server::AtWork, elapsed), Some(SECONDS(1)));
        assert_eq!(timeouts.longest(Server::IdleInTransaction, elapsed), Some(SECONDS(1)));
        let late = Elapsed { statement: SECONDS(30), transaction: SECONDS(30) };
        assert_eq!(timeouts.longest(Server::AtWork, late), Some(Duration::ZERO));
    }
}
