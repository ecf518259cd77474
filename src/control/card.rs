//! A hold as people and programs read it: the JSON of the contract, and the card that every surface shows.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::approvals::{Before, Bundle, Hold, Impact};

/// The hold in the form of the HTTP contract: every key is there, in its order, `null` where nothing is known.
#[must_use]
pub fn contract(hold: &Hold) -> Value {
    json!({
        "id": hold.id,
        "state": hold.state,
        "waiting": hold.waiting,
        "created_at": hold.created_at,
        "expires_at": hold.expires_at,
        "rule": hold.rule,
        "principal": {
            "name": hold.principal.name,
            "kind": hold.principal.kind,
            "human": hold.principal.human,
            "groups": hold.principal.groups,
            "role": hold.principal.role,
        },
        "origin": {
            "client": hold.origin.client,
            "application_name": hold.origin.application_name,
            "environment": hold.environment,
        },
        "agent": hold.agent,
        "model": hold.model,
        "intent": hold.intent,
        "database": hold.database,
        "statement": hold.statement,
        "parameters": hold.parameters,
        "action_hash": hold.action_hash,
        "kinds": hold.kinds,
        "columns": hold.columns,
        "tags": hold.tags,
        "sensitivity": hold.sensitivity,
        "estimate": {
            "rows": hold.estimate.rows,
            "bytes": hold.estimate.bytes,
            "source": hold.estimate.source,
        },
        "approve": hold.approve,
        "decision": hold.decision,
        "reason": hold.reason,
        "command": hold.command,
        "relations": hold.relations,
        "opaque": hold.opaque,
        "findings": hold.findings,
        "rows_sent": hold.rows_sent,
        "holding_locks_since": hold.holding_locks_since,
        "cap": {"rows": hold.cap.rows, "bytes": hold.cap.bytes},
        "impact": hold.impact,
        "requester": hold.requester,
        "bundle": hold.bundle,
        "plan": hold.plan,
    })
}

/// The card: one line a field, in the order in which a person decides. A text of many lines gives as many lines of the
/// same field, so that no text can look like another field. What is not known is said, or left out where it says nothing.
#[must_use]
pub fn lines(hold: &Hold) -> Vec<(&'static str, String)> {
    let mut card = Card(Vec::new());
    card.add("id", hold.id.as_str());
    card.add("state", &state(hold));
    card.add("statement", &hold.statement);
    for (number, value) in hold.parameters.iter().enumerate() {
        let shown = value.as_deref().map_or_else(|| "NULL".to_owned(), |text| format!("'{text}'"));
        card.add("parameter", &format!("${} = {shown}", number + 1));
    }
    requester(&mut card, hold);
    impact(&mut card, hold);
    if let Some(bundle) = &hold.bundle {
        steps(&mut card, bundle);
    }
    card.add("rule", &format!("{}: {}", hold.rule, hold.reason));
    approval(&mut card, hold);
    card.add("created at", &hold.created_at.to_string());
    card.add("expires at", &hold.expires_at.to_string());
    card.add("action hash", &hold.action_hash);
    card.0
}

/// Makes a text that a stranger wrote harmless to print: control characters, terminal escapes and characters that turn
/// the reading direction or cannot be seen come out as their code.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_deceptive(character) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:04x}}}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether a character steers a terminal, turns the reading direction or cannot be seen.
#[must_use]
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}'
                | '\u{ffa0}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

struct Card(Vec<(&'static str, String)>);

impl Card {
    fn add(&mut self, field: &'static str, text: &str) {
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line).replace('\t', "    ");
            self.0.push((field, printable(&line)));
        }
    }

    fn add_some(&mut self, field: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.add(field, text);
        }
    }

    fn add_list(&mut self, field: &'static str, texts: &[String]) {
        for text in texts {
            self.add(field, text);
        }
    }
}

fn state(hold: &Hold) -> String {
    use crate::approvals::Waiting;
    let waits = match hold.waiting {
        Waiting::Connection => ", a connection waits",
        Waiting::Ticket => ", nobody waits: a ticket",
        Waiting::None => "",
    };
    format!("{}{waits}", hold.state.as_str())
}

