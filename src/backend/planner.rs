//! Asks the server's planner how much a query would bring back, on connections of the proxy's own.
//!
//! Planning runs functions, so only what `analysis::plannable` lets through may come here, and only for a session whose
//! role is the one that the connection logged in as. One query goes alone, in the extended protocol, in a read-only
//! transaction that is rolled back; waiting for locks, planning, and all of it together are bounded.

use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use dashmap::DashMap;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_postgres::Client;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::databases::CatalogFailure;
use crate::wire::frontend;

/// All of one question, unless the configuration says otherwise: a free connection, its log-in, the answer.
pub const WAIT: Duration = Duration::from_millis(900);

/// How every question begins. Another session's lock is waited for as long as a person does not notice.
const OPEN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL lock_timeout = '100ms'";

/// A plan in one line has at most this many bytes.
const SUMMARY_MAX: usize = 240;

/// Nodes below nodes that a summary names.
const SUMMARY_DEPTH: usize = 8;

/// A query, and all that its plan depends on.
#[derive(Clone, Debug)]
pub struct Question {
    /// The query.
    pub query: String,
    /// The session's schemas, in order.
    pub search_path: Vec<String>,
    /// Settings of the session that decide what a literal means.
    pub settings: Vec<(&'static str, String)>,
    /// Types of the parameters as the client gave them, 0 where it left them to the server.
    pub types: Arc<[u32]>,
    /// What the client's Bind has behind its names; empty where there is none.
    pub bind: Bytes,
}

/// What the planner expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Rows.
    pub rows: u64,
    /// Rows, times how wide a row is on average.
    pub bytes: u64,
    /// The plan in one line.
    pub summary: String,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanFailure {
    /// No answer in time: all connections are busy, or the server is.
    #[error("no plan within {} ms", .0.as_millis())]
    Late(Duration),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] CatalogFailure),
    /// The server would not plan it.
    #[error("the server would not plan it: {0}")]
    Refused(#[from] tokio_postgres::Error),
    /// The client's values cannot be read.
    #[error("the values cannot be read: {0}")]
    Values(&'static str),
    /// The answer is no plan of one query.
    #[error("the answer is no plan of one query")]
    Unreadable,
}

/// A few connections for each database.
#[derive(Debug)]
pub(super) struct Planner {
    connections_max: usize,
    /// All of one question; the server may take a little more than half of it.
    wait: Duration,
    pools: DashMap<String, Arc<Pool>>,
}

/// Connections to one database.
#[derive(Debug)]
pub(super) struct Pool {
    permits: Semaphore,
    idle: Mutex<Vec<Client>>,
}

impl Planner {
    pub(super) fn new(connections_max: usize, wait: Duration) -> Self {
        Self { connections_max, wait, pools: DashMap::new() }
    }

    /// Plans one query; `log_in` opens a connection where none is free.
    pub(super) async fn plan<L>(&self, database: &str, question: &Question, log_in: L) -> Result<Planned, PlanFailure>
    where
        L: Future<Output = Result<Client, CatalogFailure>>,
    {
        let pool = self.pool(database);
        let answer = async {
            let Ok(_permit) = pool.permits.acquire().await else { return Err(PlanFailure::Late(self.wait)) };
            let client = match pool.take() {
                Some(client) => client,
                None => prepared(log_in.await?).await?,
            };
            let planned = ask(&client, question, self.wait * 5 / 9).await;
            // Only a connection that is out of its transaction is used again.
            client.batch_execute("ROLLBACK").await?;
            pool.give(client);
            planned
        };
        // What is given up in the middle closes its connection; the server's own time-outs end what it does.
        tokio::time::timeout(self.wait, answer).await.unwrap_or(Err(PlanFailure::Late(self.wait)))
    }

    pub(super) fn pool(&self, database: &str) -> Arc<Pool> {
        let new = || Arc::new(Pool { permits: Semaphore::new(self.connections_max), idle: Mutex::default() });
        self.pools.entry(database.to_owned()).or_insert_with(new).value().clone()
    }
}

impl Pool {
    fn take(&self) -> Option<Client> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|client| !client.is_closed());
        idle.pop()
    }

    /// Ends those that nobody uses now.
    pub(super) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn give(&self, client: Client) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }
}

/// Strings mean what they mean to the analysis, whatever the role's defaults are.
async fn prepared(client: Client) -> Result<Client, PlanFailure> {
    client.batch_execute("SET standard_conforming_strings = on").await?;
    Ok(client)
}

async fn ask(client: &Client, question: &Question, timeout: Duration) -> Result<Planned, PlanFailure> {
    let sent = if question.bind.is_empty() {
        Vec::new()
    } else {
        frontend::bind_values(&question.bind).map_err(|malformed| PlanFailure::Values(malformed.reason))?
    };
    client.batch_execute(&opening(question, timeout)).await?;
    let types = question.types.iter().copied().chain(std::iter::repeat(0));
    let values: Vec<(Sent<'_>, Type)> = sent.into_iter().map(Sent).zip(types.map(type_of)).collect();
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = Vec::with_capacity(values.len());
    for (value, kind) in &values {
        parameters.push((value, kind.clone()));
    }
    let rows = client.query_typed(&format!("EXPLAIN (FORMAT JSON) {}", question.query), &parameters).await?;
    let [row] = rows.as_slice() else { return Err(PlanFailure::Unreadable) };
    let Json(answer) = row.try_get(0)?;
    read(&answer).ok_or(PlanFailure::Unreadable)
}

/// The session's names and literals, for this transaction alone.
fn opening(question: &Question, timeout: Duration) -> String {
    let path: Vec<String> =
        question.search_path.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\""))).collect();
    let path = if path.is_empty() { "''".to_owned() } else { path.join(", ") };
    let timeout = timeout.as_millis().max(1);
    let mut text = format!("{OPEN}; SET LOCAL statement_timeout = '{timeout}ms'; SET LOCAL search_path = {path}");
    for (name, value) in &question.settings {
        // Writing to a String cannot fail.
        let _ = write!(text, "; SET LOCAL {name} = '{}'", value.replace('\'', "''"));
    }
    text
}

