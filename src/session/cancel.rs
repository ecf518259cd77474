//! A cancel that comes while a statement is being judged: the server does not know of the statement yet, and would ignore
//! it.

use super::Session;
use super::phase::Request;
use super::run::Run;
use crate::policy::ALWAYS_RULE;
use crate::report::Report;
use crate::sqlstate;

/// With so many unanswered requests the client's cancel is for one of them.
const OWED_MAX: usize = 8;

impl Session {
    /// The client's next frame is looked at. A cancel is for it, unless something runs on the server.
    pub(super) fn begin_judging(&mut self) {
        let runs = self.phase.load().0 > OWED_MAX || self.phase.next_few().any(runs);
        self.registration.judging(!runs);
    }

    /// The frame is on its way, or withheld.
    pub(super) fn end_judging(&mut self) {
        self.registration.judging(false);
        self.cancel_requested = false;
    }

    /// Whether the client has given up what is about to be forwarded. What can be neither held nor denied goes its way, and
    /// so does what a person has just released.
    pub(super) fn is_given_up(&mut self, run: &Run) -> bool {
        self.hears_a_cancel();
        let always = run.parts.iter().all(|part| &*part.decision.rule == ALWAYS_RULE);
        let may_stop = !always && run.parts.iter().all(|part| part.hold.is_none());
        std::mem::take(&mut self.cancel_requested) && may_stop
    }

    /// Whether a cancel came in for what is being judged. What was said before it leaves counts, whether or not the session
    /// has been woken for it.
    pub(super) fn hears_a_cancel(&mut self) -> bool {
        for signal in self.registration.signals_now() {
            self.on_signal(signal);
        }
        self.cancel_requested
    }

    /// A cancel came in. Nothing of ours waits: it is for the server, and came too late to be sent there at once.
    pub(super) fn on_cancel(&mut self) {
        if self.registration.takes_cancels() {
            self.cancel_requested = true;
            return;
        }
        let (upstream, pid, key) = self.backend.clone();
        tokio::spawn(async move {
            if let Err(error) = upstream.cancel(pid, &key).await {
                tracing::warn!(%error, "a cancel could not be delivered");
            }
        });
    }
}

/// The error that the server would have raised.
pub(super) fn given_up() -> Report {
    Report::new(sqlstate::QUERY_CANCELED, "canceling statement due to user request")
}

/// A cancel can stop it on the server.
fn runs(request: &Request) -> bool {
    matches!(request, Request::Query(_) | Request::Execute(_) | Request::Call(_) | Request::Refusal(_))
}
