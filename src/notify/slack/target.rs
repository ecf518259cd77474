//! One channel: a message for each hold, posted once and changed afterwards.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::api::{Api, SlackError};
use super::blocks;
use crate::notify::store::Outbox;
use crate::notify::worker::{Failure, Notice, Target};
use crate::notify::{EventKind, Voice};

/// The target's name in the outbox.
const NAME: &str = "slack";

/// A channel as configured.
#[derive(Clone, Debug)]
pub struct Slack {
    /// The API with the bot's token.
    pub api: Api,
    /// The channel's id.
    pub channel: String,
}

impl Slack {
    pub(in crate::notify) fn target(self, outbox: Outbox, voice: Voice) -> impl Target {
        Channel { slack: self, outbox, voice }
    }
}

struct Channel {
    slack: Slack,
    outbox: Outbox,
    voice: Voice,
}

impl Target for Channel {
    fn name(&self) -> &str {
        NAME
    }

    fn wants(&self, _event: EventKind) -> bool {
        true
    }

    fn deliver<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            match self.outbox.place(NAME, &notice.hold.id).await? {
                Some(place) => self.change(&notice, &place).await,
                // A hold that was over before anybody was told of it is no news.
                None if notice.delivery.event != EventKind::Created => Ok(()),
                None => self.post(&notice).await,
            }
        })
    }
}

impl Channel {
    async fn post(&self, notice: &Notice<'_>) -> Result<(), Failure> {
        let (text, blocks) = blocks::message(notice.hold, &self.voice);
        let body = json!({"channel": self.slack.channel, "text": text, "blocks": blocks,
                          "unfurl_links": false, "unfurl_media": false});
        let posted = self.slack.api.call("chat.postMessage", &body).await?;
        let word = |name: &str| posted.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = format!("{} {}", word("channel"), word("ts"));
        Ok(self.outbox.set_place(NAME, &notice.hold.id, &place).await?)
    }

    async fn change(&self, notice: &Notice<'_>, place: &str) -> Result<(), Failure> {
        let (channel, ts) = place.split_once(' ').unwrap_or((&self.slack.channel, place));
        let (text, blocks) = blocks::message(notice.hold, &self.voice);
        let body = json!({"channel": channel, "ts": ts, "text": text, "blocks": blocks});
        match self.slack.api.call("chat.update", &body).await {
            Ok(_) => Ok(()),
            // Somebody took the message away.
            Err(SlackError::Refused(word)) if word == "message_not_found" => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
