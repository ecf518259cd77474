//! The commands: one table from which the parser, the columns of answers and `SHOW HELP` come.

use super::token::Token;
use crate::report::Report;
use crate::sqlstate;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Holds,
    AllHolds,
    Hold,
    Approve,
    Deny,
    Tags,
    ConfirmTag,
    DismissTag,
    Sessions,
    Principals,
    Policies,
    Stats,
    ExplainPolicy,
    Kill,
    Pause,
    Resume,
    Reload,
    Config,
    Version,
    Help,
}

/// Whether an operand may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) verb: Verb,
    /// The words that call it, in capitals.
    pub(super) words: &'static [&'static str],
    /// What follows them: strings or parameters.
    pub(super) operands: &'static [(&'static str, Need)],
    pub(super) columns: &'static [&'static str],
    pub(super) help: &'static str,
}

const HOLDS: &[&str] =
    &["id", "state", "waiting", "principal", "human", "database", "command", "rule", "expires_at", "statement"];
const CARD: &[&str] = &["field", "value"];
const TAGS: &[&str] = &["id", "state", "database", "column", "tag", "sources", "statement", "at", "reviewed_by"];
const SESSIONS: &[&str] = &[
    "id",
    "principal",
    "role",
    "database",
    "client",
    "application_name",
    "state",
    "connected_at",
    "human",
    "agent",
    "state_since",
    "statement",
    "transaction_since",
    "hold",
];
const ACT: &[&str] = &["done"];
const DECIDED: &[&str] = &["id", "state", "approvals", "expires_at"];

/// All commands; of two that begin alike the one with more words stands first.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        verb: Verb::AllHolds,
        words: &["SHOW", "HOLDS", "ALL"],
        operands: &[],
        columns: HOLDS,
        help: "The newest holds in any state; closed ones with masked text.",
    },
    Command {
        verb: Verb::Holds,
        words: &["SHOW", "HOLDS"],
        operands: &[],
        columns: HOLDS,
        help: "Holds that wait for a decision or for their run, the newest first.",
    },
    Command {
        verb: Verb::Hold,
        words: &["SHOW", "HOLD"],
        operands: &[("id", Need::Required)],
        columns: CARD,
        help: "One hold in full: statement, values, who asks, what it touches, who may approve.",
    },
    Command {
        verb: Verb::Approve,
        words: &["APPROVE"],
        operands: &[("id", Need::Required), ("why", Need::Optional)],
        columns: DECIDED,
        help: "Lets the statement run once. Never your own request.",
    },
    Command {
        verb: Verb::Deny,
        words: &["DENY"],
        operands: &[("id", Need::Required), ("why", Need::Required)],
        columns: DECIDED,
        help: "Refuses the statement; whoever sent it reads why.",
    },
    Command {
        verb: Verb::Tags,
        words: &["SHOW", "TAGS"],
        operands: &[("state", Need::Optional)],
        columns: TAGS,
        help: "Tags that came to columns with values, the oldest first: open, confirmed or dismissed.",
    },
    Command {
        verb: Verb::ConfirmTag,
        words: &["CONFIRM", "TAG"],
        operands: &[("id", Need::Required), ("why", Need::Optional)],
        columns: TAGS,
        help: "Says that a derived tag is right.",
    },
    Command {
        verb: Verb::DismissTag,
        words: &["DISMISS", "TAG"],
        operands: &[("id", Need::Required), ("why", Need::Required)],
        columns: TAGS,
        help: "Says that a derived tag is wrong: it counts no more, until other columns flow into the same one.",
    },
    Command {
        verb: Verb::Sessions,
        words: &["SHOW", "SESSIONS"],
        operands: &[],
        columns: SESSIONS,
        help: "Who is connected to the data plane, what it does and since when, and the hold on which it waits.",
    },
    Command {
        verb: Verb::Principals,
        words: &["SHOW", "PRINCIPALS"],
        operands: &[],
        columns: &["name", "kind", "human", "groups", "role"],
        help: "Who a role stands for, as configured.",
    },
    Command {
        verb: Verb::Policies,
        words: &["SHOW", "POLICIES"],
        operands: &[],
        columns: &["place", "rule", "policy_sha256"],
        help: "The rules in force, in their order: the first that decides wins.",
    },
    Command {
        verb: Verb::Stats,
        words: &["SHOW", "STATS"],
        operands: &[],
        columns: &["name", "value"],
        help: "How many holds, sessions and records there are now.",
    },
    Command {
        verb: Verb::ExplainPolicy,
        words: &["EXPLAIN", "POLICY"],
        operands: &[("sql", Need::Required), ("principal", Need::Optional), ("database", Need::Optional)],
        columns: &["statement", "verdict", "rule", "reason", "kinds", "tags", "approve"],
        help: "What the policy says of a text, for a principal, without running it. The SQL stands in quotes.",
    },
    Command {
        verb: Verb::Kill,
        words: &["KILL"],
        operands: &[("session", Need::Required)],
        columns: ACT,
        help: "Ends a session of the data plane. For admins.",
    },
    Command {
        verb: Verb::Pause,
        words: &["PAUSE"],
        operands: &[],
        columns: ACT,
        help: "Open transactions go on to their end; what would begin after it waits for RESUME. For admins.",
    },
    Command {
        verb: Verb::Resume,
        words: &["RESUME"],
        operands: &[],
        columns: ACT,
        help: "Statements that waited since PAUSE go on. For admins.",
    },
    Command {
        verb: Verb::Reload,
        words: &["RELOAD"],
        operands: &[],
        columns: ACT,
        help: "Reads the policies anew; the old ones stay where the new ones have problems. For admins.",
    },
    Command {
        verb: Verb::Config,
        words: &["SHOW", "CONFIG"],
        operands: &[],
        columns: &["name", "value"],
        help: "The configuration in force, without secrets.",
    },
    Command {
        verb: Verb::Version,
        words: &["SHOW", "VERSION"],
        operands: &[],
        columns: &["version"],
        help: "The version of this program.",
    },
    Command {
        verb: Verb::Help,
        words: &["SHOW", "HELP"],
        operands: &[],
        columns: &["command", "what_it_does"],
        help: "This table.",
    },
];

