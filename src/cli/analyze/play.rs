//! A file is one session, a line of jsonl is one: their statements are played, judged and handed on.

use std::io::{BufRead, Write};

use super::answer::{Answer, Statement};
use super::print::Printer;
use super::script::{Content, Piece, Place, Script};
use crate::analysis::scan::{StringMode, tokens};
use crate::analysis::{Replay, StatementFacts};
use crate::cli::source::Start;
use crate::clock::Clock;
use crate::policy::{Decision, Policy, Request};
use crate::principal::{Principal, PrincipalKind};

/// Who asks, under which policy, of which database.
pub(super) struct Judge {
    policy: Policy,
    principal: Principal,
    database: String,
    session: Replay,
}

impl Judge {
    pub(super) fn new(start: Start, policy: Policy) -> Self {
        let Start { catalog, search_path, role } = start;
        let database = catalog.database().to_owned();
        let catalog = catalog.with_tags(&database, policy.tag_rules());
        let principal = Principal {
            name: role.clone(),
            kind: PrincipalKind::default(),
            human: None,
            groups: Vec::new(),
            role: role.clone(),
        };
        let session = Replay::new(catalog, policy.tag_rules().clone(), search_path, role);
        Self { policy, principal, database, session }
    }

    /// Plays a file of SQL, a statement at a time.
    pub(super) fn file<R: BufRead, W: Write>(
        &self,
        reader: R,
        name: &str,
        printer: &mut Printer<W>,
    ) -> anyhow::Result<()> {
        let mut session = self.session.clone();
        let mut script = Script::new(reader);
        printer.open(name)?;
        while let Some(piece) = script.next_piece()? {
            for statement in self.piece(&mut session, &piece) {
                printer.statement(&statement)?;
            }
            script.set_mode(session.string_mode());
        }
        printer.close()?;
        Ok(())
    }

    fn piece(&self, session: &mut Replay, piece: &Piece) -> Vec<Statement> {
        let (sql, notes, opaque) = match &piece.content {
            Content::Sql { sql, notes, opaque } => (sql, notes, opaque),
            Content::Opaque(why) => {
                let facts = StatementFacts::opaque("PSQL", 0..0, why);
                let statement = Statement::new(&facts, &self.decide(&facts));
                return vec![statement.at(piece.start, piece.end, &piece.text)];
            }
        };
        let facts = match session.run(sql) {
            Ok(facts) => facts,
            Err(rejected) => return vec![Statement::rejected(&rejected).at(piece.start, piece.end, &piece.text)],
        };
        let one = |mut facts: StatementFacts| {
            for why in opaque {
                facts.kinds.insert(crate::analysis::Kind::Opaque);
                facts.opaque.push(why.clone());
            }
            let statement = Statement::new(&facts, &self.decide(&facts));
            Statement { notes: notes.clone(), ..statement.at(piece.start, piece.end, &piece.text) }
        };
        facts.statements.into_iter().map(one).collect()
    }

    /// Plays one text in a session of its own.
    pub(super) fn line(&self, id: serde_json::Value, sql: &str) -> Answer {
        let statements = match self.session.clone().run(sql.as_bytes()) {
            Ok(facts) => facts
                .statements
                .iter()
                .map(|facts| {
                    let (start, end, text) = region(sql, facts.span.clone());
                    Statement::new(facts, &self.decide(facts)).at(start, end, text)
                })
                .collect(),
            Err(rejected) => {
                let (start, end, text) = region(sql, 0..sql.len());
                vec![Statement::rejected(&rejected).at(start, end, text)]
            }
        };
        Answer::new(id, statements)
    }

    fn decide(&self, facts: &StatementFacts) -> Decision {
        self.policy.evaluate(&Request {
            principal: &self.principal,
            database: &self.database,
            client: None,
            environment: None,
            intent: None,
            facts,
            estimate: None,
            at: Clock::System.now(),
        })
    }
}

/// The lines of a statement in a text that is sent as it is, without comments around it.
fn region(sql: &str, span: std::ops::Range<usize>) -> (Place, Place, &str) {
    let text = sql.get(span.clone()).unwrap_or_default();
    let mut solid = tokens(text.as_bytes(), StringMode::Standard).filter(|token| !token.kind.is_comment());
    let first = solid.next().map_or(0..0, |token| token.range);
    let end = solid.last().map_or(first.end, |token| token.range.end);
    let text = text.get(first.start..end).unwrap_or_default();
    (place(sql, span.start + first.start), place(sql, span.start + end), text)
}

fn place(sql: &str, at: usize) -> Place {
    let before = sql.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Place { line: number(line), column: number(column) }
}
