//! PAUSE: what would begin waits, what is open goes on to its end.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use super::Session;
use super::clear::Cleared;
use super::phase::Status;
use super::relay::End;
use crate::report::Report;
use crate::sqlstate;

/// A pause is not waited for longer.
const PAUSE_MAX: Duration = Duration::from_secs(600);

impl Session {
    /// Waits while an operator has paused the data plane, with an open eye on the client. Some: it does not go on.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn sit_out_a_pause(&mut self) -> Result<Option<Cleared>, End> {
        // An open transaction goes on: it would hold its locks for as long as the pause lasts.
        let open = self.phase.status != Status::Idle || self.phase.executed;
        if open {
            return Ok(None);
        }
        let registry = self.services.registry.clone();
        let mut resumed = std::pin::pin!(registry.resumed());
        let mut sleep = std::pin::pin!(tokio::time::sleep(PAUSE_MAX));
        let went_on = self
            .pump_raw(|session, cx| {
                if resumed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                let over = session.must_end() || session.client_left() || sleep.as_mut().poll(cx).is_ready();
                if over { Poll::Ready(false) } else { Poll::Pending }
            })
            .await?;
        if went_on {
            return Ok(None);
        }
        Ok(Some(Cleared::Refused(
            Report::new(sqlstate::CANNOT_CONNECT_NOW, "an operator has paused the proxy")
                .hint("Nothing was executed. Send the statement again later."),
        )))
    }
}