fn requester(card: &mut Card, hold: &Hold) {
    let who = &hold.principal;
    card.add("principal", &format!("{} (role {})", who.name, who.role));
    card.add("human", who.human.as_deref().unwrap_or("not known"));
    if let Some(asked) = &hold.requester {
        card.add("asked for by", &format!("{} ({})", asked.name, asked.human));
    }
    card.add("client", &format!("{} ({})", hold.origin.client, hold.origin.application_name));
    card.add_some("agent", hold.agent.as_deref());
    card.add_some("model", hold.model.as_deref());
    card.add_some("intent", hold.intent.as_deref());
    card.add("database", &hold.database);
    card.add_some("environment", hold.environment.as_deref());
}

fn impact(card: &mut Card, hold: &Hold) {
    let kinds: Vec<_> = hold.kinds.iter().map(|kind| kind.as_str()).collect();
    card.add("kind", &format!("{} ({})", hold.command, kinds.join(", ")));
    card.add("sensitivity", hold.sensitivity.as_str());
    card.add_list("relation", &hold.relations);
    for (name, column) in &hold.columns {
        let access: Vec<_> = column.access.iter().map(|access| format!("{access:?}").to_lowercase()).collect();
        let tags = if column.tags.is_empty() { String::new() } else { format!(": {}", column.tags.join(", ")) };
        card.add("column", &format!("{name} ({}){tags}", access.join(", ")));
    }
    let number = |known: Option<u64>| known.map_or_else(|| "not known".to_owned(), |number| number.to_string());
    card.add("estimated rows", &number(hold.estimate.rows));
    card.add("estimated bytes", &number(hold.estimate.bytes));
    card.add("size is", hold.estimate.source.as_str());
    card.add_some("plan", hold.plan.as_deref());
    if hold.rows_sent > 0 {
        card.add("rows sent", &hold.rows_sent.to_string());
    }
    if let Some(since) = hold.holding_locks_since {
        card.add("holding locks since", &since.to_string());
    }
    card.add_list("cannot be known", &hold.opaque);
    card.add_list("finding", &hold.findings);
    if hold.bundle.is_none() {
        let capped = |most: Option<u64>, what| most.map(|most| format!("{most} {what}"));
        let cap: Vec<_> = capped(hold.cap.rows, "rows").into_iter().chain(capped(hold.cap.bytes, "bytes")).collect();
        let cap = if cap.is_empty() { "not capped".to_owned() } else { cap.join(", ") };
        card.add("leaves at most", &cap);
        meets(card, &hold.impact);
    }
}

/// What it meets on the server.
fn meets(card: &mut Card, impact: &Impact) {
    for relation in &impact.relations {
        let rows = relation.rows.map_or_else(|| "not counted".to_owned(), |rows| format!("{rows} rows"));
        card.add("size", &format!("{}: {rows}, {} bytes", relation.name, relation.bytes));
        for dependent in &relation.dependents {
            card.add("dependent", &format!("{dependent} on {}", relation.name));
        }
    }
    card.add_some("takes lock", impact.lock.as_deref());
    match &impact.blocks {
        None => card.add("in its way", "not known"),
        Some(blocks) if blocks.is_empty() => card.add("in its way", "nobody now"),
        Some(blocks) => blocks.iter().for_each(|other| {
            let has = if other.granted { "has" } else { "waits for" };
            let who = format!("pid {} {} ({})", other.pid, other.role, other.application_name);
            card.add("in its way", &format!("{who} {has} {} on {}", other.mode, other.relation));
        }),
    }
    if let Some(since) = impact.transaction_since {
        card.add("transaction since", &since.to_string());
    }
    card.add_list("holds lock", &impact.holds_locks);
    card.add("can be undone", &impact.reversible);
    let Before { holds, approved, denied, lapsed } = impact.before;
    card.add("earlier holds", &format!("{holds}: {approved} approved, {denied} denied, {lapsed} lapsed"));
}

/// The statements of a bundle, one after the other, each with what it does.
fn steps(card: &mut Card, bundle: &Bundle) {
    card.add("search path", &bundle.search_path.join(", "));
    for (number, step) in bundle.steps.iter().enumerate() {
        let number = number + 1;
        card.add("step", &format!("{number} ({}, rule {}):", step.state.as_str(), step.rule));
        card.add("step", &step.statement);
        let kinds: Vec<_> = step.kinds.iter().map(|kind| kind.as_str()).collect();
        card.add("step kind", &format!("{number}: {} ({})", step.command, kinds.join(", ")));
        if let Some(lock) = &step.lock {
            card.add("step lock", &format!("{number}: {lock} on {}", step.relations.join(", ")));
        }
        for finding in &step.findings {
            card.add("step finding", &format!("{number}: {finding}"));
        }
        for why in &step.opaque {
            card.add("step cannot be known", &format!("{number}: {why}"));
        }
        card.add("step undone", &format!("{number}: {}", step.reversible));
    }
}

