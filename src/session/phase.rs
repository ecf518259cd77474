//! What the server still owes an answer to, and what each of its messages therefore means. Pure.
//!
//! Postgres answers in order. Every frame that is forwarded and that will be answered enters a queue; every answer is
//! matched with the front. After an error in the extended protocol the server discards all until Sync
//! (`ignore_till_sync`), and so does the queue. Nothing here guesses: a message that does not fit the front leaves it.

mod counts;
mod recent;

use std::collections::VecDeque;

use counts::Counts;
use recent::Recent;

use super::names::{Portal, Prepared};
use super::refuse::Refusal;
use super::run::{Revocable, Run};
use super::table::is_same;

/// The transaction status of a `ReadyForQuery`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Status {
    /// No transaction block (`I`).
    #[default]
    Idle,
    /// In a transaction block (`T`).
    Transaction,
    /// In a failed transaction block (`E`).
    Failed,
}

impl Status {
    pub(super) fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Transaction => b'T',
            Self::Failed => b'E',
        }
    }

    pub(super) fn from_byte(byte: u8) -> Self {
        match byte {
            b'T' => Self::Transaction,
            b'E' => Self::Failed,
            _ => Self::Idle,
        }
    }
}

/// What a Describe is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Described {
    /// A prepared statement.
    Statement(Box<[u8]>),
    /// A portal.
    Portal(Box<[u8]>),
    /// Nothing that there is: the server answers with an error.
    Nothing,
}

/// What a forwarded frame asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// A simple Query.
    Query(Box<Run>),
    /// A Parse: the name, and what it will mean once the server confirms it.
    Parse(Box<[u8]>, Box<Prepared>),
    /// A Bind: the portal's name, and what it will mean.
    Bind(Box<[u8]>, Box<Portal>),
    /// A Describe.
    Describe(Described),
    /// A Describe of a portal of our own, right before its Execute.
    Witness(Box<[u8]>),
    /// An Execute of a portal.
    Execute(Box<Run>),
    /// An Execute of our own.
    Own,
    /// A simple Query of our own.
    OwnQuery,
    /// A Close of a prepared statement.
    CloseStatement(Box<[u8]>),
    /// A Close of a portal.
    ClosePortal(Box<[u8]>),
    /// A Sync.
    Sync,
    /// A Sync behind COPY data, ignored unless the COPY has failed before it.
    SyncInCopy,
    /// A `FunctionCall`.
    Call(Box<Run>),
    /// A refusal: a frame whose error is known by its nonce.
    Refusal(Box<Refusal>),
}

impl Request {
    /// The run that it carries.
    pub(super) fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            Self::Query(run) | Self::Execute(run) | Self::Call(run) => Some(run),
            Self::Refusal(refusal) => refusal.run.as_deref_mut(),
            _ => None,
        }
    }

    /// The same to look at.
    pub(super) fn run(&self) -> Option<&Run> {
        match self {
            Self::Query(run) | Self::Execute(run) | Self::Call(run) => Some(run),
            Self::Refusal(refusal) => refusal.run.as_deref(),
            _ => None,
        }
    }

    /// It is answered with a `ReadyForQuery`.
    pub(super) fn ends_batch(&self) -> bool {
        match self {
            Self::Query(_) | Self::Call(_) | Self::OwnQuery | Self::Sync => true,
            Self::Refusal(refusal) => refusal.ends_batch,
            _ => false,
        }
    }
}

/// Who wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The client.
    Client,
    /// Ours: the answer is swallowed.
    Ours,
}

/// One frame that the server owes an answer to.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) request: Request,
    pub(super) whose: Whose,
    /// What it was counted as.
    counts: Counts,
}

impl Expected {
    fn new(request: Request, whose: Whose) -> Self {
        Self { counts: Counts::of(&request), request, whose }
    }

    /// Bytes of text and values that it keeps, about.
    fn weight(&self) -> usize {
        match &self.request {
            Request::Query(run) | Request::Execute(run) | Request::Call(run) => run.text.len(),
            Request::Parse(name, prepared) => name.len() + prepared.text.len(),
            Request::Bind(_, portal) => portal.values.len(),
            _ => 0,
        }
    }
}

