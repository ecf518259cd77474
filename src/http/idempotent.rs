//! `Idempotency-Key`: a request that is sent again under its key gets the answer of the first, and does nothing. What comes
//! while the first is still worked on waits here; what comes after a restart is answered from the hold store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::Problem;
use crate::approvals::DecideError;
use crate::clock::{Clock, Timestamp};

/// Keys that are remembered; the oldest goes first.
const KEYS_MAX: usize = 4096;
/// How long a key is remembered.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest key, bytes.
const KEY_MAX: usize = 255;

type Outcome = Result<Value, Problem>;

/// The key of a request, if it has one.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let key = value.to_str().ok().map(str::trim).filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
        let wrong = || Problem::unprocessable(format!("The Idempotency-Key has 1 to {KEY_MAX} ASCII characters."));
        key.map(|key| Self(Some(key.to_owned()))).ok_or_else(wrong)
    }
}

/// What a key stands for.
pub(super) struct Asked<'a> {
    /// Whose key it is: those of two operators are two.
    pub(super) operator: &'a str,
    pub(super) key: &'a str,
    /// The resource that the request is about.
    pub(super) resource: &'a str,
    pub(super) body: &'a [u8],
}

impl Asked<'_> {
    /// Of all that makes two requests the same.
    pub(super) fn digest(&self) -> Vec<u8> {
        digest(&SHA256, &[self.resource.as_bytes(), b"\n", self.body].concat()).as_ref().to_vec()
    }
}

/// Answers by their keys, of this process.
pub(super) struct Answers {
    slots: Mutex<Slots>,
    clock: Clock,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<(String, String), Slot>,
    order: VecDeque<((String, String), Timestamp)>,
}

#[derive(Clone)]
struct Slot {
    request: Vec<u8>,
    answer: Arc<OnceCell<Outcome>>,
}

impl Answers {
    pub(super) fn new(clock: Clock) -> Self {
        Self { slots: Mutex::default(), clock }
    }

    /// The answer of the first request with this key; `run` is that request, and runs to its end whoever waits for it.
    ///
    /// # Errors
    /// 422 where the key stood for another request; what `run` says.
    pub(super) async fn once(&self, asked: Asked<'_>, run: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
        let name = (asked.operator.to_owned(), asked.key.to_owned());
        let request = asked.digest();
        let slot = self.slot(&name, request.clone());
        if slot.request != request {
            return Err(DecideError::KeyReused.into());
        }
        let answer = Arc::clone(&slot.answer);
        let answered = tokio::spawn(async move { answer.get_or_init(|| run).await.clone() }).await;
        let outcome = answered.unwrap_or_else(|_| Err(Problem::unavailable("The request broke off.")));
        if outcome.as_ref().is_err_and(Problem::is_ours) {
            // A fault on this side is no answer: the same request may be tried again.
            self.forget(&name);
        }
        outcome
    }

    fn slot(&self, name: &(String, String), request: Vec<u8>) -> Slot {
        let now = self.clock.now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |(_, at): &(_, Timestamp), held: usize| held >= KEYS_MAX || now.since(*at) >= KEPT;
        while slots.order.front().is_some_and(|oldest| over(oldest, slots.order.len())) {
            if let Some((oldest, _)) = slots.order.pop_front() {
                slots.by_key.remove(&oldest);
            }
        }
        if let Some(slot) = slots.by_key.get(name) {
            return slot.clone();
        }
        let slot = Slot { request, answer: Arc::default() };
        slots.order.push_back((name.clone(), now));
        slots.by_key.insert(name.clone(), slot.clone());
        slot
    }

    fn forget(&self, name: &(String, String)) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.by_key.remove(name);
        slots.order.retain(|(kept, _)| kept != name);
    }
}
