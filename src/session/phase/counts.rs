//! How many frames of a queue are of which sort, so that nothing has to look through a client's long pipeline.

use super::Request;

/// One number a sort; of a single frame each is 0 or 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Answered with a `ReadyForQuery`.
    pub(super) ends_batch: usize,
    /// Syncs behind COPY data.
    pub(super) syncs_in_copy: usize,
    /// Once they have run, names may mean something else.
    pub(super) changes_meaning: usize,
    /// With statements that begin or end transactions, or go back in them.
    pub(super) transaction: usize,
    /// They leave something behind that this connection alone sees.
    pub(super) writes: usize,
}

impl Counts {
    pub(super) fn of(request: &Request) -> Self {
        let run = match request {
            Request::Query(run) | Request::Execute(run) | Request::Call(run) => Some(run),
            _ => None,
        };
        Self {
            ends_batch: usize::from(request.ends_batch()),
            syncs_in_copy: usize::from(matches!(request, Request::SyncInCopy)),
            changes_meaning: usize::from(run.is_some_and(|run| run.changes_meaning())),
            transaction: usize::from(run.is_some_and(|run| run.has_transaction_statement())),
            writes: usize::from(run.is_some_and(|run| run.writes())),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (mine, others) in self.numbers().into_iter().zip(other.values()) {
            *mine = mine.saturating_add(others);
        }
    }

    pub(super) fn subtract(&mut self, other: Self) {
        for (mine, others) in self.numbers().into_iter().zip(other.values()) {
            *mine = mine.saturating_sub(others);
        }
    }

    fn numbers(&mut self) -> [&mut usize; 5] {
        [
            &mut self.ends_batch,
            &mut self.syncs_in_copy,
            &mut self.changes_meaning,
            &mut self.transaction,
            &mut self.writes,
        ]
    }

    fn values(self) -> [usize; 5] {
        [self.ends_batch, self.syncs_in_copy, self.changes_meaning, self.transaction, self.writes]
    }
}
