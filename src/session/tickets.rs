//! `SHOW holdgate.tickets`: an agent asks on its own connection what became of its holds.
//!
//! The server answers it, with what the proxy puts in its mouth: the text is replaced by one that returns the rows. So
//! transaction status, failed transactions, pipelines and portals are Postgres's own. In the extended protocol the rows
//! are a parameter that the proxy binds, so that a statement that was prepared long ago shows what is true now.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;

use super::Session;
use super::names::Prepared;
use super::phase::{Described, Request};
use super::relay::End;
use super::run::Run;
use super::walsender::Channel;
use crate::analysis::scan::{StringMode, tokens};
use crate::approvals::{Hold, HoldFilter};
use crate::ids::NAME;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::frontend::{self, BindNames};
use crate::wire::{backend, build};

/// Holds that are shown, the newest first.
const TICKETS_MAX: u32 = 100;

/// What the rows are read from.
const ROWS: &str = "SELECT id, state, expires_at, reason FROM pg_catalog.json_to_recordset(";
const COLUMNS: &str = ") AS tickets(id pg_catalog.text, state pg_catalog.text, expires_at pg_catalog.timestamptz, \
                       reason pg_catalog.text)";

/// Whether a text asks for tickets, and for nothing else.
pub(super) fn asks(text: &[u8]) -> bool {
    let words = ["show", NAME, ".", "tickets"];
    let mut found = tokens(text, StringMode::Standard).filter(|token| !token.kind.is_comment());
    let same = |token: Option<crate::analysis::scan::Token>, word: &str| {
        token.and_then(|token| text.get(token.range)).is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
    };
    words.iter().all(|word| same(found.next(), word)) && found.all(|token| text.get(token.range) == Some(b";"))
}

impl Run {
    /// Whether it asks for tickets.
    pub(super) fn asks_for_tickets(&self) -> bool {
        matches!(self.facts.statements.as_slice(), [only] if only.command == "SHOW") && asks(&self.text)
    }
}

/// The Parse that stands for one that asks for tickets.
pub(super) fn parse_frame(name: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    build::parse(&mut out, name, format!("{ROWS}$1::pg_catalog.json{COLUMNS}").as_bytes());
    out.freeze()
}

/// The Bind of such a statement: the rows are its parameter, in the result formats that the client asked for.
pub(super) fn bind_frame(portal: &[u8], statement: &[u8], rows: &str, formats: &[i16]) -> Bytes {
    let mut out = BytesMut::new();
    build::frame(&mut out, b'B', |out| {
        build::put_cstr(out, portal);
        build::put_cstr(out, statement);
        out.put_i16(0);
        out.put_i16(1);
        out.put_i32(i32::try_from(rows.len()).unwrap_or(i32::MAX));
        out.put_slice(rows.as_bytes());
        out.put_i16(i16::try_from(formats.len()).unwrap_or(i16::MAX));
        for format in formats {
            out.put_i16(*format);
        }
    });
    out.freeze()
}

/// The Query that stands for one that asks for tickets. The rows are hexadecimal digits in it: they mean the same under
/// every setting of strings.
pub(super) fn query_frame(rows: &str) -> Bytes {
    let hex = crate::ids::hex(rows.as_bytes());
    let json = format!("pg_catalog.convert_from(pg_catalog.decode('{hex}', 'hex'), 'SQL_ASCII')::pg_catalog.json");
    let mut out = BytesMut::new();
    build::query(&mut out, format!("{ROWS}{json}{COLUMNS}").as_bytes());
    out.freeze()
}

