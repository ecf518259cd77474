//! What a session does now, kept for operators: written only where it has changed, right before the session waits.

use super::Session;
use super::phase::{Request, Status};
use super::registry::Doing;
use crate::ids::StatementId;

/// What was shown last, and what was judged since.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    what: Option<(Doing, Option<StatementId>, Status)>,
    command: String,
    /// A statement was judged: it may run and end without the session ever waiting for it.
    judged: bool,
}

impl Shown {
    /// A statement with this command is the current one.
    pub(super) fn judged(&mut self, command: &str) {
        command.clone_into(&mut self.command);
        self.judged = true;
    }
}

impl Session {
    /// Called whenever nothing moves any more: what the session waits for then is what it does.
    pub(super) fn show_doing(&mut self) {
        let running = self.phase.next_few().find_map(Request::run);
        let id = running.and_then(super::run::Run::deciding_id);
        let doing = self.doing();
        let what = Some((doing, id, self.phase.status));
        let judged = std::mem::take(&mut self.shown.judged);
        if !judged && self.shown.what == what {
            return;
        }
        let now = self.services.clock.now();
        let open = self.phase.status != Status::Idle;
        let mut activity = self.registration.activity();
        if judged || self.shown.what.is_none_or(|(before, ..)| before != doing) {
            activity.since = now;
        }
        activity.state = doing;
        if activity.statement.as_deref().unwrap_or_default() != self.shown.command {
            activity.statement = Some(self.shown.command.clone());
        }
        activity.transaction_since = activity.transaction_since.or(Some(now)).filter(|_| open);
        if activity.agent != self.settings.agent {
            activity.agent.clone_from(&self.settings.agent);
        }
        drop(activity);
        self.shown.what = what;
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
