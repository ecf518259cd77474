//! What a session does now, kept for operators: written only where it has changed, right before the session waits.

use super::Session;
use super::phase::{Request, Status};
use super::registry::Doing;
use crate::ids::StatementId;

/// What was shown last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown(Option<(Doing, Option<StatementId>, Status)>);

impl Session {
    /// Called whenever nothing moves any more: what the session waits for then is what it does.
    pub(super) fn show_doing(&mut self) {
        let running = self.phase.requests().find_map(Request::run);
        let id = running.and_then(super::run::Run::deciding_id);
        let shown = Some((self.doing(), id, self.phase.status));
        if self.shown.0 == shown {
            return;
        }
        let now = self.services.clock.now();
        let statement = running.and_then(|run| run.facts_of(run.deciding())).map(|facts| facts.command.as_str());
        let open = self.phase.status != Status::Idle;
        let mut activity = self.registration.activity();
        if self.shown.0.is_none_or(|(before, ..)| before != self.doing()) {
            activity.since = now;
        }
        activity.state = self.doing();
        if let Some(statement) = statement.filter(|statement| activity.statement.as_deref() != Some(statement)) {
            activity.statement = Some(statement.to_owned());
        }
        activity.transaction_since = activity.transaction_since.or(Some(now)).filter(|_| open);
        if activity.agent != self.settings.agent {
            activity.agent.clone_from(&self.settings.agent);
        }
        drop(activity);
        self.shown.0 = shown;
    }

    fn doing(&self) -> Doing {
        match self.phase.status {
            _ if self.registration.is_holding() => Doing::Held,
            _ if !self.phase.is_quiet() => Doing::Active,
            Status::Idle => Doing::Idle,
            Status::Transaction => Doing::IdleInTransaction,
            Status::Failed => Doing::Aborted,
        }
    }
}