fn approval(card: &mut Card, hold: &Hold) {
    card.add("approve from", &hold.approve.from.join(", "));
    card.add("approvals", &format!("{} of {}", hold.approve.given.len(), hold.approve.quorum));
    for given in &hold.approve.given {
        card.add("given", &said(&given.by, "approve", given.reason.as_deref()));
    }
    if let Some(decision) = &hold.decision {
        card.add("decision", &said(&decision.by, &decision.verdict, decision.reason.as_deref()));
    }
}

fn said(by: &str, verdict: &str, reason: Option<&str>) -> String {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{verdict} by {by}{reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::hold;

    #[test]
    fn the_contract_has_every_key_in_its_order_also_where_nothing_is_known() {
        let value = contract(&hold());
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let frozen = [
            "id",
            "state",
            "waiting",
            "created_at",
            "expires_at",
            "rule",
            "principal",
            "origin",
            "agent",
            "model",
            "intent",
            "database",
            "statement",
            "parameters",
            "action_hash",
            "kinds",
            "columns",
            "tags",
            "sensitivity",
            "estimate",
            "approve",
            "decision",
        ];
        assert_eq!(keys[..frozen.len()], frozen);
        assert!(value["decision"].is_null() && value["principal"]["human"].is_null());
        assert!(value["origin"].as_object().unwrap().contains_key("environment"));
        assert_eq!(serde_json::from_value::<Hold>(value).unwrap().statement, hold().statement);
    }

    #[test]
    fn a_hostile_text_cannot_draw_steer_or_hide() {
        let hostile = "SELECT 1\u{1b}[2K\u{202e}evil\u{200b}\u{7}";
        assert_eq!(printable(hostile), "SELECT 1\\u{001b}[2K\\u{202e}evil\\u{200b}\\u{0007}");
    }

    /// What has steered a terminal, turned a line or hidden a word somewhere.
    const CANARIES: [&str; 12] = [
        "\u{1b}[2J\u{1b}[1;1H",
        "\u{1b}]8;;http://evil\u{7}x\u{1b}]8;;\u{7}",
        "\u{9b}31m",
        "a\rb",
        "a\u{8}\u{8}b",
        "a\nid: 0000000000",
        "\u{202e}evil\u{202c}",
        "\u{2066}x\u{2069}",
        "a\u{200b}b\u{feff}",
        "a\u{2028}b\u{2029}c",
        "tag\u{e0041}",
        "nul\u{0}\u{7f}\u{85}",
    ];

    #[test]
    fn no_canary_gets_out_of_any_field_of_a_card() {
        for canary in CANARIES {
            let mut hold = hold();
            let text = canary.to_owned();
            for field in [&mut hold.statement, &mut hold.rule, &mut hold.reason, &mut hold.database, &mut hold.command]
            {
                field.clone_from(&text);
            }
            hold.principal.name.clone_from(&text);
            hold.origin.application_name.clone_from(&text);
            hold.intent = Some(text.clone());
            hold.parameters = vec![Some(text.clone())];
            hold.relations = vec![text.clone()];
            hold.impact.holds_locks = vec![text.clone()];
            hold.columns.insert(text.clone(), crate::approvals::CardColumn::default());
            for (field, line) in lines(&hold) {
                assert!(!line.chars().any(is_deceptive), "{field}: {line:?}");
            }
        }
    }

    #[test]
    fn a_line_break_in_a_text_cannot_forge_a_field() {
        let mut hold = hold();
        hold.statement = "SELECT 1\nhuman | somebody else\r\n\rtail".to_owned();
        hold.intent = Some("fine\napprovals 2 of 2".to_owned());
        let card = lines(&hold);
        let statement: Vec<_> = card.iter().filter(|line| line.0 == "statement").map(|line| line.1.as_str()).collect();
        assert_eq!(statement, ["SELECT 1", "human | somebody else", "\\u{000d}tail"]);
        assert_eq!(card.iter().filter(|line| line.0 == "approvals").count(), 1);
        assert!(card.iter().all(|line| !line.1.contains('\n')));
    }
}
