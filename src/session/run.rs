//! One judged run: of a simple Query with all its statements, of one Execute, or of one `FunctionCall`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::settings::Settings;
use super::sizes::{Plans, Sent, Size};
use crate::analysis::{Facts, Kind, SessionEffect, StatementFacts};
use crate::catalog::Oid;
use crate::clock;
use crate::ids::{HoldId, StatementId};
use crate::policy::{Decision, Estimate, Verdict};
use crate::wire::frame::HEADER_LEN;

/// Rows and bytes that went to the client, and how many may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meter {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) rows_max: Option<u64>,
    pub(super) bytes_max: Option<u64>,
    /// Rows that earlier slices of the same portal sent.
    pub(super) rows_before: u64,
    /// What was left of the budgets that it uses up when it was judged; `None`: it uses up none.
    pub(super) budget_left: Option<u64>,
    /// Rows that were taken out of them so far.
    pub(super) reserved: u64,
    /// A person lets pass what goes over.
    lifted: bool,
}

impl Meter {
    /// Counts one row of so many bytes, unless it would cross a limit.
    pub(super) fn admit(&mut self, bytes: u64) -> bool {
        let rows = self.rows.saturating_add(1);
        let total = self.bytes.saturating_add(bytes);
        let over_rows = self.rows_max.is_some_and(|max| self.rows_before.saturating_add(rows) > max);
        let over_budget = self.wants_rows() && rows > self.reserved;
        if over_rows || over_budget || self.bytes_max.is_some_and(|max| total > max) {
            return false;
        }
        self.rows = rows;
        self.bytes = total;
        true
    }

    /// Counts the whole rows at the beginning of `input` up to the first that would cross a limit: how many bytes they are.
    /// Large results spend their time here.
    pub(super) fn admit_all(&mut self, input: &[u8]) -> usize {
        let rows_max = self.rows_max.map_or(u64::MAX, |max| max.saturating_sub(self.rows_before));
        let rows_max = if self.wants_rows() { rows_max.min(self.reserved) } else { rows_max };
        let mut rows_left = rows_max.saturating_sub(self.rows);
        let bytes_left = self.bytes_max.map_or(u64::MAX, |max| max.saturating_sub(self.bytes));
        let most = input.len().min(usize::try_from(bytes_left).unwrap_or(usize::MAX));
        let (mut at, mut rows) = (0, 0_u64);
        // Most rows have the header of the one before. A header that is only compared keeps nobody waiting for its length.
        let (mut last, mut length) = ([0; HEADER_LEN], 0);
        while rows_left > 0
            && let Some(header) = input.get(at..).and_then(<[u8]>::first_chunk::<HEADER_LEN>)
        {
            if length == 0 || *header != last {
                let Some(row) = row_len(*header) else { break };
                (last, length) = (*header, row);
            }
            if length > most - at {
                break;
            }
            at += length;
            rows += 1;
            rows_left -= 1;
        }
        self.rows += rows;
        self.bytes += u64::try_from(at).unwrap_or(0);
        at
    }

    /// No more than an operator saw.
    pub(super) fn cap(&mut self, most: Estimate) {
        self.rows_max = most.rows;
        self.bytes_max = most.bytes;
        self.lifted = true;
    }

    /// Nothing is capped any more: a person has seen it.
    pub(super) fn lift(&mut self) {
        self.rows_max = None;
        self.bytes_max = None;
        self.lifted = true;
    }

    /// Every row has to be taken out of a budget.
    pub(super) fn wants_rows(&self) -> bool {
        self.budget_left.is_some() && !self.lifted
    }

    /// The most rows that may leave; `None`: any number.
    pub(super) fn rows_left(&self) -> Option<u64> {
        self.rows_max.into_iter().chain(self.budget_left).min()
    }
}

/// Bytes of a row, its header with it; `None` where it is no row.
fn row_len(header: [u8; HEADER_LEN]) -> Option<usize> {
    let [b'D' | b'd', length @ ..] = header else { return None };
    let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length >= 4)?;
    length.checked_add(1)
}

/// One statement of a run.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) id: StatementId,
    pub(super) decision: Arc<Decision>,
    /// How much it brings back, as far as that was known when it was decided.
    pub(super) size: Size,
    pub(super) meter: Meter,
    pub(super) hold: Option<HoldId>,
    /// Its closing record was written.
    pub(super) closed: bool,
}

/// Whether the end of the open transaction can change what names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revocable {
    Yes,
    No,
}