/// What drivers and pools say by themselves: taken, and without effect. First word and command tag.
const COURTESIES: &[(&str, Courtesy)] = &[
    ("BEGIN", Courtesy::Begin),
    ("START", Courtesy::Begin),
    ("COMMIT", Courtesy::End("COMMIT")),
    ("END", Courtesy::End("COMMIT")),
    ("ROLLBACK", Courtesy::End("ROLLBACK")),
    ("ABORT", Courtesy::End("ROLLBACK")),
    ("SET", Courtesy::Plain("SET")),
    ("RESET", Courtesy::Plain("RESET")),
    ("DISCARD", Courtesy::Plain("DISCARD ALL")),
];

/// A statement of a driver's own that has no meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Courtesy {
    /// The client believes itself in a transaction from now on.
    Begin,
    /// No more; with the command tag.
    End(&'static str),
    /// With the command tag.
    Plain(&'static str),
}

/// An operand as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Text(String),
    /// `$n`, from 1.
    Parameter(usize),
}

/// One parsed statement.
#[derive(Clone, Debug)]
pub(super) enum Parsed {
    Command { command: &'static Command, operands: Vec<Operand> },
    Courtesy(Courtesy),
}

impl Parsed {
    /// The columns of its answer; `None` where it has no rows.
    pub(super) fn columns(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Command { command, .. } => Some(command.columns),
            Self::Courtesy(_) => None,
        }
    }

    /// How many parameters it takes.
    pub(super) fn parameters(&self) -> usize {
        let Self::Command { operands, .. } = self else { return 0 };
        let places = operands.iter().map(|operand| match operand {
            Operand::Parameter(place) => *place,
            Operand::Text(_) => 0,
        });
        places.max().unwrap_or(0)
    }
}

