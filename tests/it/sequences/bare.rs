//! Postgres itself, given the same sequence with errors in the refused places, one message at a time.
//!
//! It knows from the replies where the server stands, so that it knows which name has which text when a Bind comes.

use std::collections::HashMap;

use super::message::{Class, Message, class};
use super::{END, shown};
use crate::harness::conn::{Conn, execute, flush, parse, query};

/// Stands where something was refused.
pub const REFUSED: &str = "E refused";

/// Nobody has this text, portal or function.
const NONCE: &str = "holdgate_nobody";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Normal,
    /// An error came, and everything up to Sync is skipped.
    Skipping,
    /// COPY data is read, for a Query or for an Execute.
    CopyIn {
        extended: bool,
    },
}

/// The server, and what is known of it.
pub struct Bare {
    conn: Conn,
    mode: Mode,
    /// The texts of prepared statements.
    texts: HashMap<String, String>,
    heard: Vec<String>,
    /// The connection is over.
    ended: bool,
}

/// What a server answers to a sequence.
pub fn replies(address: &str, database: &str, sequence: &[Message]) -> Vec<String> {
    let conn = Conn::session(address, database);
    let mut bare = Bare { conn, mode: Mode::Normal, texts: HashMap::new(), heard: Vec::new(), ended: false };
    for message in sequence {
        bare.say(message);
    }
    bare.heard
}

impl Bare {
    fn say(&mut self, message: &Message) {
        match self.mode {
            _ if self.ended => {}
            Mode::Normal => self.say_normally(message),
            Mode::Skipping if *message == Message::Sync => {
                self.conn.send(&message.bytes());
                self.hear("Z");
                self.mode = Mode::Normal;
            }
            Mode::Skipping => self.conn.send(&message.bytes()),
            Mode::CopyIn { extended } => self.say_in_copy(message, extended),
        }
    }

    fn say_normally(&mut self, message: &Message) {
        if self.refuses(message) {
            return self.refuse(message);
        }
        self.conn.send(&message.bytes());
        match message {
            Message::Query(_) => {
                self.texts.remove("");
                self.hear_query();
            }
            Message::Call { .. } | Message::Sync => drop(self.hear("Z")),
            Message::Parse { name, sql } => {
                if name.is_empty() {
                    self.texts.remove("");
                }
                if self.hear_answer("1") == '1' {
                    self.texts.insert((*name).to_owned(), sql.clone());
                }
            }
            Message::Bind { .. } => drop(self.hear_answer("2")),
            Message::DescribeStatement(_) | Message::DescribePortal(_) => drop(self.hear_answer("Tn")),
            Message::Execute { .. } => {
                if self.hear_answer("CsIG") == 'G' {
                    self.mode = Mode::CopyIn { extended: true };
                }
            }
            Message::CloseStatement(name) => {
                if self.hear_answer("3") == '3' {
                    self.texts.remove(*name);
                }
            }
            Message::ClosePortal(_) => drop(self.hear_answer("3")),
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail | Message::Flush => {}
        }
    }

    fn say_in_copy(&mut self, message: &Message, extended: bool) {
        self.conn.send(&message.bytes());
        match message {
            Message::Flush | Message::Sync => {}
            Message::CopyData(data) if !data.starts_with("bad") => {}
            Message::CopyDone if extended => {
                self.mode = Mode::Normal;
                self.hear_answer("C");
            }
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail if !extended => {
                self.mode = Mode::Normal;
                self.hear_query();
            }
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail => {
                self.hear("E");
                self.mode = Mode::Skipping;
            }
            // Postgres leaves such a message unread, and has then lost its place.
            _ => {
                self.ended = true;
                self.heard.extend(std::iter::from_fn(|| self.conn.frame()).filter_map(|frame| shown(&frame)));
                self.heard.push(END.to_owned());
            }
        }
    }

    /// Whether the proxy is to refuse it here.
    fn refuses(&self, message: &Message) -> bool {
        match message {
            Message::Query(sql) => class(sql) >= Class::Denied,
            Message::Parse { sql, .. } => class(sql) == Class::Refused,
            Message::Bind { statement, .. } => {
                self.texts.get(*statement).is_some_and(|sql| class(sql) >= Class::Denied)
            }
            _ => false,
        }
    }

    fn refuse(&mut self, message: &Message) {
        match message {
            Message::Query(_) => self.conn.send(&query(NONCE)),
            Message::Parse { name, .. } => self.conn.send(&parse(name, NONCE)),
            _ => self.conn.send(&execute(NONCE, 0)),
        }
        if matches!(message, Message::Query(_) | Message::Parse { name: "", .. }) {
            self.texts.remove("");
        }
        self.hear("E");
        self.heard.pop();
        self.heard.push(REFUSED.to_owned());
        if matches!(message, Message::Query(_)) {
            self.hear("Z");
        } else {
            self.mode = Mode::Skipping;
        }
    }

    fn hear_query(&mut self) {
        if self.hear("ZG") == 'G' {
            self.mode = Mode::CopyIn { extended: false };
        }
    }

    /// The answer to a message of the extended protocol; an error makes the server skip.
    fn hear_answer(&mut self, wanted: &str) -> char {
        self.conn.send(&flush());
        let tag = self.hear(&format!("{wanted}E"));
        if tag == 'E' {
            self.mode = Mode::Skipping;
        }
        tag
    }

    /// Reads up to a frame with one of these tags.
    fn hear(&mut self, until: &str) -> char {
        loop {
            let Some(frame) = self.conn.frame() else {
                // Its own internal errors are FATAL now and then.
                assert!(
                    self.heard.last().is_some_and(|last| last.starts_with("E ")),
                    "no {until} after {:?}",
                    self.heard
                );
                self.heard.push(END.to_owned());
                self.ended = true;
                return 'E';
            };
            self.heard.extend(shown(&frame));
            if until.contains(frame.tag) {
                return frame.tag;
            }
        }
    }
}