/// Code of users' own ran, which can have changed what names mean.
pub(super) fn could_set(facts: &StatementFacts) -> bool {
    let own = |name: &String| !name.starts_with("pg_catalog.") || name == "pg_catalog.set_config";
    !facts.opaque.is_empty() || facts.functions.iter().any(own)
}

/// Whether the same statement behind it reads the same rows, on another connection too.
pub(super) fn leaves_all_as_it_is(facts: &StatementFacts) -> bool {
    let harmless = |kind: &Kind| matches!(kind, Kind::Read | Kind::Session | Kind::Transaction);
    let calls = facts.functions.iter().any(|name| !name.starts_with("pg_catalog."));
    facts.pure_read || (facts.kinds.iter().all(harmless) && facts.opaque.is_empty() && !calls)
}

/// One judged run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The whole text.
    pub(super) text: Bytes,
    pub(super) facts: Arc<Facts>,
    /// One a statement, in order; never empty where the text has a statement.
    pub(super) parts: Vec<Part>,
    /// The statement whose answer comes next.
    pub(super) current: usize,
    pub(super) since: Instant,
    /// The portal's name, where it is one.
    pub(super) portal: Option<Box<[u8]>>,
    /// The name of the prepared statement, where it is a Bind.
    pub(super) statement: Option<Box<[u8]>>,
    /// The same approval covers another execution behind it.
    pub(super) more_follow: bool,
    /// The OID of the function, where it is a `FunctionCall`.
    pub(super) call: Option<Oid>,
    /// A command of a replication connection: it may give several results, and ends with its `ReadyForQuery`.
    pub(super) replicates: bool,
    /// What the server says of its columns was compared with the facts.
    pub(super) witnessed: bool,
    /// What the planner said of it.
    pub(super) plans: Option<Arc<Plans>>,
    /// The values of its Bind, where records tell something of them.
    pub(super) sent: Option<Sent>,
}

impl Run {
    pub(super) fn new(text: Bytes, facts: Arc<Facts>, decisions: Vec<(Arc<Decision>, Size)>) -> Self {
        let parts = decisions
            .into_iter()
            .map(|(decision, size)| Part {
                id: StatementId::new(),
                meter: Meter { rows_max: decision.limits.rows, bytes_max: decision.limits.bytes, ..Meter::default() },
                decision,
                size,
                hold: None,
                closed: false,
            })
            .collect();
        Self {
            text,
            facts,
            parts,
            current: 0,
            since: clock::monotonic(),
            portal: None,
            statement: None,
            more_follow: false,
            call: None,
            replicates: false,
            witnessed: false,
            plans: None,
            sent: None,
        }
    }

    /// The strictest verdict of its statements.
    pub(super) fn verdict(&self) -> Verdict {
        self.parts.iter().map(|part| part.decision.verdict).max().unwrap_or(Verdict::Allow)
    }

    /// The statement that decides the verdict: the first of the strictest.
    pub(super) fn deciding(&self) -> usize {
        let verdict = self.verdict();
        self.parts.iter().position(|part| part.decision.verdict == verdict).unwrap_or(0)
    }

    /// It must be in the log before it is forwarded.
    pub(super) fn is_strict(&self) -> bool {
        self.facts.statements.iter().any(StatementFacts::is_tagged)
            || self.parts.iter().any(|part| part.decision.verdict != Verdict::Allow || part.hold.is_some())
    }

    /// The statement whose answer comes next. A text that counts fewer statements than the server does stays at its last.
    pub(super) fn part_mut(&mut self) -> Option<&mut Part> {
        let last = self.parts.len().checked_sub(1)?;
        self.parts.get_mut(self.current.min(last))
    }

    /// The text of one statement. Facts that were found by shape carry the span of another text: one statement alone is
    /// its whole text.
    pub(super) fn text_of(&self, index: usize) -> &[u8] {
        match self.facts.statements.as_slice() {
            [_] => &self.text,
            all => all.get(index).and_then(|facts| self.text.get(facts.span.clone())).unwrap_or(&self.text),
        }
    }

    /// The run of the statement that decides, for the store.
    pub(super) fn deciding_id(&self) -> Option<StatementId> {
        self.parts.get(self.deciding()).map(|part| part.id)
    }

    /// It reads data that the client sends behind it, or could.
    pub(super) fn reads_client_data(&self) -> bool {
        self.facts.statements.iter().any(|facts| {
            !facts.opaque.is_empty()
                || matches!(facts.command.as_str(), "START_REPLICATION" | "UPLOAD_MANIFEST")
                || (facts.command.starts_with("COPY") && facts.kinds.contains(&Kind::Write))
        })
    }

