//! Microsoft Teams: an Adaptive Card through the webhook of a Workflow, which opens the decision page.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::worker::{Failure, Notice, Target, arrived};
use super::{EventKind, Sender, Voice};
use crate::approvals::Hold;

/// Teams refuses messages over 28 KB.
const MESSAGE_MAX: usize = 28 * 1024;

/// A channel as configured.
#[derive(Clone, Debug)]
pub struct Teams {
    /// Its name.
    pub name: String,
    /// The Workflow's address; it holds a signature, and so is a secret.
    pub url: String,
    /// The way to it.
    pub sender: Sender,
}

impl Teams {
    pub(super) fn target(self, voice: Voice) -> impl Target {
        Channel { teams: self, voice }
    }
}

struct Channel {
    teams: Teams,
    voice: Voice,
}

impl Target for Channel {
    fn name(&self) -> &str {
        &self.teams.name
    }

    /// A message cannot be changed afterwards: what matters is that one is wanted, and that it is over.
    fn wants(&self, event: EventKind) -> bool {
        matches!(event, EventKind::Created | EventKind::Decided | EventKind::Expired | EventKind::Withdrawn)
    }

    fn deliver<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let request = self.teams.sender.post(&self.teams.url)?;
            let body = message(notice.hold, &self.voice);
            let request = request.header("content-type", "application/json").body(body);
            arrived(Sender::send(request).await?).map(drop)
        })
    }
}

/// The card in full where it fits, else what it is about, its hash, and where it can be read.
fn message(hold: &Hold, voice: &Voice) -> String {
    let full = wrapped(&card(hold, voice, full_body(hold, voice)));
    if full.len() <= MESSAGE_MAX { full } else { wrapped(&card(hold, voice, short_body(hold))) }
}

fn wrapped(card: &Value) -> String {
    let kind = "application/vnd.microsoft.card.adaptive";
    json!({"type": "message", "attachments": [{"contentType": kind, "contentUrl": null, "content": card}]}).to_string()
}

fn card(hold: &Hold, voice: &Voice, body: Vec<Value>) -> Value {
    let title = runs(&voice.headline(hold), &json!({"weight": "Bolder", "size": "Medium"}));
    let body = [vec![title], body].concat();
    json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": "Open the hold", "url": voice.link(hold)}],
    })
}

fn full_body(hold: &Hold, voice: &Voice) -> Vec<Value> {
    let line = |(field, text): (&str, String)| match field {
        "statement" | "parameter" => runs(&text, &json!({"fontType": "Monospace"})),
        _ => runs(&format!("{field}: {text}"), &json!({})),
    };
    (voice.lines)(hold).into_iter().map(line).collect()
}

fn short_body(hold: &Hold) -> Vec<Value> {
    let sentence = format!(
        "The card is too long for a message ({} bytes of SQL). Read it in full before you decide. Action hash: {}",
        hold.statement.len(),
        hold.action_hash
    );
    vec![runs(&sentence, &json!({}))]
}

/// Text as it is: a rich text block knows no markup, as a text block does.
fn runs(text: &str, style: &Value) -> Value {
    let mut run = json!({"type": "TextRun", "text": text});
    if let (Some(run), Some(style)) = (run.as_object_mut(), style.as_object()) {
        run.extend(style.clone());
    }
    json!({"type": "RichTextBlock", "inlines": [run]})
}

#[cfg(test)]
#[path = "teams_tests.rs"]
mod tests;
