//! Parse, Bind, Describe, Execute, Close: so that drivers can speak to the admin database.

use std::collections::HashMap;
use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::{AdminError, Message};
use super::command::Parsed;
use super::session::{Session, put_row, read};
use crate::report::Report;
use crate::sqlstate;
use crate::wire::frontend::{self, Target};
use crate::wire::{Malformed, build};

/// Prepared statements, and portals, that a connection may have.
const NAMES_MAX: usize = 256;
/// Type `text`: every parameter and column is one, so that its binary form is its text.
const TEXT_OID: u32 = 25;

type Name = Vec<u8>;
/// A message that is no message ends the connection; one that cannot be served fails until Sync.
type Served = Result<Result<(), Report>, Malformed>;

/// Names, and where the connection stands after an error.
#[derive(Default)]
pub(super) struct Extended {
    /// `None` is an empty text.
    statements: HashMap<Name, Option<Parsed>>,
    portals: HashMap<Name, Portal>,
    /// An error came: everything is skipped until Sync.
    skipping: bool,
}

struct Portal {
    parsed: Option<Parsed>,
    values: Vec<Option<String>>,
    /// What is left to send, once it has run.
    left: Option<(VecDeque<Vec<String>>, String)>,
}

impl Extended {
    pub(super) fn sync(&mut self) {
        self.skipping = false;
    }

    /// Portals live as long as what the client believes to be its transaction.
    pub(super) fn end_transaction(&mut self) {
        self.portals.clear();
    }

    pub(super) fn failed(&mut self) {
        self.skipping = true;
    }

    pub(super) fn skips(&self) -> bool {
        self.skipping
    }

    /// A simple Query drops the unnamed statement and every portal, as in Postgres outside a transaction.
    pub(super) fn query_came(&mut self) {
        self.skipping = false;
        self.statements.remove(&b""[..]);
        self.portals.clear();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers one message of the extended protocol.
    pub(super) async fn extended_message(&mut self, message: &Message) -> Result<Served, AdminError> {
        let body = &message.body;
        Ok(match message.tag {
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'C' => self.close(body),
            b'E' => return self.execute(body).await,
            _ => Ok(Err(Report::new(sqlstate::FEATURE_NOT_SUPPORTED, "the admin database does not take this message"))),
        })
    }

    fn parse(&mut self, body: &[u8]) -> Served {
        let message = frontend::parse(body)?;
        let mut commands = match read(message.text) {
            Ok(commands) => commands,
            Err(report) => return Ok(Err(report)),
        };
        if commands.len() > 1 {
            let why = "cannot insert multiple commands into a prepared statement";
            return Ok(Err(Report::new(sqlstate::SYNTAX_ERROR, why)));
        }
        let statements = &mut self.extended.statements;
        if statements.len() >= NAMES_MAX && !statements.contains_key(message.name) {
            return Ok(Err(too_many("prepared statements")));
        }
        statements.insert(message.name.to_vec(), commands.pop());
        build::bare(&mut self.client.out, b'1');
        Ok(Ok(()))
    }

    fn bind(&mut self, body: &[u8]) -> Served {
        let (names, rest) = frontend::bind_names(body)?;
        let values = frontend::bind_values(rest)?;
        let Some(parsed) = self.extended.statements.get(names.statement).cloned() else {
            return Ok(Err(unknown("prepared statement")));
        };
        if values.len() != parsed.as_ref().map_or(0, Parsed::parameters) {
            return Ok(Err(Report::new(sqlstate::PROTOCOL_VIOLATION, "wrong number of parameters")));
        }
        let text = |value: &frontend::Value<'_>| match value.bytes {
            Some(bytes) => String::from_utf8(bytes.to_vec()).map(Some),
            None => Ok(None),
        };
        let Ok(values) = values.iter().map(text).collect::<Result<Vec<_>, _>>() else {
            return Ok(Err(Report::new(sqlstate::INVALID_PARAMETER_VALUE, "a parameter is not valid UTF-8")));
        };
        let portals = &mut self.extended.portals;
        if portals.len() >= NAMES_MAX && !portals.contains_key(names.portal) {
            return Ok(Err(too_many("portals")));
        }
        portals.insert(names.portal.to_vec(), Portal { parsed, values, left: None });
        build::bare(&mut self.client.out, b'2');
        Ok(Ok(()))
    }

    fn describe(&mut self, body: &[u8]) -> Served {
        let out = &mut self.client.out;
        let parsed = match frontend::target(body)? {
            Some(Target::Statement(name)) => {
                let Some(parsed) = self.extended.statements.get(name) else {
                    return Ok(Err(unknown("prepared statement")));
                };
                put_parameters(out, parsed.as_ref().map_or(0, Parsed::parameters));
                parsed
            }
            Some(Target::Portal(name)) => match self.extended.portals.get(name) {
                Some(portal) => &portal.parsed,
                None => return Ok(Err(unknown("portal"))),
            },
            None => return Ok(Err(Report::new(sqlstate::PROTOCOL_VIOLATION, "invalid DESCRIBE message subtype"))),
        };
        match parsed.as_ref().and_then(Parsed::columns) {
            Some(columns) => build::row_description(out, columns.iter().copied()),
            None => build::bare(out, b'n'),
        }
        Ok(Ok(()))
    }

    fn close(&mut self, body: &[u8]) -> Served {
        match frontend::target(body)? {
            Some(Target::Statement(name)) => drop(self.extended.statements.remove(name)),
            Some(Target::Portal(name)) => drop(self.extended.portals.remove(name)),
            None => return Ok(Err(Report::new(sqlstate::PROTOCOL_VIOLATION, "invalid CLOSE message subtype"))),
        }
        build::bare(&mut self.client.out, b'3');
        Ok(Ok(()))
    }

    /// Runs a portal at its first Execute; later ones send on what is left.
    async fn execute(&mut self, body: &[u8]) -> Result<Served, AdminError> {
        let message = match frontend::execute(body) {
            Ok(message) => message,
            Err(malformed) => return Ok(Err(malformed)),
        };
        let Some(mut portal) = self.extended.portals.remove(message.portal) else {
            return Ok(Ok(Err(unknown("portal"))));
        };
        let Some(parsed) = &portal.parsed else {
            build::bare(&mut self.client.out, b'I');
            return Ok(Ok(Ok(())));
        };
        let (mut rows, tag) = match portal.left.take() {
            Some(left) => left,
            None => match self.perform(parsed, &portal.values).await {
                Ok(done) => (done.rows.into(), done.tag),
                Err(report) => return Ok(Ok(Err(report))),
            },
        };
        let most = usize::try_from(message.rows_max).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
        for row in rows.drain(..most.min(rows.len())) {
            put_row(&mut self.client.out, &row);
            self.client.relieve().await?;
        }
        if rows.is_empty() {
            build::command_complete(&mut self.client.out, &tag);
        } else {
            build::bare(&mut self.client.out, b's');
        }
        portal.left = Some((rows, tag));
        self.extended.portals.insert(message.portal.to_vec(), portal);
        Ok(Ok(Ok(())))
    }
}

/// A `ParameterDescription`.
fn put_parameters(out: &mut BytesMut, number: usize) {
    build::frame(out, b't', |body| {
        body.put_u16(u16::try_from(number).unwrap_or(u16::MAX));
        for _ in 0..number {
            body.put_u32(TEXT_OID);
        }
    });
}

fn unknown(what: &str) -> Report {
    Report::new(sqlstate::INVALID_SQL_STATEMENT_NAME, format!("there is no such {what}"))
}

fn too_many(what: &str) -> Report {
    Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, format!("too many {what}: at most {NAMES_MAX}"))
}