    /// It leaves a prepared statement or a cursor behind.
    pub(super) fn makes_names(&self) -> bool {
        let makes =
            |effect: &SessionEffect| matches!(effect, SessionEffect::Prepare { .. } | SessionEffect::Declare { .. });
        self.facts.statements.iter().any(|facts| facts.effects.iter().any(makes))
    }

    /// One statement with a name or a form that is not known here: Postgres may refuse it anyway.
    pub(super) fn may_be_a_mistake(&self) -> bool {
        match self.facts.statements.as_slice() {
            [only] => only.unresolved || only.is_unparsable(),
            _ => false,
        }
    }

    /// It writes, gives rows back, and is capped.
    pub(super) fn writes_within_limits(&self) -> bool {
        self.parts.iter().zip(&self.facts.statements).any(|(part, facts)| {
            let capped = part.meter.rows_left().is_some() || part.meter.bytes_max.is_some();
            capped && !facts.pure_read && !facts.outputs.is_empty()
        })
    }

    /// It begins or ends transactions, so that a failed one may be over in its middle.
    pub(super) fn controls_transactions(&self) -> bool {
        self.facts.statements.len() != 1
            || self
                .facts
                .statements
                .iter()
                .any(|facts| facts.kinds.contains(&Kind::Transaction) || !facts.opaque.is_empty())
    }

    /// Once it has run, names of relations, statements or cursors may mean something else.
    pub(super) fn changes_meaning(&self) -> bool {
        self.facts.statements.iter().any(|facts| could_set(facts) || facts.effects.iter().any(Settings::is_moved_by))
    }

    /// One of its statements begins or ends a transaction, or goes back in it.
    pub(super) fn has_transaction_statement(&self) -> bool {
        self.facts.statements.iter().any(|facts| facts.kinds.contains(&Kind::Transaction))
    }

    /// It may leave behind what other connections do not see.
    pub(super) fn writes(&self) -> bool {
        !self.facts.statements.iter().all(leaves_all_as_it_is)
    }

    /// Nothing stands against the statement whose answer comes next.
    pub(super) fn allows_current(&self) -> bool {
        self.parts.get(self.current).is_some_and(|part| part.decision.verdict == Verdict::Allow)
    }

    /// Facts of the statement at an index.
    pub(super) fn facts_of(&self, index: usize) -> Option<&StatementFacts> {
        self.facts.statements.get(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_meter_stops_at_its_limit_and_not_one_row_later() {
        let mut meter = Meter { rows_max: Some(2), ..Meter::default() };
        assert!(meter.admit(10) && meter.admit(10));
        assert!(!meter.admit(10));
        assert_eq!((meter.rows, meter.bytes), (2, 20));
    }

    #[test]
    fn slices_of_one_portal_share_a_limit() {
        let mut meter = Meter { rows_max: Some(3), rows_before: 2, ..Meter::default() };
        assert!(meter.admit(1));
        assert!(!meter.admit(1));
    }

    proptest! {
        /// The quick way counts as the slow one does, whatever the rows and the limits.
        #[test]
        fn many_rows_are_admitted_as_one_after_the_other(
            rows in prop::collection::vec((prop::sample::select(b"DdC\0".to_vec()), 0..40_usize), 0..12),
            cut in 0..8_usize,
            limits: (Option<u8>, Option<u8>, Option<u8>),
            before in 0..3_u64,
        ) {
            let mut input = Vec::new();
            for (tag, length) in &rows {
                input.push(*tag);
                input.extend(u32::try_from(length + 4).unwrap().to_be_bytes());
                input.resize(input.len() + length, 0);
            }
            input.truncate(input.len().saturating_sub(cut));
            let (rows_max, bytes_max, reserved) = limits;
            let mut quick = Meter {
                rows_max: rows_max.map(|max| u64::from(max % 12)),
                bytes_max: bytes_max.map(u64::from),
                rows_before: before,
                budget_left: reserved.map(u64::from),
                reserved: reserved.map_or(0, |reserved| u64::from(reserved % 12)),
                ..Meter::default()
            };
            let mut slow = quick;
            let (mut at, mut whole) = (0, rows.iter());
            while let Some((b'D' | b'd', length)) = whole.next()
                && at + 5 + length <= input.len()
                && slow.admit(u64::try_from(5 + length).unwrap())
            {
                at += 5 + length;
            }
            prop_assert_eq!(quick.admit_all(&input), at);
            prop_assert_eq!(quick, slow);
        }
    }
}
