//! One operator's conversation: simple queries here, the extended protocol beside it.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{self, Rows};
use super::client::{AdminError, Client, Message};
use super::command::{Courtesy, Operand, Parsed, parse};
use super::extended::Extended;
use super::token::{self, LexError};
use crate::approvals::Operator;
use crate::control::Control;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build::{self, Severity};
use crate::wire::{Malformed, frontend};

/// The state of one connection.
pub(super) struct Session<S> {
    pub(super) client: Client<S>,
    operator: Operator,
    control: Control,
    pub(super) extended: Extended,
    /// What the client believes: `I`, or `T` after a BEGIN.
    status: u8,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(client: Client<S>, operator: Operator, control: Control) -> Self {
        Self { client, operator, control, extended: Extended::default(), status: b'I' }
    }

    /// Answers until the client leaves.
    pub(super) async fn run(mut self) -> Result<(), AdminError> {
        loop {
            let message = match self.client.message().await {
                Ok(message) => message,
                // psql says Terminate; a client that is killed does not.
                Err(AdminError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            };
            if message.tag == b'X' {
                return Ok(());
            }
            if let Err(Malformed { reason }) = self.answer(&message).await? {
                let report = Report::new(sqlstate::PROTOCOL_VIOLATION, reason);
                return Err(self.client.end(&report, AdminError::Protocol(reason)).await);
            }
        }
    }

    async fn answer(&mut self, message: &Message) -> Result<Result<(), Malformed>, AdminError> {
        match message.tag {
            b'Q' => match frontend::query(&message.body) {
                Ok(text) => {
                    self.extended.query_came();
                    self.query(text).await?;
                    self.ready().await?;
                }
                Err(malformed) => return Ok(Err(malformed)),
            },
            b'S' => {
                self.extended.sync();
                if self.status == b'I' {
                    self.extended.end_transaction();
                }
                self.ready().await?;
            }
            b'H' => self.client.flush().await?,
            _ if self.extended.skips() => {}
            _ => match self.extended_message(message).await? {
                Ok(Ok(())) => {}
                Ok(Err(report)) => {
                    self.extended.failed();
                    build::report(&mut self.client.out, Severity::Error, &report);
                }
                Err(malformed) => return Ok(Err(malformed)),
            },
        }
        self.client.relieve().await?;
        Ok(Ok(()))
    }

    async fn query(&mut self, text: &[u8]) -> Result<(), AdminError> {
        let commands = match read(text) {
            Ok(commands) => commands,
            Err(report) => {
                build::report(&mut self.client.out, Severity::Error, &report);
                return Ok(());
            }
        };
        if commands.is_empty() {
            build::bare(&mut self.client.out, b'I');
        }
        for parsed in commands {
            match self.perform(&parsed, &[]).await {
                Ok(rows) => {
                    if let Some(columns) = parsed.columns() {
                        build::row_description(&mut self.client.out, columns.iter().copied());
                    }
                    for row in &rows.rows {
                        put_row(&mut self.client.out, row);
                        self.client.relieve().await?;
                    }
                    build::command_complete(&mut self.client.out, &rows.tag);
                }
                Err(report) => {
                    build::report(&mut self.client.out, Severity::Error, &report);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Runs one statement with the values of its parameters.
    pub(super) async fn perform(&mut self, parsed: &Parsed, values: &[Option<String>]) -> Result<Rows, Report> {
        match parsed {
            Parsed::Courtesy(courtesy) => Ok(self.courtesy(*courtesy)),
            Parsed::Command { command, operands } => {
                let operands: Vec<_> = operands.iter().map(|operand| place(operand, values)).collect();
                answer::run(command, &operands, &self.operator, &self.control).await
            }
        }
    }

    fn courtesy(&mut self, courtesy: Courtesy) -> Rows {
        let tag = match courtesy {
            Courtesy::Begin => {
                self.status = b'T';
                let report = Report::new(sqlstate::WARNING, "there are no transactions here")
                    .detail("A decision stands at once; ROLLBACK does not take it back.");
                build::report(&mut self.client.out, Severity::Notice, &report);
                "BEGIN"
            }
            Courtesy::End(tag) => {
                self.status = b'I';
                tag
            }
            Courtesy::Plain(tag) => tag,
        };
        Rows { rows: Vec::new(), tag: tag.to_owned() }
    }

    async fn ready(&mut self) -> Result<(), AdminError> {
        build::ready(&mut self.client.out, self.status);
        self.client.flush().await
    }
}

/// The statements of a text.
pub(super) fn read(text: &[u8]) -> Result<Vec<Parsed>, Report> {
    let unreadable = |why: &str| Report::new(sqlstate::SYNTAX_ERROR, why).hint("SHOW HELP; lists the commands.");
    let text = std::str::from_utf8(text).map_err(|_| unreadable("the text is not valid UTF-8"))?;
    let commands = token::commands(text).map_err(|error| match error {
        LexError::Unterminated => unreadable("a quote or comment has no end"),
        LexError::Parameter => unreadable("a parameter is written $1"),
    })?;
    commands.iter().map(|tokens| parse(tokens)).collect()
}

pub(super) fn put_row(out: &mut BytesMut, row: &[String]) {
    build::data_row(out, row.iter().map(|cell| Some(cell.as_str())));
}

fn place(operand: &Operand, values: &[Option<String>]) -> Option<String> {
    match operand {
        Operand::Text(text) => Some(text.clone()),
        Operand::Parameter(place) => values.get(place.saturating_sub(1)).cloned().flatten(),
    }
}
