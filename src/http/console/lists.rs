//! `/holds`: what waits for a decision, and what was decided.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::page::{page, refusal};
use super::visitor::{Named, Visitor};
use crate::approvals::{Hold, HoldFilter, HoldState};
use crate::control::card::printable;
use crate::http::extract::Pairs;
use crate::http::{Problem, Site};

/// Holds of one page.
const ROWS: u32 = 50;
/// Names that a cell shows; the hold's own page has them all.
const NAMES_MAX: usize = 4;

#[derive(Template)]
#[template(path = "holds.html")]
struct HoldsPage {
    heading: &'static str,
    all: bool,
    rows: Vec<Row>,
    next: Option<String>,
    visitor: Named,
}

struct Row {
    id: String,
    state: &'static str,
    who: String,
    command: String,
    relations: String,
    tags: String,
    sensitivity: &'static str,
    created_at: String,
}

pub(super) async fn holds(State(site): State<Site>, visitor: Visitor, Pairs(pairs): Pairs) -> Response {
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let all = value("state") == Some("all");
    let before = value("cursor").and_then(|cursor| cursor.parse().ok());
    let states = if all { Vec::new() } else { vec![HoldState::Pending] };
    let found = match site.control.holds(HoldFilter { states, before, limit: ROWS, principal: None }).await {
        Ok(found) => found,
        Err(error) => return refusal(&Problem::from(error)),
    };
    let state = if all { "all" } else { "pending" };
    let template = HoldsPage {
        heading: if all { "All holds" } else { "Pending holds" },
        all,
        rows: found.holds.iter().map(Row::new).collect(),
        next: found.next.map(|next| format!("/holds?state={state}&cursor={next}")),
        visitor: visitor.named(),
    };
    page(StatusCode::OK, &template)
}

impl Row {
    fn new(hold: &Hold) -> Self {
        let human = hold.principal.human.as_deref().map(|human| format!(" for {human}")).unwrap_or_default();
        Self {
            id: hold.id.to_string(),
            state: hold.state.as_str(),
            who: printable(&format!("{}{human}", hold.principal.name)),
            command: printable(&hold.command),
            relations: some(&hold.relations),
            tags: some(&hold.tags),
            sensitivity: hold.sensitivity.as_str(),
            created_at: seconds(&hold.created_at.to_string()),
        }
    }
}

/// A time without fractions of a second.
fn seconds(time: &str) -> String {
    let (whole, _) = time.split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    format!("{whole}Z")
}

fn some(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(|name| printable(name)).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