impl Session {
    /// The Query that stands for one that asks for tickets; none for any other.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn query_for_tickets(&mut self, run: &Run) -> Result<Result<Option<Bytes>, Report>, End> {
        if !run.asks_for_tickets() || self.channel == Channel::Cluster {
            return Ok(Ok(None));
        }
        Ok(Box::pin(self.tickets()).await?.map(|rows| Some(query_frame(&rows))))
    }

    /// The Bind that stands for one of a statement that asks for tickets; none for any other. A Bind with values is none:
    /// the server refuses it, or shows the client what it sent.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn bind_tickets(
        &mut self,
        prepared: &Prepared,
        names: BindNames<'_>,
        rest: &[u8],
    ) -> Result<Result<Option<Bytes>, Report>, End> {
        if prepared.by_sql || !asks(&prepared.text) {
            return Ok(Ok(None));
        }
        let Ok((0, formats)) = frontend::bind_formats(rest) else { return Ok(Ok(None)) };
        let rows = Box::pin(self.tickets()).await?;
        Ok(rows.map(|rows| Some(bind_frame(names.portal, names.statement, &rows, &formats))))
    }

    /// Whether the next `ParameterDescription` is of a statement that asks for tickets: the client gave it no parameter.
    pub(super) fn describes_tickets(&mut self) -> bool {
        let name = match self.phase.front().map(|front| &front.request) {
            Some(Request::Describe(Described::Statement(name))) => name.clone(),
            _ => return false,
        };
        self.names.statement(&name).is_some_and(|prepared| !prepared.by_sql && asks(&prepared.text))
    }

    /// What types the server gives the parameters of a statement: their values come in the binary form of these.
    pub(super) fn on_parameter_description(&mut self, body: &[u8]) {
        if !self.services.literals.tell_values() {
            return;
        }
        if let Some(Request::Describe(Described::Statement(name))) = self.phase.front().map(|front| &front.request)
            && let Ok(types) = backend::parameter_description(body)
        {
            self.names.types_told(&name.clone(), types);
        }
    }

    /// The tickets of this session's principal, as JSON in ASCII.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn tickets(&mut self) -> Result<Result<String, Report>, End> {
        let principal = Some(self.who.principal.name.clone());
        let filter = HoldFilter { principal, limit: TICKETS_MAX, ..HoldFilter::default() };
        let approvals = self.services.approvals.clone();
        match self.wait_for(async move { approvals.list(filter).await }).await? {
            Ok(page) => Ok(Ok(rows(&page.holds))),
            Err(error) => {
                tracing::error!(%error, "tickets cannot be shown");
                Ok(Err(Report::new(sqlstate::IO_ERROR, "the hold store cannot be read")
                    .hint("Try again once an operator has repaired it.")))
            }
        }
    }
}

fn rows(holds: &[Hold]) -> String {
    let row = |hold: &Hold| {
        let said = hold.decision.as_ref().and_then(|decision| decision.reason.as_deref());
        let reason = ascii(said.unwrap_or(&hold.reason));
        json!({"id": hold.id, "state": hold.state, "expires_at": hold.expires_at, "reason": reason})
    };
    serde_json::Value::from(holds.iter().map(row).collect::<Vec<_>>()).to_string()
}

/// A database may have an encoding that lacks a letter: what is not ASCII is shown by its code.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            ' '..='~' => letter.to_string(),
            other => format!("\\u{{{:04x}}}", u32::from(other)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_question_itself_asks_for_tickets() {
        for text in ["SHOW holdgate.tickets", " show HOLDGATE . Tickets ; ", "/* x */ SHOW holdgate.tickets -- y\n;"] {
            assert!(asks(text.as_bytes()), "{text}");
        }
        for text in ["SHOW holdgate.wait", "SHOW holdgate.tickets; SELECT 1", "SELECT 'SHOW holdgate.tickets'", "SHOW"]
        {
            assert!(!asks(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_people_wrote_cannot_leave_its_place() {
        assert_eq!(ascii("caf\u{e9} \u{202e}'; DROP\n"), "caf\\u{00e9} \\u{202e}'; DROP\\u{000a}");
        let frame = query_frame("[{\"reason\":\"'; DROP TABLE t; --\"}]");
        assert!(!String::from_utf8_lossy(&frame).contains("DROP"));
    }
}