impl Command {
    /// How it is written, for help and errors.
    pub(super) fn usage(&self) -> String {
        let operands = self.operands.iter().map(|(name, need)| match need {
            Need::Required => format!("'<{name}>'"),
            Need::Optional => format!("['<{name}>']"),
        });
        self.words.iter().map(|word| (*word).to_owned()).chain(operands).collect::<Vec<_>>().join(" ")
    }
}

/// Reads one statement.
pub(super) fn parse(tokens: &[Token]) -> Result<Parsed, Report> {
    for command in COMMANDS {
        if let Some(rest) = after_words(tokens, command.words) {
            return Ok(Parsed::Command { command, operands: operands(command, rest)? });
        }
    }
    let courtesy = COURTESIES.iter().find(|(word, _)| after_words(tokens, &[word]).is_some());
    courtesy.map(|(_, courtesy)| Parsed::Courtesy(*courtesy)).ok_or_else(unknown)
}

fn after_words<'a>(tokens: &'a [Token], words: &[&str]) -> Option<&'a [Token]> {
    let (head, rest) = tokens.split_at_checked(words.len())?;
    let same = |(token, word): (&Token, &&str)| matches!(token, Token::Word(text) if text.eq_ignore_ascii_case(word));
    head.iter().zip(words).all(same).then_some(rest)
}

fn operands(command: &Command, tokens: &[Token]) -> Result<Vec<Operand>, Report> {
    let required = command.operands.iter().filter(|(_, need)| *need == Need::Required).count();
    let misused = || {
        Report::new(sqlstate::SYNTAX_ERROR, format!("wrong use of {}", command.words.join(" ")))
            .hint(format!("Write {};", command.usage()))
    };
    if tokens.len() < required || tokens.len() > command.operands.len() {
        return Err(misused());
    }
    let operand = |token: &Token| match token {
        Token::Text(text) | Token::Word(text) => Ok(Operand::Text(text.clone())),
        // A Bind cannot carry more parameters than a command has operands.
        Token::Parameter(place) if *place <= command.operands.len() => Ok(Operand::Parameter(*place)),
        Token::Parameter(_) | Token::Symbol(_) => Err(misused()),
    };
    tokens.iter().map(operand).collect()
}

fn unknown() -> Report {
    Report::new(sqlstate::SYNTAX_ERROR, "this is no command of the admin database")
        .detail("It has no tables and runs no SQL.")
        .hint("SHOW HELP; lists its commands.")
}

#[cfg(test)]
mod tests {
    use super::super::token::commands;
    use super::*;

    fn parsed(text: &str) -> Result<Parsed, Report> {
        parse(&commands(text).unwrap()[0])
    }

    fn verb(text: &str) -> Option<Verb> {
        match parsed(text) {
            Ok(Parsed::Command { command, .. }) => Some(command.verb),
            _ => None,
        }
    }

    #[test]
    fn every_command_is_reached_by_its_own_usage() {
        for command in COMMANDS {
            let usage = command.usage().replace(['[', ']'], "");
            assert_eq!(verb(&usage), Some(command.verb), "{usage}");
            assert_eq!(verb(&usage.to_lowercase()), Some(command.verb), "{usage}");
        }
    }

    #[test]
    fn operands_are_neither_missing_nor_too_many() {
        for text in ["SHOW HOLD", "DENY 'a'", "APPROVE", "APPROVE 'a' 'b' 'c'", "SHOW HOLDS x", "APPROVE 'a' $3"] {
            assert_eq!(parsed(text).unwrap_err().sqlstate, sqlstate::SYNTAX_ERROR, "{text}");
        }
        assert_eq!(parsed("APPROVE $1 $2").unwrap().parameters(), 2);
    }

    #[test]
    fn sql_is_no_command_and_the_hint_says_what_is() {
        let report = parsed("SELECT n.nspname FROM pg_catalog.pg_namespace n").unwrap_err();
        assert!(report.hint.unwrap().contains("SHOW HELP"));
    }
}
