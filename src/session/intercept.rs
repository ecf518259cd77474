//! The client's frames, one after the other: what is judged is collected whole, everything else streams.

use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};

use super::Session;
use super::ask::ServerError;
use super::bundle::ROLLED_BACK;
use super::cancel::given_up;
use super::clear::{Cleared, Form, log_failed};
use super::phase::{Request, Status, Whose};
use super::refuse::{Instead, Refusal};
use super::relay::End;
use super::run::Run;
use crate::lineage::Outcome;
use crate::log::TryAppendError;
use crate::policy::Verdict;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::frame::{self, HEADER_LEN, Header};
use crate::wire::frontend;
use crate::wire::{Malformed, build};

/// On the record of a statement that the server discarded after an error of its batch. No error was raised for it; this
/// comes nearest.
const SKIPPED: sqlstate::SqlState = sqlstate::QUERY_CANCELED;

/// Closing records that wait for a broken log; a session with more ends.
const CLOSING_MAX: usize = 1000;

impl Session {
    /// Handles the client's next frame.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn next_frame(&mut self) -> Result<(), End> {
        let (owed, weight) = self.phase.load();
        if owed >= self.services.bounds.pipeline_max || weight >= self.services.bounds.statement_max {
            self.make_room().await?;
        }
        match self.next_header().await? {
            Next::Frame(header) => {
                let judged = matches!(header.tag, b'Q' | b'P' | b'B' | b'E' | b'F');
                if judged {
                    self.begin_judging();
                }
                let done = self.intercept(header).await;
                if judged {
                    self.end_judging();
                }
                done
            }
            Next::Chores => Box::pin(self.do_chores()).await,
            Next::End => self.client_is_done().await,
        }
    }

    /// The client is read no more until the server has answered half of what it was asked.
    async fn make_room(&mut self) -> Result<(), End> {
        if self.phase.wants_flush() {
            build::bare(&mut self.server.output, b'H');
            self.phase.flushed();
        }
        let (owed_max, weight_max) = (self.services.bounds.pipeline_max / 2, self.services.bounds.statement_max / 2);
        self.run_until(|session, _| {
            let (owed, weight) = session.phase.load();
            let room = owed <= owed_max && weight <= weight_max;
            // A COPY waits for the client.
            if room || session.phase.copy_in || session.must_end() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }

    async fn next_header(&mut self) -> Result<Next, End> {
        let header = self
            .run_until(|session, _| {
                if session.has_chores() {
                    return Poll::Ready(Ok(Next::Chores));
                }
                match frame::frontend_header(&session.client.input) {
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(Some(header)) => return Poll::Ready(Ok(Next::Frame(header))),
                    Ok(None) => {}
                }
                if session.client.eof || session.must_end() { Poll::Ready(Ok(Next::End)) } else { Poll::Pending }
            })
            .await?;
        match header {
            Ok(header) => Ok(header),
            Err(error) => {
                let report = Report::new(sqlstate::PROTOCOL_VIOLATION, error.to_string());
                Err(self.end_with(&report).await)
            }
        }
    }

    async fn intercept(&mut self, header: Header) -> Result<(), End> {
        self.watch.client_tag = header.tag;
        match header.tag {
            b'X' => {
                self.stream(header, Forward::Pass).await?;
                self.client.eof = true;
                self.client_is_done().await
            }
            b'S' if self.phase.discards => {
                self.phase.discards = false;
                Ok(())
            }
            _ if self.phase.discards => self.stream(header, Forward::Drop).await,
            b'd' => {
                self.phase.copy_data |= self.phase.copy_in;
                self.stream(header, Forward::Pass).await
            }
            b'c' | b'f' => {
                self.phase.copy_data_ends();
                self.stream(header, Forward::Pass).await
            }
            _ if self.phase.copy_both => self.interrupt_stream().await,
            b'S' if self.phase.copy_in && self.channel.is_walsender() => self.refuse_sync_in_copy().await,
            _ if self.phase.doubts_sync() => self.find_answered_syncs().await,
            b'H' if self.phase.copy_in => self.stream(header, Forward::Pass).await,
            b'S' if self.phase.copy_in => {
                self.phase.sync_in_copy();
                self.stream(header, Forward::Pass).await
            }
            _ if self.phase.has_sync_in_copy() => self.await_copy_end().await,
            b'H' => {
                self.phase.flushed();
                self.stream(header, Forward::Pass).await
            }
            b'S' => {
                self.end_of_many();
                self.phase.skipping = false;
                self.phase.forwarded(Request::Sync, Whose::Client);
                self.stream(header, Forward::Pass).await
            }
            _ if self.phase.skipping => self.stream(header, Forward::Pass).await,
            // It stays where it is until it is known whether the COPY is still there.
            _ if self.phase.copy_in => self.settle().await,
            b'Q' => self.on_query(header).await,
            _ if self.channel.is_walsender() => self.refuse_extended(header).await,
            b'P' => self.on_parse(header).await,
            b'B' => self.on_bind(header).await,
            b'E' => self.on_execute(header).await,
            b'F' => Box::pin(self.on_call(header)).await,
            b'D' => self.on_describe(header).await,
            _ => self.on_close(header).await,
        }
    }

    async fn on_query(&mut self, header: Header) -> Result<(), End> {
        let Some(frame) = self.collect(header, self.services.bounds.statement_max).await? else {
            return self.refuse(Instead::Query, too_large(), None);
        };
        let text = match frontend::query(body(&frame)) {
            Ok(text) => frame.slice_ref(text),
            Err(malformed) => return self.refuse(Instead::Query, malformed_report(malformed), None),
        };
        let mut run = match self.judge(&text).await? {
            Ok(run) => run,
            Err(report) => return self.refuse(Instead::Query, report, None),
        };
        if run.may_be_a_mistake()
            && self.enforces()
            && run.verdict() != Verdict::Allow
            && let Some(error) = self.mistake_of(&text, &mut run).await?
        {
            return self.answer_with(&error, run);
        }
        match self.clear(&mut run, Form::Query).await? {
            Cleared::Refused(report) => self.refuse(Instead::Query, report, Some(run)),
            Cleared::Skipped => self.pass_unqueued(&frame, run),
            Cleared::Go if self.is_given_up(&run) => self.refuse(Instead::Query, given_up(), Some(run)),
            Cleared::Go => {
                if !self.phase.skipping {
                    self.names.simple_query();
                }
                let copies = run.reads_client_data();
                let frame = match self.query_for_tickets(&run).await? {
                    Ok(tickets) => tickets.unwrap_or(frame),
                    Err(report) => return self.refuse(Instead::Query, report, Some(run)),
                };
                self.forward(&frame, Request::Query(run));
                if copies { self.await_copy().await } else { Ok(()) }
            }
        }
    }

    /// The server's own error where the text is a mistake; a run that the session ends under is closed.
    async fn mistake_of(&mut self, text: &Bytes, run: &mut Run) -> Result<Option<ServerError>, End> {
        let found = Box::pin(self.is_mistaken(text)).await;
        if found.is_err() {
            self.scribe.withheld(run, Outcome::Withdrawn, sqlstate::CONNECTION_FAILURE.as_str());
        }
        found
    }

    /// A Query that the server has refused in another form gets the server's own error.
    #[expect(clippy::unnecessary_wraps, reason = "reads as the end of a handler")]
    fn answer_with(&mut self, error: &ServerError, mut run: Box<Run>) -> Result<(), End> {
        self.names.simple_query();
        self.scribe.failed(&mut run, Outcome::Failed, &error.sqlstate);
        build::frame(&mut self.client.output, b'E', |out| out.extend_from_slice(&error.body));
        build::ready(&mut self.client.output, self.phase.status.as_byte());
        Ok(())
    }

    async fn on_call(&mut self, header: Header) -> Result<(), End> {
        let Some(frame) = self.collect(header, self.services.bounds.statement_max).await? else {
            return self.refuse(Instead::Call, too_large(), None);
        };
        let (oid, values) = match frontend::function_call(body(&frame)) {
            Ok((oid, values)) => (oid, frame.slice_ref(values)),
            Err(malformed) => return self.refuse(Instead::Call, malformed_report(malformed), None),
        };
        let mut run = match self.judge_call(oid).await? {
            Ok(run) => run,
            Err(report) => return self.refuse(Instead::Call, report, None),
        };
        match self.clear_call(&mut run, values).await? {
            Cleared::Refused(report) => self.refuse(Instead::Call, report, Some(run)),
            Cleared::Skipped => self.pass_unqueued(&frame, run),
            Cleared::Go if self.is_given_up(&run) => self.refuse(Instead::Call, given_up(), Some(run)),
            Cleared::Go => {
                self.forward(&frame, Request::Call(run));
                Ok(())
            }
        }
    }

    /// The whole frame; `None` where it is over its bound, in which case it was read and dropped.
    pub(super) async fn collect(&mut self, header: Header, max: usize) -> Result<Option<Bytes>, End> {
        if header.body_len > max {
            self.stream(header, Forward::Drop).await?;
            return Ok(None);
        }
        let length = header.frame_len();
        if self.client.input.len() < length {
            self.client_want = length;
            self.client.input.reserve(length.saturating_sub(self.client.input.len()).min(64 * 1024));
            self.run_until(|session, _| {
                let here = session.client.input.len() >= length || session.client.eof;
                if here { Poll::Ready(()) } else { Poll::Pending }
            })
            .await?;
            self.client_want = 0;
        }
        if self.client.input.len() < length {
            // The client went away inside a frame: there is nothing left that could be answered.
            return Err(End::Client);
        }
        let frame = self.client.input.split_to(length).freeze();
        if self.client.input.is_empty() {
            // It would keep the frame's memory for as long as the session idles.
            self.client.input = BytesMut::new();
        }
        Ok(Some(frame))
    }

    /// Passes a frame on, or drops it, as it comes in.
    pub(super) async fn stream(&mut self, header: Header, forward: Forward) -> Result<(), End> {
        let mut left = header.frame_len();
        while left > 0 {
            self.run_until(|session, _| {
                let room = session.server.output.len() < 64 * 1024;
                let some = !session.client.input.is_empty() || session.client.eof;
                if room && some { Poll::Ready(()) } else { Poll::Pending }
            })
            .await?;
            let take = left.min(self.client.input.len());
            if take == 0 {
                return Err(End::Client);
            }
            if forward == Forward::Pass
                && let Some(bytes) = self.client.input.get(..take)
            {
                self.server.output.extend_from_slice(bytes);
            }
            self.client.input.advance(take);
            left -= take;
        }
        Ok(())
    }

    /// Puts a frame on its way. An error may have arrived while the frame was coming in or being judged: then the server
    /// discards it, will never answer it, and nothing may wait for that answer.
    pub(super) fn forward(&mut self, frame: &Bytes, mut request: Request) {
        // From here on a cancel is for the server.
        self.registration.judging(false);
        self.server.output.extend_from_slice(frame);
        if let Some(run) = request.run_mut() {
            self.note_writes(run);
        }
        if !self.phase.skipping {
            self.phase.forwarded(request, Whose::Client);
        } else if let Some(run) = request.run_mut() {
            self.scribe.withheld(run, Outcome::Withdrawn, SKIPPED.as_str());
        }
    }

    /// The server will discard it unread: an earlier frame of the batch failed.
    #[expect(clippy::unnecessary_wraps, reason = "reads as the end of a handler")]
    pub(super) fn pass_unqueued(&mut self, frame: &Bytes, mut run: Box<Run>) -> Result<(), End> {
        self.server.output.extend_from_slice(frame);
        self.scribe.withheld(&mut run, Outcome::Withdrawn, SKIPPED.as_str());
        Ok(())
    }

    /// Sends a frame that is certain to fail in place of one that must not run.
    #[expect(clippy::unnecessary_wraps, reason = "reads as the end of a handler")]
    pub(super) fn refuse(&mut self, instead: Instead, report: Report, run: Option<Box<Run>>) -> Result<(), End> {
        if self.phase.skipping {
            if let Some(mut run) = run {
                self.scribe.withheld(&mut run, Outcome::Withdrawn, SKIPPED.as_str());
            }
            return Ok(());
        }
        if instead == Instead::Query {
            self.names.simple_query();
        }
        let refusal = Refusal::new(self.channel.refuses_by(instead), report, run);
        refusal.write(&mut self.server.output);
        self.phase.forwarded(Request::Refusal(Box::new(refusal)), Whose::Client);
        Ok(())
    }

    /// Nothing more comes from the client: the server is told, and what it still says is passed on.
    async fn client_is_done(&mut self) -> Result<(), End> {
        if let Some(report) = self.reason_to_end() {
            return Err(self.end_with(&report).await);
        }
        self.run_until(|session, _| if session.server.output.is_empty() { Poll::Ready(()) } else { Poll::Pending })
            .await?;
        self.run_until(|session, cx| session.server.poll_shutdown(cx)).await?;
        self.run_until(|_, _| Poll::<()>::Pending).await
    }

    /// Work that statements leave behind: closing records for a log that was full or away, ends of holds for the store.
    fn has_chores(&self) -> bool {
        let late = !self.scribe.closing.is_empty()
            && (self.services.log.health().is_ok() || self.scribe.closing.len() > CLOSING_MAX);
        late || !(self.scribe.ended_holds.is_empty() && self.undone.is_empty()) || self.phase.doubts_sync()
    }

    pub(super) async fn do_chores(&mut self) -> Result<(), End> {
        if self.phase.doubts_sync() {
            self.find_answered_syncs().await?;
        }
        while let Some(record) = self.scribe.closing.pop_front() {
            let log = self.services.log.clone();
            match log.try_append(record) {
                Ok(()) => {}
                Err(TryAppendError::Full(record)) => {
                    if let Err(error) = self.wait_for(log.append(record)).await? {
                        tracing::error!(%error, "a closing record was not written");
                    }
                }
                Err(TryAppendError::Unhealthy(error, record)) => {
                    self.scribe.closing.push_front(record);
                    if self.scribe.closing.len() > CLOSING_MAX {
                        return Err(self.end_with(&log_failed(&error.to_string())).await);
                    }
                    break;
                }
            }
        }
        for (id, end) in std::mem::take(&mut self.scribe.ended_holds) {
            if self.released.contains(&id) {
                self.finish(&id, end).await?;
            }
        }
        for id in std::mem::take(&mut self.undone) {
            self.void(&id, ROLLED_BACK).await?;
        }
        self.rebinds = false;
        Ok(())
    }

    /// Whether there is no room for one name more that keeps so many bytes.
    pub(super) fn names_are_full(&self, more: usize) -> bool {
        let bounds = &self.services.bounds;
        self.names.len() >= bounds.names_max || self.names.bytes().saturating_add(more) > bounds.names_bytes_max
    }

    /// Whether the transaction has failed, so that Postgres answers everything with 25P02 by itself.
    pub(super) fn is_failed_transaction(&self) -> bool {
        self.phase.is_quiet() && self.phase.status == Status::Failed
    }

    /// Closes runs that will never be answered.
    pub(super) fn close_lost_runs(&mut self) {
        let mut lost: Vec<_> = self.phase.drain().collect();
        for expected in &mut lost {
            let refused = matches!(expected.request, Request::Refusal(_));
            if let Some(run) = expected.request.run_mut() {
                if refused {
                    self.scribe.withheld(run, Outcome::Refused, sqlstate::INSUFFICIENT_PRIVILEGE.as_str());
                } else {
                    self.scribe.lost(run);
                }
            }
        }
    }
}

enum Next {
    Frame(Header),
    Chores,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Forward {
    Pass,
    Drop,
}

pub(super) fn body(frame: &Bytes) -> &[u8] {
    frame.get(HEADER_LEN..).unwrap_or_default()
}

pub(super) fn too_large() -> Report {
    Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "statement is too large")
        .detail("The message is larger than limits.statement_max or, where its values must be shown to an operator, limits.bind_max.")
        .hint("Send less at once, or load data with COPY.")
}

/// What a client is told whose session keeps as many names as it may, or as many bytes under them.
pub(super) fn too_many_names() -> Report {
    Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "too many prepared statements and portals in this session")
        .detail("Their number is bounded by limits.names_max, their texts and values by limits.names_bytes_max.")
        .hint("Close prepared statements and cursors that are no longer used.")
}

pub(super) fn malformed_report(malformed: Malformed) -> Report {
    Report::new(sqlstate::PROTOCOL_VIOLATION, malformed.reason)
}