/// As many entries as the frames of one ordinary statement, and some.
const FEW: usize = 8;

/// The queue and the server's state as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Phase {
    queue: VecDeque<Expected>,
    /// What the questions in the queue weigh together.
    weight: usize,
    /// What the queue holds.
    counts: Counts,
    /// How many have left the queue: the number of its front.
    gone: u64,
    recent: Recent,
    /// As the last `ReadyForQuery` said.
    pub(super) status: Status,
    /// The server has reported an error in the extended protocol and discards until a Sync that was not sent yet.
    pub(super) skipping: bool,
    /// The server reads COPY data.
    pub(super) copy_in: bool,
    /// It streams, and reads data beside that (`CopyBothResponse`).
    pub(super) copy_both: bool,
    /// Some was sent to it.
    pub(super) copy_data: bool,
    /// What the client sends up to its next Sync is dropped: the server would have, had we not sent a Sync of our own.
    pub(super) discards: bool,
    /// `ReadyForQuery` that came while it was open which Sync they answer.
    ready_in_doubt: usize,
    /// An Execute failed, and everything up to the next Sync is discarded.
    failed_extended: bool,
    /// A Flush or something that flushes was forwarded after the newest entry.
    flushed: bool,
    /// Something of the current batch has executed since the last Sync.
    pub(super) executed: bool,
    /// Something was forwarded since the last Sync.
    pub(super) in_batch: bool,
}

