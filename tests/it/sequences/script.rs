//! Random sequences of messages: mostly sensible ones, so that they get somewhere, and some that make no sense.

use super::message::Message;
use crate::generator::random::Random;

/// Texts of which each runs, fails or changes the state in another way. `#` becomes the table of a class.
const TEXTS: [&str; 32] = [
    "SELECT 1",
    "SELECT g FROM generate_series(1, 5) g",
    "SELECT a FROM t_# ORDER BY a",
    "SELECT a FROM t_# ORDER BY a",
    "INSERT INTO t_# VALUES (7)",
    "INSERT INTO t_# VALUES (8) RETURNING a",
    "UPDATE t_# SET a = a + 1 WHERE a > 100 RETURNING a",
    "DELETE FROM t_# WHERE a > 6",
    "SELECT 1/0",
    "SELECT 10 / (a - 2) FROM t_# ORDER BY a",
    "SELEC 1",
    "",
    "BEGIN",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "DECLARE c_# CURSOR FOR SELECT g FROM generate_series(1, 9) g, t_#",
    "DECLARE c_# CURSOR WITH HOLD FOR SELECT a FROM t_#",
    "CLOSE c_#",
    "PREPARE q_# AS SELECT a FROM t_#",
    "DEALLOCATE q_#",
    "COPY t_# TO STDOUT",
    "COPY t_# FROM STDIN",
    "COPY t_# FROM STDIN",
    "SHOW search_path",
    "SET work_mem = '8MB'",
    "SELECT f_#(a) FROM t_#",
    "TRUNCATE t_#",
    "LOCK TABLE t_# IN ACCESS SHARE MODE",
];

/// Texts after which the catalog is read again, which takes its time.
const RARE: [&str; 5] = [
    "SELECT * FROM nosuch",
    "SELECT nosuch",
    "COPY nosuch FROM STDIN",
    "COPY nosuch FROM STDIN",
    "CREATE TABLE IF NOT EXISTS made (a int)",
];

/// Texts that mean what a name means: judged by that, and therefore alone in theirs.
const NAMING: [&str; 3] = ["EXECUTE q_#", "FETCH 2 FROM c_#", "FETCH ALL FROM c_#"];

const CLASSES: [&str; 8] = ["open", "open", "open", "open", "open", "approved", "denied", "refused"];
const STATEMENTS: [&str; 5] = ["", "", "a", "b", "q_open"];
const PORTALS: [&str; 4] = ["", "", "p", "c_open"];

/// Makes sequences from a seed.
pub struct Maker {
    random: Random,
    /// In every text, so that no two sequences hold the same one.
    seed: u64,
}

impl Maker {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), seed }
    }

    /// A sequence of some messages.
    pub fn sequence(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        for _ in 0..2 + self.random.below(6) {
            self.passage(&mut messages);
        }
        messages
    }

    fn passage(&mut self, to: &mut Vec<Message>) {
        match self.random.below(20) {
            0..5 => {
                to.push(Message::Query(self.text()));
                self.data(to);
            }
            5..7 => to.push(Message::Query(self.naming())),
            7..14 => {
                for _ in 0..=self.random.below(3) {
                    self.statement(to);
                }
                if self.random.chance(90) {
                    to.push(Message::Sync);
                }
            }
            14 => to.push(self.call()),
            _ => {
                for _ in 0..=self.random.below(4) {
                    let message = self.anything();
                    to.push(message);
                }
            }
        }
    }

    /// Parse to Execute, with a step left out or repeated now and then.
    fn statement(&mut self, to: &mut Vec<Message>) {
        let (name, portal) = (*self.random.one(&STATEMENTS), *self.random.one(&PORTALS));
        if self.random.chance(80) {
            to.push(Message::Parse { name, sql: self.single() });
            if self.random.chance(30) {
                to.push(Message::DescribeStatement(name));
            }
            if self.random.chance(15) {
                to.push(Message::Flush);
            }
        }
        if self.random.chance(93) {
            to.push(Message::Bind { portal, statement: name });
        }
        if self.random.chance(40) {
            to.push(Message::DescribePortal(portal));
        }
        for _ in 0..self.random.below(10).saturating_sub(7).max(1) {
            let rows = *self.random.one(&[0, 0, 0, 2, 1]);
            to.push(Message::Execute { portal, rows });
        }
        self.data(to);
        if self.random.chance(10) {
            to.push(Message::CloseStatement(name));
        }
    }

    /// What follows a COPY FROM STDIN, most of the time.
    fn data(&mut self, to: &mut Vec<Message>) {
        let copies = |message: &Message| match message {
            Message::Query(sql) | Message::Parse { sql, .. } => sql.contains("FROM STDIN"),
            _ => false,
        };
        if !to.iter().rev().take(5).any(copies) {
            return;
        }
        for _ in 0..self.random.below(4) {
            let data: &&str = self.random.one(&["1\n", "2\n3\n", "bad\n"]);
            to.push(Message::CopyData(data));
        }
        match self.random.below(10) {
            0 => to.push(Message::CopyFail),
            1 => {}
            2 => to.extend([Message::Sync, Message::Flush, Message::CopyDone]),
            _ => to.push(Message::CopyDone),
        }
    }

    fn anything(&mut self) -> Message {
        let (name, portal) = (*self.random.one(&STATEMENTS), *self.random.one(&PORTALS));
        match self.random.below(14) {
            0 => Message::Query(self.text()),
            1 => Message::Parse { name, sql: self.single() },
            2 => Message::Bind { portal, statement: name },
            3 => Message::DescribeStatement(name),
            4 => Message::DescribePortal(portal),
            5 => Message::Execute { portal, rows: 1 },
            6 => Message::CloseStatement(name),
            7 => Message::ClosePortal(portal),
            8 => Message::CopyData("4\n"),
            9 => Message::CopyDone,
            10 => Message::CopyFail,
            11 => Message::Flush,
            12 => self.call(),
            _ => Message::Sync,
        }
    }

    /// abs(int4), and int4um of what is no number.
    fn call(&mut self) -> Message {
        let (oid, argument) = *self.random.one(&[(1397, "-7"), (1397, "x"), (1, "1")]);
        Message::Call { oid, argument }
    }

    /// A text of one statement or of several.
    fn text(&mut self) -> String {
        let several = if self.random.chance(25) { 1 + self.random.below(3) } else { 1 };
        (0..several).map(|_| self.single()).collect::<Vec<_>>().join("; ")
    }

    fn single(&mut self) -> String {
        let text = if self.random.chance(4) { *self.random.one(&RARE) } else { *self.random.one(&TEXTS) };
        self.made(text)
    }

    fn naming(&mut self) -> String {
        let text = *self.random.one(&NAMING);
        self.made(text)
    }

    fn made(&mut self, text: &str) -> String {
        let class = *self.random.one(&CLASSES);
        let text = text.replace('#', class);
        if text.is_empty() { text } else { format!("{text} /* {} */", self.seed) }
    }
}
