//! The proxy's stream of holds, followed over every break of the connection.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use serde_json::Value;

use super::super::api::{Api, ApiError};
use super::sse::{Event, Parser};
use crate::ids::random_bytes;

/// Before the second attempt; each pause is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What comes of the stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// All holds that wait, the oldest first: the beginning, or steps were lost.
    Listed(Vec<Value>),
    /// The connection is back, and what was missed follows.
    Back,
    /// A hold as it stands.
    Hold(Box<Value>),
    /// The connection broke; it is tried again.
    Lost(String),
}

/// One reader's place in the stream.
pub(super) struct Follow {
    api: Api,
    place: Option<String>,
    open: Option<Open>,
    /// Attempts since the last event.
    failed: u32,
    /// A proxy that has answered once may be away for a while; one that never did is a wrong address.
    answered: bool,
}

struct Open {
    response: Response,
    parser: Parser,
    ready: VecDeque<Event>,
    resumed: bool,
}

impl Follow {
    pub(super) fn new(api: Api) -> Self {
        Self { api, place: None, open: None, failed: 0, answered: false }
    }

    /// The next step.
    ///
    /// # Errors
    /// What another attempt would not change: a token that is no operator's, an address that was never a proxy's.
    pub(super) async fn next(&mut self) -> Result<Step, ApiError> {
        loop {
            match self.step().await {
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {}
                Err(error) if !self.answered || is_final(&error) => return Err(error),
                Err(error) => {
                    self.open = None;
                    self.failed = self.failed.saturating_add(1);
                    if self.failed == 1 {
                        return Ok(Step::Lost(error.to_string()));
                    }
                }
            }
        }
    }

    /// Forgets the place: the next step is the list.
    pub(super) fn restart(&mut self) {
        (self.open, self.place) = (None, None);
    }

    async fn step(&mut self) -> Result<Option<Step>, ApiError> {
        let event = self.event().await?;
        let resumed = self.open.as_ref().is_some_and(|open| open.resumed);
        let step = match event.kind.as_str() {
            "open" if resumed => Some(Step::Back),
            // Listed after the stream is open, so that nothing falls between the two.
            "open" | "reset" => Some(self.listed().await?),
            "hold" => {
                let hold = serde_json::from_str(&event.data);
                let hold = hold.map_err(|error| ApiError::Failed(format!("an event without JSON: {error}")))?;
                Some(Step::Hold(Box::new(hold)))
            }
            // An event of a later version.
            _ => None,
        };
        // The place counts once what it stands for was handed on.
        if event.id.is_some() {
            self.place = event.id;
        }
        self.failed = 0;
        Ok(step)
    }

    async fn listed(&mut self) -> Result<Step, ApiError> {
        // A list that fails is asked for again, whatever place the stream had reached.
        let place = self.place.take();
        let mut waiting = self.api.list("pending").await?;
        self.place = place;
        waiting.reverse();
        Ok(Step::Listed(waiting))
    }

    async fn event(&mut self) -> Result<Event, ApiError> {
        if self.open.is_none() {
            if self.failed > 0 {
                tokio::time::sleep(pause(self.failed)).await;
            }
            let response = self.api.stream(self.place.as_deref()).await?;
            let resumed = self.place.is_some();
            self.answered = true;
            self.open = Some(Open { response, parser: Parser::default(), ready: VecDeque::new(), resumed });
        }
        let Some(open) = &mut self.open else { return Err(ApiError::Failed("no stream".to_owned())) };
        loop {
            if let Some(event) = open.ready.pop_front() {
                return Ok(event);
            }
            let bytes = open.response.chunk().await.map_err(|error| self.api.unreachable(&error))?;
            let Some(bytes) = bytes else { return Err(ApiError::Failed("the end of the stream".to_owned())) };
            open.ready.extend(open.parser.push(&bytes).map_err(|error| ApiError::Failed(error.to_string()))?);
        }
    }
}

/// Whether another attempt cannot help. A proxy that drains or starts answers 5xx, or not at all.
pub(super) fn is_final(error: &ApiError) -> bool {
    match error {
        ApiError::Unauthorized
        | ApiError::Forbidden(_)
        | ApiError::NotFound(_)
        | ApiError::Url(_)
        | ApiError::Usage(_)
        | ApiError::Output(_) => true,
        ApiError::Unreachable { .. } | ApiError::Failed(_) => false,
    }
}

/// Grows with each attempt; its second half by chance, so that many readers do not come back at once.
fn pause(attempts: u32) -> Duration {
    let whole = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(PAUSE_MAX);
    let chance = random_bytes(1).first().copied().unwrap_or_default();
    whole / 2 + (whole / 2).saturating_mul(u32::from(chance)) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        for attempts in 1..40 {
            let whole = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(PAUSE_MAX);
            let pause = pause(attempts);
            assert!(pause >= whole / 2 && pause <= whole, "{attempts}: {pause:?}");
        }
        assert!(pause(40) >= PAUSE_MAX / 2);
    }
}