impl Phase {
    /// Nothing is owed: the server waits for the client.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many answers are owed, and about how many bytes the questions keep.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.queue.len(), self.weight)
    }

    /// A frame was put on its way to the server.
    pub(super) fn forwarded(&mut self, request: Request, whose: Whose) {
        self.flushed = request.ends_batch();
        match &request {
            Request::Sync => {
                self.executed = false;
                self.in_batch = false;
            }
            Request::Query(_) | Request::OwnQuery | Request::Call(_) | Request::SyncInCopy => {}
            Request::Execute(..) | Request::Bind(..) => {
                self.executed = true;
                self.in_batch = true;
            }
            _ => self.in_batch = true,
        }
        let number = self.gone.saturating_add(u64::try_from(self.queue.len()).unwrap_or(u64::MAX));
        self.recent.forwarded(&request, number);
        self.push(Expected::new(request, whose));
    }

    /// A Flush was put on its way.
    pub(super) fn flushed(&mut self) {
        self.flushed = true;
    }

    /// Whether the server may keep answers back until it is asked for them.
    pub(super) fn wants_flush(&self) -> bool {
        !self.queue.is_empty() && !self.flushed
    }

    /// What the next answer belongs to.
    pub(super) fn front(&mut self) -> Option<&mut Expected> {
        self.queue.front_mut()
    }

    /// What is answered next, in order: the first few, so that a client's long pipeline is not walked at every turn.
    pub(super) fn next_few(&self) -> impl Iterator<Item = &Request> {
        self.queue.iter().take(FEW).map(|expected| &expected.request)
    }

    /// The entries that follow the front, in order.
    pub(super) fn behind_front(&self) -> impl Iterator<Item = &Request> {
        self.queue.iter().skip(1).map(|expected| &expected.request)
    }

    /// The run at the front was judged anew.
    pub(super) fn judged_again(&mut self, run: Run) {
        let Some(front) = self.queue.front_mut() else { return };
        if let Some(mine) = front.request.run_mut() {
            *mine = run;
            self.counts.subtract(front.counts);
            front.counts = Counts::of(&front.request);
            self.counts.add(front.counts);
        }
    }

    /// Something that is unanswered may change what names mean. `taken_back`: the open transaction has changed that, and
    /// its end may undo it.
    pub(super) fn changes_meaning(&self, taken_back: Revocable) -> bool {
        self.counts.changes_meaning > 0 || (taken_back == Revocable::Yes && self.counts.transaction > 0)
    }

    /// Something that is unanswered writes.
    pub(super) fn writes(&self) -> bool {
        self.counts.writes > 0
    }

    /// Entries that are unanswered since the last Sync, the newest first.
    pub(super) fn batch(&self) -> impl Iterator<Item = &Request> {
        self.queue.iter().rev().map(|expected| &expected.request).take_while(|request| !request.ends_batch())
    }

    /// The prepared statement of this name that a Parse of the current batch makes, not confirmed yet.
    pub(super) fn parsed_in_batch(&self, name: &[u8]) -> Option<&Prepared> {
        match &self.queue.get(self.place(self.recent.statement(name)?)?)?.request {
            Request::Parse(parsed, prepared) if is_same(parsed, name) => Some(prepared),
            _ => None,
        }
    }

    /// The portal of this name that a Bind of the current batch makes, not confirmed yet.
    pub(super) fn bound_in_batch(&mut self, name: &[u8]) -> Option<&mut Portal> {
        let place = self.place(self.recent.portal(name)?)?;
        match &mut self.queue.get_mut(place)?.request {
            Request::Bind(bound, portal) if is_same(bound, name) => Some(portal),
            _ => None,
        }
    }

    /// Where the frame of this number stands in the queue; `None`: it was answered.
    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.gone)?).ok()
    }

    /// Whether a Sync or Query is still unanswered: names before it are not settled.
    pub(super) fn has_older_batch(&self) -> bool {
        self.counts.ends_batch > 0
    }

    /// The front was answered in full.
    pub(super) fn answered(&mut self) -> Option<Expected> {
        self.pop()
    }

    /// An error outside of a simple Query: everything until the next Sync is discarded by the server, and given back
    /// here, the failed one first.
    pub(super) fn failed(&mut self) -> Vec<Expected> {
        self.copy_stops();
        let mut dropped = Vec::new();
        while let Some(front) = self.queue.front() {
            if matches!(front.request, Request::Sync | Request::SyncInCopy) {
                self.failed_extended = true;
                return dropped;
            }
            dropped.extend(self.pop());
        }
        self.skipping = true;
        dropped
    }

    /// The server reads COPY data: it may begin anew.
    pub(super) fn copy_begins(&mut self) {
        self.copy_in = true;
        self.copy_data = false;
        self.failed_extended = false;
    }

    /// It streams, too.
    pub(super) fn stream_begins(&mut self) {
        self.copy_begins();
        self.copy_both = true;
    }

    /// The server reads no data any more.
    pub(super) fn copy_stops(&mut self) {
        self.copy_in = false;
        self.copy_both = false;
    }

    /// The client's data is complete, or given up: how the COPY ended is to be asked for.
    pub(super) fn copy_data_ends(&mut self) {
        self.copy_stops();
        self.flushed = false;
    }

    /// A Sync was sent while COPY data is read. Before any data the COPY cannot have failed: it is ignored.
    pub(super) fn sync_in_copy(&mut self) {
        if self.copy_data {
            self.push(Expected::new(Request::SyncInCopy, Whose::Client));
        }
    }

    /// A COPY came to its end: what was sent in its middle was ignored.
    pub(super) fn copy_ended(&mut self) {
        if self.has_sync_in_copy() {
            self.queue.retain(|expected| !matches!(expected.request, Request::SyncInCopy));
            self.counts.syncs_in_copy = 0;
        }
    }

    /// It is not known which Sync the next `ReadyForQuery` answers.
    pub(super) fn doubts_sync(&self) -> bool {
        self.queue.front().is_some_and(|front| matches!(front.request, Request::SyncInCopy))
    }

    /// A `ReadyForQuery` while that is not known.
    pub(super) fn ready_in_doubt(&mut self, status: Status) {
        self.status = status;
        self.ready_in_doubt += 1;
    }

    /// A frame of ours was answered while it is in doubt: how many `ReadyForQuery` before that are the client's. A Parse
    /// stands behind a Sync of our own, which is answered always; a Close is answered only where the server does not skip.
    pub(super) fn doubt_ends(&mut self, tag: u8) -> usize {
        let ours = usize::from(tag == b'1');
        let answered = std::mem::take(&mut self.ready_in_doubt).saturating_sub(ours);
        self.discards = std::mem::take(&mut self.failed_extended) && answered == 0 && ours == 1;
        self.skipping = false;
        while let Some(front) = self.pop() {
            let answers = matches!(
                (tag, &front.request),
                (b'1', Request::Parse(..)) | (b'3', Request::ClosePortal(_) | Request::CloseStatement(_))
            );
            if answers {
                break;
            }
        }
        answered
    }

    /// A Sync stands in the middle of a COPY of which it is not known yet how it ends.
    pub(super) fn has_sync_in_copy(&self) -> bool {
        self.counts.syncs_in_copy > 0
    }

    /// A `ReadyForQuery`: gives back the entry that it answers, and before it whatever the server never answered.
    pub(super) fn ready(&mut self, status: Status) -> Vec<Expected> {
        self.status = status;
        self.copy_stops();
        let mut dropped = Vec::new();
        while let Some(front) = self.pop() {
            let last = front.request.ends_batch();
            dropped.push(front);
            if last {
                break;
            }
        }
        self.flushed |= self.queue.is_empty();
        dropped
    }

    fn push(&mut self, expected: Expected) {
        self.weight = self.weight.saturating_add(expected.weight());
        self.counts.add(expected.counts);
        self.queue.push_back(expected);
    }

    fn pop(&mut self) -> Option<Expected> {
        let expected = self.queue.pop_front()?;
        self.gone = self.gone.saturating_add(1);
        self.counts.subtract(expected.counts);
        self.weight = if self.queue.is_empty() { 0 } else { self.weight.saturating_sub(expected.weight()) };
        Some(expected)
    }

    /// All that is left, at the end of the session.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Expected> + '_ {
        self.queue.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &[u8]) -> Request {
        Request::Parse(name.into(), Box::new(Prepared::opaque(name, "of a test")))
    }

    #[test]
    fn a_name_is_found_in_its_own_batch_until_it_is_answered() {
        let mut phase = Phase::default();
        phase.forwarded(parse(b"a"), Whose::Client);
        phase.forwarded(Request::Sync, Whose::Client);
        phase.forwarded(parse(b"b"), Whose::Client);
        phase.forwarded(parse(b"c"), Whose::Client);
        assert!(phase.has_older_batch());
        assert!(phase.parsed_in_batch(b"a").is_none(), "of an older batch");
        assert!(phase.parsed_in_batch(b"b").is_some() && phase.parsed_in_batch(b"c").is_some());
        phase.answered();
        phase.ready(Status::Idle);
        assert!(!phase.has_older_batch());
        assert!(phase.parsed_in_batch(b"b").is_some());
        phase.answered();
        assert!(phase.parsed_in_batch(b"b").is_none(), "answered");
        assert!(phase.parsed_in_batch(b"c").is_some());
        assert_eq!(phase.failed().len(), 1);
        assert!(phase.parsed_in_batch(b"c").is_none(), "discarded");
    }

    #[test]
    fn the_newest_of_a_name_counts() {
        let mut phase = Phase::default();
        phase.forwarded(parse(b""), Whose::Client);
        phase
            .forwarded(Request::Bind((*b"p").into(), Box::new(Portal::new(Prepared::opaque(b"", "x")))), Whose::Client);
        phase.forwarded(Request::Parse((*b"").into(), Box::new(Prepared::opaque(b"", "newer"))), Whose::Client);
        phase.answered();
        assert!(phase.parsed_in_batch(b"").is_some() && phase.bound_in_batch(b"p").is_some());
        phase.answered();
        assert!(phase.bound_in_batch(b"p").is_none());
    }

    #[test]
    fn what_is_counted_is_what_is_in_the_queue() {
        let mut phase = Phase::default();
        phase.copy_begins();
        phase.copy_data = true;
        phase.sync_in_copy();
        phase.sync_in_copy();
        assert!(phase.has_sync_in_copy() && !phase.has_older_batch());
        phase.copy_ended();
        assert!(!phase.has_sync_in_copy() && phase.is_quiet());
        phase.forwarded(Request::Sync, Whose::Client);
        phase.forwarded(Request::Sync, Whose::Client);
        phase.ready(Status::Idle);
        assert!(phase.has_older_batch());
        phase.ready(Status::Idle);
        assert!(!phase.has_older_batch());
    }
}
