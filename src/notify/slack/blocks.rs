//! A hold as Block Kit shows it.

use serde_json::{Value, json};

use super::api::escape;
use crate::approvals::{Hold, HoldState};
use crate::notify::Voice;

/// Characters of a card that one message shows; a longer one is not cut, but linked, and then has no buttons.
const CARD_MAX: usize = 3000;
/// Characters of a header (Block Kit, header block).
const HEADER_MAX: usize = 150;
/// Characters of a reason that can be typed.
const REASON_MAX: usize = 3000;
/// The field for the reason.
pub(super) const REASON: &str = "reason";
/// Names of the buttons.
pub(super) const APPROVE: &str = "approve";
/// The other one.
pub(super) const DENY: &str = "deny";

/// Text for where blocks cannot be shown, and the blocks.
pub(super) fn message(hold: &Hold, voice: &Voice) -> (String, Vec<Value>) {
    let headline = voice.headline(hold);
    let lines = (voice.lines)(hold);
    let length: usize = lines.iter().map(|(field, text)| field.len() + text.chars().count() + 3).sum();
    let fits = length <= CARD_MAX;
    let mut blocks = vec![header(&headline)];
    blocks.extend(if fits { card(&lines) } else { reference(hold) });
    if hold.state == HoldState::Pending && fits {
        blocks.extend(decision(hold, voice));
    } else {
        blocks.push(json!({"type": "actions", "block_id": "open", "elements": [link(hold, voice)]}));
    }
    (escape(&headline), blocks)
}

fn header(headline: &str) -> Value {
    // The whole headline is the message's own text too.
    let short: String = headline.chars().take(HEADER_MAX).collect();
    json!({"type": "header", "text": {"type": "plain_text", "text": short, "emoji": false}})
}

/// Rich text carries a stranger's text as it is: no markup, mention or link is read in it.
fn card(lines: &[(&'static str, String)]) -> Vec<Value> {
    let (code, facts): (Vec<_>, Vec<_>) =
        lines.iter().partition(|(field, _)| matches!(*field, "statement" | "parameter"));
    let code: Vec<_> = code.iter().map(|(_, text)| text.as_str()).collect();
    let mut elements = Vec::new();
    for (field, text) in facts {
        elements.push(json!({"type": "text", "text": format!("{field}: "), "style": {"bold": true}}));
        elements.push(json!({"type": "text", "text": format!("{text}\n")}));
    }
    vec![
        rich(&json!({"type": "rich_text_preformatted", "elements": [{"type": "text", "text": code.join("\n")}]})),
        rich(&json!({"type": "rich_text_section", "elements": elements})),
    ]
}

fn reference(hold: &Hold) -> Vec<Value> {
    let text = format!(
        "The card is too long for a message ({} bytes of SQL). Read it in full before you decide.\nAction hash: {}",
        hold.statement.len(),
        hold.action_hash
    );
    vec![rich(&json!({"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}))]
}

fn rich(element: &Value) -> Value {
    json!({"type": "rich_text", "elements": [element]})
}

fn decision(hold: &Hold, voice: &Voice) -> [Value; 2] {
    let value = json!({"hold": hold.id, "action": hold.action_hash}).to_string();
    let button = |name: &str, label: &str, style: &str| {
        json!({"type": "button", "action_id": name, "style": style, "value": value,
               "text": {"type": "plain_text", "text": label, "emoji": false}})
    };
    [
        json!({"type": "input", "block_id": REASON, "optional": true,
            "label": {"type": "plain_text", "text": "Reason (a denial needs one)", "emoji": false},
            "element": {"type": "plain_text_input", "action_id": REASON, "max_length": REASON_MAX}}),
        json!({"type": "actions", "block_id": "decide", "elements": [
            button(APPROVE, "Approve once", "primary"), button(DENY, "Deny", "danger"), link(hold, voice)]}),
    ]
}

fn link(hold: &Hold, voice: &Voice) -> Value {
    json!({"type": "button", "action_id": "open", "url": voice.link(hold),
           "text": {"type": "plain_text", "text": "Open the hold", "emoji": false}})
}