/// A type by its OID, 0 included: that is how a client leaves it to the server.
fn type_of(oid: u32) -> Type {
    Type::from_oid(oid).unwrap_or_else(|| Type::new(String::new(), oid, Kind::Simple, String::new()))
}

/// A value as the client sent it.
#[derive(Debug)]
struct Sent<'a>(frontend::Value<'a>);

impl ToSql for Sent<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(bytes) = self.0.bytes else { return Ok(IsNull::Yes) };
        out.put_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.0.binary { Format::Binary } else { Format::Text }
    }

    to_sql_checked!();
}

/// A value of type json.
struct Json(Value);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(serde_json::from_slice(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSON
    }
}

/// The top node of the only plan. A rule can make several statements of one: then nothing is known.
fn read(answer: &Value) -> Option<Planned> {
    let [only] = answer.as_array()?.as_slice() else { return None };
    let plan = only.get("Plan")?;
    let rows = whole(plan.get("Plan Rows")?)?;
    let mut summary = String::new();
    summarise(plan, SUMMARY_DEPTH, &mut summary);
    if summary.len() > SUMMARY_MAX {
        let end = summary.floor_char_boundary(SUMMARY_MAX);
        summary.truncate(end);
        summary.push('…');
    }
    Some(Planned { rows, bytes: rows.saturating_mul(whole(plan.get("Plan Width")?)?), summary })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "the cast saturates, and the number is not negative"
)]
fn whole(number: &Value) -> Option<u64> {
    number.as_u64().or_else(|| number.as_f64().filter(|number| *number >= 0.0).map(|number| number.ceil() as u64))
}

/// `Hash Join (Seq Scan on orders, Hash (Seq Scan on customers))`.
fn summarise(plan: &Value, depth: usize, out: &mut String) {
    let text = |key: &str| plan.get(key).and_then(Value::as_str);
    out.push_str(text("Node Type").unwrap_or("?"));
    for (word, key) in [("using", "Index Name"), ("on", "Relation Name")] {
        if let Some(name) = text(key) {
            // Writing to a String cannot fail.
            let _ = write!(out, " {word} {name}");
        }
    }
    let below = plan.get("Plans").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if below.is_empty() || out.len() > SUMMARY_MAX {
        return;
    }
    out.push_str(" (");
    for (place, child) in below.iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        match depth.checked_sub(1) {
            Some(depth) => summarise(child, depth, out),
            None => out.push('…'),
        }
    }
    out.push(')');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_says_rows_bytes_and_its_nodes_in_one_line() {
        let scan = json!({"Node Type": "Index Scan", "Index Name": "orders_pkey", "Relation Name": "orders"});
        let answer = json!([{"Plan": {"Node Type": "Limit", "Plan Rows": 7, "Plan Width": 36, "Plans": [scan]}}]);
        let summary = "Limit (Index Scan using orders_pkey on orders)".to_owned();
        assert_eq!(read(&answer), Some(Planned { rows: 7, bytes: 252, summary }));
    }

    #[test]
    fn several_plans_or_none_say_nothing() {
        let plan = json!({"Plan": {"Node Type": "Result", "Plan Rows": 1, "Plan Width": 4}});
        assert_eq!(read(&json!([plan, plan])), None);
        assert_eq!(read(&json!([])), None);
        assert_eq!(read(&json!([{"Plan": {"Node Type": "Result"}}])), None);
    }

    #[test]
    fn a_summary_is_bounded_however_wide_and_deep_the_plan() {
        let leaf = json!({"Node Type": "Seq Scan", "Relation Name": "ü".repeat(60)});
        let mut plan = json!({"Node Type": "Append", "Plans": vec![leaf; 500]});
        for _ in 0..50 {
            plan = json!({"Node Type": "Limit", "Plan Rows": 1, "Plan Width": 1, "Plans": [plan]});
        }
        let planned = read(&json!([{"Plan": plan}])).unwrap();
        assert!(planned.summary.len() <= SUMMARY_MAX + '…'.len_utf8(), "{}", planned.summary);
    }

    #[test]
    fn names_and_values_of_settings_are_quoted() {
        let question = Question {
            query: String::new(),
            search_path: vec!["a\"b".to_owned(), "C".to_owned()],
            settings: vec![("TimeZone", "x'y".to_owned())],
            types: Arc::from([]),
            bind: Bytes::new(),
        };
        assert!(
            opening(&question, WAIT)
                .ends_with("SET LOCAL search_path = \"a\"\"b\", \"C\"; SET LOCAL TimeZone = 'x''y'")
        );
    }
}
