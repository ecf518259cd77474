//! Runs a command over control, and gives its rows.

use super::command::{COMMANDS, Command, Verb};
use super::fault;
use crate::approvals::{Answer, DecisionRequest, Hold, HoldFilter, HoldState, Method, Operator};
use crate::backend::memory::{DerivedTag, Review};
use crate::control::card::printable;
use crate::control::tags::{TagReview, state};
use crate::control::{ActError, Admission, Control, Explained, Question, card};
use crate::ids::NAME;
use crate::principal::Principal;
use crate::report::Report;
use crate::sqlstate;

/// Holds that a list shows.
const LIST_MAX: u32 = 500;
/// Characters of a statement in a list; the card has all of it.
const STATEMENT_MAX: usize = 80;
/// The longest reason, bytes.
const REASON_MAX: usize = 4096;

/// Rows of text, and the command tag.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) rows: Vec<Vec<String>>,
    pub(super) tag: String,
}

/// Runs one command; `operands` are in place.
pub(super) async fn run(
    command: &Command,
    operands: &[Option<String>],
    operator: &Operator,
    control: &Control,
) -> Result<Rows, Report> {
    let operand = |place: usize| operands.get(place).and_then(Option::as_deref);
    let rows = match command.verb {
        Verb::Holds => holds(control, vec![HoldState::Pending, HoldState::Approved]).await?,
        Verb::AllHolds => holds(control, Vec::new()).await?,
        Verb::Hold => hold(control, operand(0).unwrap_or_default()).await?,
        Verb::Approve | Verb::Deny => {
            let answer = if command.verb == Verb::Approve { Answer::Approve } else { Answer::Deny };
            let reason = reason(answer, operand(1))?;
            let request = DecisionRequest { verdict: answer, reason, method: Method::Psql, once: None };
            decide(control, operator, operand(0).unwrap_or_default(), request).await?
        }
        Verb::Tags => tags(control, operand(0))?,
        Verb::ConfirmTag | Verb::DismissTag => {
            let review = if command.verb == Verb::ConfirmTag { Review::Confirmed } else { Review::Dismissed };
            let answer = if command.verb == Verb::ConfirmTag { Answer::Approve } else { Answer::Deny };
            let id = operand(0).unwrap_or_default().parse().map_err(|_| fault::unknown_tag())?;
            let request = TagReview { id, review, reason: reason(answer, operand(1))?, method: Method::Psql };
            let reviewed = control.review(operator, request).await.map_err(|error| fault::unreviewed(&error))?;
            vec![tag(&reviewed)]
        }
        Verb::Sessions => sessions(control),
        Verb::Principals => control.principals().iter().map(principal).collect(),
        Verb::Policies => policies(control),
        Verb::Stats => control.stats().await.map_err(|error| fault::store(&error))?.iter().map(stat).collect(),
        Verb::ExplainPolicy => explain(control, operand(0).unwrap_or_default(), operand(1), operand(2)).await?,
        Verb::Kill | Verb::Pause | Verb::Resume | Verb::Reload => {
            vec![act(control, operator, command.verb, operand(0).unwrap_or_default()).await?]
        }
        Verb::Config => control.config().iter().map(|(name, value)| printed(&[name, value])).collect(),
        Verb::Version => vec![vec![format!("{NAME} {}", env!("CARGO_PKG_VERSION"))]],
        Verb::Help => COMMANDS.iter().map(|command| vec![command.usage(), command.help.to_owned()]).collect(),
    };
    let tag = command.words.first().copied().unwrap_or_default();
    Ok(Rows { rows, tag: tag.to_owned() })
}

async fn holds(control: &Control, states: Vec<HoldState>) -> Result<Vec<Vec<String>>, Report> {
    let filter = HoldFilter { states, limit: LIST_MAX, ..HoldFilter::default() };
    let page = control.holds(filter).await.map_err(|error| fault::store(&error))?;
    Ok(page.holds.iter().map(summary).collect())
}

fn summary(hold: &Hold) -> Vec<String> {
    let one_line = hold.statement.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut statement: String = one_line.chars().take(STATEMENT_MAX).collect();
    if statement.len() < one_line.len() {
        statement.push('…');
    }
    printed(&[
        hold.id.as_str(),
        hold.state.as_str(),
        hold.waiting.as_str(),
        &hold.principal.name,
        hold.principal.human.as_deref().unwrap_or(""),
        &hold.database,
        &hold.command,
        &hold.rule,
        &hold.expires_at.to_string(),
        &statement,
    ])
}

async fn hold(control: &Control, id: &str) -> Result<Vec<Vec<String>>, Report> {
    match control.hold(id).await {
        Ok(Some(hold)) => {
            Ok(card::lines(&hold).into_iter().map(|(field, value)| vec![field.to_owned(), value]).collect())
        }
        Ok(None) => Err(fault::unknown_hold()),
        Err(error) => Err(fault::store(&error)),
    }
}

