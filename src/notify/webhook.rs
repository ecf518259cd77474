//! Standard Webhooks (specification 1.0.0): signed events of holds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use ring::hmac;
use serde_json::{Value, json};

use super::worker::{Failure, Notice, Target, arrived};
use super::{EventKind, Reach, SendError, Sender, Voice};
use crate::clock::Clock;

/// The specification's bounds of a secret, bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A signing secret, `whsec_` and base64.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

impl WebhookSecret {
    /// Reads one; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim().strip_prefix("whsec_")?).ok()?;
        SECRET_BYTES.contains(&bytes.len()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn sign(&self, text: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(hmac::sign(&self.0, text)))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret")
    }
}

/// A receiver as configured.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Each signs, so that a secret can be changed without a gap.
    pub secrets: Vec<WebhookSecret>,
    /// What it wants to hear of; everything where it is empty.
    pub events: Vec<EventKind>,
    /// Whether text and values of statements are sent.
    pub statement: bool,
    /// The way to it.
    pub sender: Sender,
}

impl Webhook {
    pub(super) fn target(self, voice: Voice) -> impl Target {
        Signed { webhook: self, voice, clock: Clock::System }
    }

    /// The way to an address, and whether that may be gone at all.
    ///
    /// # Errors
    /// The address is refused.
    pub fn sender(url: &str, reach: Reach) -> Result<Sender, SendError> {
        let sender = Sender::new(reach)?;
        drop(sender.post(url)?);
        Ok(sender)
    }
}

struct Signed {
    webhook: Webhook,
    voice: Voice,
    clock: Clock,
}

impl Signed {
    fn body(&self, notice: &Notice<'_>) -> String {
        let mut hold = (self.voice.contract)(notice.hold);
        if let Value::Object(fields) = &mut hold {
            if !self.webhook.statement {
                fields.insert("statement".to_owned(), Value::Null);
                fields.insert("parameters".to_owned(), Value::Null);
            }
            fields.insert("url".to_owned(), Value::String(self.voice.link(notice.hold)));
        }
        json!({"type": notice.delivery.event.as_str(), "timestamp": notice.delivery.at, "data": hold}).to_string()
    }
}

impl Target for Signed {
    fn name(&self) -> &str {
        &self.webhook.name
    }

    fn wants(&self, event: EventKind) -> bool {
        self.webhook.events.is_empty() || self.webhook.events.contains(&event)
    }

    fn deliver<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let (id, body) = (&notice.delivery.id, self.body(&notice));
            let seconds = self.clock.now().as_micros() / 1_000_000;
            let signed = format!("{id}.{seconds}.{body}");
            let signatures: Vec<_> = self.webhook.secrets.iter().map(|secret| secret.sign(signed.as_bytes())).collect();
            let request = self.webhook.sender.post(&self.webhook.url)?;
            let request = request
                .header("content-type", "application/json")
                .header("webhook-id", id)
                .header("webhook-timestamp", seconds.to_string())
                .header("webhook-signature", signatures.join(" "))
                .body(body);
            arrived(Sender::send(request).await?).map(drop)
        })
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