async fn decide(
    control: &Control,
    operator: &Operator,
    id: &str,
    request: DecisionRequest,
) -> Result<Vec<Vec<String>>, Report> {
    let hold = control.decide(operator, id, request).await.map_err(fault::undecided)?;
    let approvals = format!("{} of {}", hold.approve.given.len(), hold.approve.quorum);
    Ok(vec![printed(&[hold.id.as_str(), hold.state.as_str(), &approvals, &hold.expires_at.to_string()])])
}

fn reason(answer: Answer, reason: Option<&str>) -> Result<Option<String>, Report> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    match reason {
        Some(reason) if reason.len() > REASON_MAX => {
            Err(Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, format!("the reason is over {REASON_MAX} bytes")))
        }
        None if answer == Answer::Deny => Err(Report::new(sqlstate::SYNTAX_ERROR, "a denial needs a reason")
            .hint("Write DENY '<id>' '<why>'; whoever sent the statement reads it.")),
        reason => Ok(reason.map(str::to_owned)),
    }
}

fn tags(control: &Control, wanted: Option<&str>) -> Result<Vec<Vec<String>>, Report> {
    let unknown = || Report::new(sqlstate::SYNTAX_ERROR, "there are the states open, confirmed and dismissed");
    let wanted = wanted.map(|word| state(word).ok_or_else(unknown)).transpose()?;
    Ok(control.tags(wanted).iter().map(tag).collect())
}

fn tag(derived: &DerivedTag) -> Vec<String> {
    printed(&[
        &derived.id.to_string(),
        derived.review.as_str(),
        &derived.database,
        &derived.column.to_string(),
        &*derived.tag,
        &derived.sources.iter().cloned().collect::<Vec<_>>().join(", "),
        &derived.statement.to_string(),
        &derived.at.to_string(),
        derived.reviewed_by.as_deref().unwrap_or(""),
    ])
}

fn principal(principal: &Principal) -> Vec<String> {
    let kind = serde_json::to_value(principal.kind).ok();
    let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    let (human, groups) = (principal.human.as_deref().unwrap_or(""), principal.groups.join(", "));
    printed(&[&*principal.name, kind, human, &groups, &principal.role])
}

fn policies(control: &Control) -> Vec<Vec<String>> {
    let (sha256, rules) = control.policies();
    let row = |(place, rule): (usize, String)| printed(&[&(place + 1).to_string(), &rule, &sha256]);
    rules.into_iter().enumerate().map(row).collect()
}

fn stat((name, value): &(&str, u64)) -> Vec<String> {
    vec![(*name).to_owned(), value.to_string()]
}

async fn explain(
    control: &Control,
    sql: &str,
    principal: Option<&str>,
    database: Option<&str>,
) -> Result<Vec<Vec<String>>, Report> {
    let question = Question {
        sql: sql.to_owned(),
        principal: principal.unwrap_or_default().to_owned(),
        database: database.unwrap_or_default().to_owned(),
    };
    let explained = control.explain(question).await.map_err(|why| {
        Report::new(sqlstate::INVALID_PARAMETER_VALUE, "the text cannot be explained").detail(printable(&why))
    })?;
    let row = |one: &Explained| {
        let approve = one.approve.as_ref();
        let approve = approve.map(|of| format!("{} of {}", of.quorum, of.from.join(", "))).unwrap_or_default();
        let (kinds, tags) = (one.kinds.join(", "), one.tags.join(", "));
        printed(&[&*one.statement, one.verdict.as_str(), &one.rule, &one.reason, &kinds, &tags, &approve])
    };
    Ok(explained.iter().map(row).collect())
}

async fn act(control: &Control, operator: &Operator, verb: Verb, operand: &str) -> Result<Vec<String>, Report> {
    let method = Method::Psql;
    let done = match verb {
        Verb::Kill => match operand.parse() {
            Ok(session) => control.kill(operator, session, method).await.map(|()| format!("session {operand} ends")),
            Err(_) => Err(ActError::NotFound),
        },
        Verb::Pause => {
            control.admit(operator, Admission::Paused, method).await.map(|()| "new statements wait".to_owned())
        }
        Verb::Resume => control.admit(operator, Admission::Open, method).await.map(|()| "statements go on".to_owned()),
        _ => control.reload(operator, method).await.map(|sha256| format!("policy {sha256} is in force")),
    };
    done.map(|sentence| printed(&[sentence])).map_err(|error| fault::not_done(&error))
}

fn sessions(control: &Control) -> Vec<Vec<String>> {
    let row = |session: crate::control::SessionRow| {
        let time = |at: Option<crate::clock::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let hold = session.hold.as_ref().map(ToString::to_string).unwrap_or_default();
        let cells: [&str; 14] = [
            &session.id.to_string(),
            &session.principal,
            &session.role,
            &session.database,
            &session.client,
            &session.application_name,
            &session.state,
            &session.connected_at.to_string(),
            session.human.as_deref().unwrap_or_default(),
            session.agent.as_deref().unwrap_or_default(),
            &session.state_since.to_string(),
            session.statement.as_deref().unwrap_or_default(),
            &time(session.transaction_since),
            &hold,
        ];
        printed(&cells)
    };
    control.sessions().into_iter().map(row).collect()
}

fn printed(cells: &[impl AsRef<str>]) -> Vec<String> {
    cells.iter().map(|cell| card::printable(cell.as_ref())).collect()
}
