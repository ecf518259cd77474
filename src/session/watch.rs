//! The server's bytes on their way to the client: headers are walked, rows are counted, the rest is matched with what
//! was asked.
//!
//! Rows are never decoded. A chunk leaves as the run of bytes that it came in; the run is broken only where a message
//! is swallowed or rewritten, which happens to refusals, redacted errors and answers to our own questions alone.

use bytes::{Buf, BytesMut};

use super::Session;
use super::ask::ServerError;
use super::end::SeenBy;
use super::names::Made;
use super::phase::{Described, Request, Status, Whose};
use super::run::{Run, could_set};
use super::trip::Trip;
use crate::analysis::{SessionEffect, StatementFacts};
use crate::lineage::Outcome;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::backend::{self, Fields};
use crate::wire::build::{self, Severity};
use crate::wire::frame::{self, HEADER_LEN, Header};

/// Errors and notices beyond this are not collected: an error is replaced, a notice passes unread.
const INSPECT_MAX: usize = 16 * 1024 * 1024;

/// What is known of the stream from the server.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Bytes of the current frame that are still to come, and whether they are passed on.
    pub(super) body_left: usize,
    body_fate: Fate,
    /// The tag of the client's newest frame.
    pub(super) client_tag: u8,
    /// A stream that stopped at its limit.
    pub(super) tripped: Option<Trip>,
    /// What the server says that the rows of a simple Query come from, where that tripped.
    pub(super) shown: Option<std::sync::Arc<[(u32, i16)]>>,
    /// The trip is being settled.
    pub(super) paused: bool,
    /// Rows of the front run are swallowed: a person said no.
    pub(super) cutting: Option<Cutting>,
    /// The server said FATAL: the client knows why the connection ends.
    pub(super) fatal_seen: bool,
    /// Rows that answer our own question.
    pub(super) answers: Vec<Vec<Option<String>>>,
    /// A question of ours stands in the client's batch: what fails it fails the batch.
    pub(super) asked_within: bool,
    /// Our own question failed.
    pub(super) ask_failed: bool,
    /// And this is how.
    pub(super) own_error: Option<ServerError>,
    /// The server broke the protocol.
    pub(super) broken: bool,
    /// Nothing more is passed on: the client was told why.
    pub(super) ended: bool,
}

/// A stream that is being cut.
#[derive(Debug)]
pub(super) struct Cutting {
    /// What the client is told.
    pub(super) report: Report,
    /// The statement had completed before the cancel reached it.
    pub(super) too_late: bool,
    /// The server has ended the statement.
    pub(super) done: bool,
}

/// What becomes of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Pass,
    Drop,
    /// The client gets this instead.
    Replace(Report),
    /// The client gets this notice instead.
    ReplaceNotice(Report),
    /// The client gets these frames instead.
    Bytes(Vec<u8>),
    /// A `ParameterDescription` of nothing goes out instead.
    NoParameters,
    /// Nothing more is read: the row would cross a limit.
    Stop,
}

/// How much of the server's bytes was handled.
#[derive(Debug)]
pub(super) struct Handled {
    /// That many bytes.
    pub(super) length: usize,
    /// Those that the client gets and that are not in its output yet.
    pub(super) last: std::ops::Range<usize>,
}

impl Watch {
    /// Nothing is read from the server.
    pub(super) fn is_stopped(&self) -> bool {
        self.tripped.is_some() || self.broken || self.ended
    }
}

impl Session {
    /// Handles what waits of the server's input.
    pub(super) fn on_server_input(&mut self) {
        let mut input = std::mem::take(&mut self.server.input);
        let handled = self.on_server_bytes(&input);
        self.client.output.extend_from_slice(input.get(handled.last).unwrap_or_default());
        input.advance(handled.length);
        self.server.input = if input.is_empty() { BytesMut::new() } else { input };
    }

    /// Handles all whole frames, and the beginning of a row that is still coming in. What the client gets of them is in its
    /// output, but for the last run of bytes, which the caller passes on.
    pub(super) fn on_server_bytes(&mut self, input: &[u8]) -> Handled {
        let mut passed = 0;
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let rows = self.pass_rows(rest);
            if rows > 0 {
                at += rows;
                continue;
            }
            let Some((length, fate)) = self.next_server_frame(rest) else { break };
            if fate == Fate::Stop {
                break;
            }
            if fate != Fate::Pass {
                self.client.output.extend_from_slice(input.get(passed..at).unwrap_or_default());
                passed = at + length;
            }
            match &fate {
                Fate::Replace(report) => build::report(&mut self.client.output, Severity::Error, report),
                Fate::ReplaceNotice(report) => build::report(&mut self.client.output, Severity::Notice, report),
                Fate::Bytes(frames) => self.client.output.extend_from_slice(frames),
                Fate::NoParameters => build::frame(&mut self.client.output, b't', |out| out.extend_from_slice(&[0, 0])),
                Fate::Pass | Fate::Drop | Fate::Stop => {}
            }
            at += length;
        }
        Handled { length: at, last: passed..at }
    }

    /// Whole rows of a result that nothing stands against: how many bytes of them.
    fn pass_rows(&mut self, input: &[u8]) -> usize {
        let is_row = matches!(input.first(), Some(b'D' | b'd')) && self.watch.body_left == 0;
        if !is_row || self.watch.is_stopped() || self.watch.cutting.is_some() {
            return 0;
        }
        let Some(front) = self.phase.front().filter(|front| front.whose == Whose::Client) else { return 0 };
        let Some(run) = front.request.run_mut().filter(|run| run.witnessed) else { return 0 };
        run.part_mut().map_or(0, |part| part.meter.admit_all(input))
    }

    /// The next frame, or part of a row: how many bytes, and what becomes of them. `None`: more bytes are needed.
    fn next_server_frame(&mut self, input: &[u8]) -> Option<(usize, Fate)> {
        if input.is_empty() || self.watch.is_stopped() {
            return None;
        }
        if self.watch.body_left > 0 {
            let length = input.len().min(self.watch.body_left);
            self.watch.body_left -= length;
            return Some((length, self.watch.body_fate.clone()));
        }
        let Ok(header) = frame::backend_header(input) else {
            self.watch.broken = true;
            return None;
        };
        let header = header?;
        let streams = matches!(header.tag, b'D' | b'd') && !self.front_is_ours();
        if streams || header.body_len > INSPECT_MAX {
            return Some(self.stream_frame(header, input.len()));
        }
        let body = input.get(HEADER_LEN..header.frame_len())?;
        Some((header.frame_len(), self.on_message(header.tag, body)))
    }

    fn front_is_ours(&mut self) -> bool {
        self.phase.front().is_some_and(|front| front.whose == Whose::Ours)
    }

    /// A frame that is not looked into: rows and copy data, and what is too large to collect.
    fn stream_frame(&mut self, header: Header, available: usize) -> (usize, Fate) {
        let fate = match header.tag {
            b'D' | b'd' => self.on_row(header.frame_len()),
            b'E' => {
                let report = Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "the server's error message is too large");
                self.fail_front(report.sqlstate.as_str());
                Fate::Replace(report)
            }
            _ => Fate::Pass,
        };
        if fate == Fate::Stop {
            return (0, fate);
        }
        let here = header.frame_len().min(available);
        self.watch.body_left = header.frame_len() - here;
        self.watch.body_fate = if fate == Fate::Pass { Fate::Pass } else { Fate::Drop };
        (here, fate)
    }

    fn on_row(&mut self, length: usize) -> Fate {
        if self.watch.cutting.is_some() {
            return Fate::Drop;
        }
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        let Some(run) = self.phase.front().and_then(|front| front.request.run_mut()) else { return Fate::Pass };
        if !std::mem::replace(&mut run.witnessed, true) && self.shows_the_unforeseen() {
            return Fate::Stop;
        }
        let Some(part) = self.phase.front().and_then(|front| front.request.run_mut()).and_then(Run::part_mut) else {
            return Fate::Pass;
        };
        if part.meter.admit(bytes) || self.admits_by_reserving(bytes) {
            return Fate::Pass;
        }
        self.watch.tripped = Some(Trip::Limit);
        Fate::Stop
    }

    fn on_message(&mut self, tag: u8, body: &[u8]) -> Fate {
        match tag {
            b'E' => self.on_error(body),
            b'Z' => self.on_ready(body),
            b'C' | b'I' | b's' => self.on_end_of_statement(tag, body),
            b'1' | b'2' | b'3' | b'n' => self.on_confirmation(tag),
            b'T' => self.on_row_description(body),
            b'D' => self.on_own_row(body),
            b'V' => {
                self.count_result(HEADER_LEN + body.len());
                Fate::Pass
            }
            b'G' => {
                self.phase.copy_ended();
                self.phase.copy_begins();
                Fate::Pass
            }
            b'W' => {
                self.phase.stream_begins();
                Fate::Pass
            }
            b'S' => {
                self.on_parameter(body);
                Fate::Pass
            }
            b'N' => self.on_notice(body),
            b't' if self.describes_tickets() => Fate::NoParameters,
            b't' => {
                self.on_parameter_description(body);
                self.pass_unless_ours()
            }
            _ => Fate::Pass,
        }
    }

    pub(super) fn pass_unless_ours(&mut self) -> Fate {
        if self.front_is_ours() { Fate::Drop } else { Fate::Pass }
    }

    /// RAISE NOTICE is a way out for values too.
    fn on_notice(&mut self, body: &[u8]) -> Fate {
        let fields = Fields::new(body);
        // Our own question told something (client_min_messages = debug1); a warning may be about the connection itself.
        if self.front_is_ours() && !self.watch.asked_within && fields.field(b'V') != Some(b"WARNING") {
            return Fate::Drop;
        }
        match self.redacted_notice(&fields) {
            Some(report) => Fate::ReplaceNotice(report),
            None => Fate::Pass,
        }
    }

    fn on_parameter(&mut self, body: &[u8]) {
        if let Ok((name, value)) = backend::parameter_status(body) {
            self.settings.server_reports(name, value);
            if name == b"standard_conforming_strings" {
                // The report follows the statement's end: from here on literals are told by it.
                self.scribe.claims(&self.settings);
            }
            if name == b"application_name" {
                self.scribe.application_name(value);
            }
        }
    }

    fn on_own_row(&mut self, body: &[u8]) -> Fate {
        match backend::data_row(body) {
            Ok(values) => {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                self.watch.answers.push(values.into_iter().map(|value| value.map(text)).collect());
            }
            Err(_) => self.watch.ask_failed = true,
        }
        Fate::Drop
    }

    /// `ParseComplete`, `BindComplete`, `CloseComplete`, `NoData`: the name now means what was asked for.
    fn on_confirmation(&mut self, tag: u8) -> Fate {
        if self.phase.doubts_sync() {
            let answered = self.phase.doubt_ends(tag);
            let mut ready = BytesMut::new();
            (0..answered).for_each(|_| build::ready(&mut ready, self.phase.status.as_byte()));
            return Fate::Bytes(ready.into());
        }
        let Some(front) = self.phase.answered() else { return Fate::Pass };
        match front.request {
            Request::Parse(name, prepared) => self.names.set_statement(name, *prepared),
            Request::Bind(name, portal) => self.names.set_portal(name, *portal),
            Request::CloseStatement(name) => self.names.close_statement(&name),
            Request::ClosePortal(name) => self.names.close_portal(&name),
            Request::Describe(described) => self.described(&described, &[]),
            Request::Witness(portal) => self.described(&Described::Portal(portal), &[]),
            _ => {}
        }
        if front.whose == Whose::Ours { Fate::Drop } else { Fate::Pass }
    }

    /// `CommandComplete`, `EmptyQueryResponse`, `PortalSuspended`.
    fn on_end_of_statement(&mut self, tag: u8, body: &[u8]) -> Fate {
        let ours = self.front_is_ours();
        if self.watch.cutting.is_some() {
            return self.on_cut_too_late();
        }
        if self.phase.front().and_then(|front| front.request.run_mut()).is_some_and(|run| run.replicates) {
            // One of its results has come to an end. The whole has not.
            return Fate::Pass;
        }
        self.phase.copy_ended();
        let (epoch, names) = (self.epoch(), self.settings.names.clone());
        let Some(front) = self.phase.front() else { return Fate::Pass };
        let extended = matches!(front.request, Request::Execute(..) | Request::Own);
        if let Some(run) = front.request.run_mut() {
            let counted = if tag == b'C' { backend::command_complete(body).1 } else { None };
            self.scribe.completed(run, counted);
            let index = run.current;
            let made = Made { text: run.text.slice_ref(run.text_of(index)), epoch, names };
            let facts = run.facts_of(index);
            let effects = facts.map(all_effects).unwrap_or_default();
            let seen_by = facts.map_or(SeenBy::All, SeenBy::of);
            // A text without a statement does nothing; one that counts fewer statements than the server is not understood.
            let could_set = facts.map_or(!run.facts.statements.is_empty(), could_set);
            let prepared = facts.is_some_and(|facts| facts.command == "PREPARE TRANSACTION");
            let suspended =
                (tag == b's').then(|| (run.portal.clone(), run.part_mut().map_or(0, |part| part.meter.rows)));
            run.current += 1;
            if let Some((Some(name), rows)) = suspended
                && let Some(portal) = self.names.portal_mut(&name)
            {
                portal.rows_sent = portal.rows_sent.saturating_add(rows);
            }
            if prepared {
                self.abandon_expected();
            }
            if could_set {
                self.settings.forget_names();
            }
            if tag == b'C' && ends_or_rewinds(body) {
                self.rewind();
                self.note_rolled_back(body);
            }
            for effect in effects {
                self.names.apply(&effect, &made);
                self.settings.apply(&effect);
                self.scribe.claims(&self.settings);
                self.note_catalog_change(&effect, seen_by);
            }
        }
        if extended {
            self.phase.answered();
        }
        if ours { Fate::Drop } else { Fate::Pass }
    }

    /// A cut statement completed before the cancel reached it. Its completion is swallowed; the refusal that follows
    /// makes server and client agree.
    fn on_cut_too_late(&mut self) -> Fate {
        if let Some(cutting) = &mut self.watch.cutting {
            cutting.too_late = true;
        }
        let Some(front) = self.phase.front() else { return Fate::Drop };
        if let Some(run) = front.request.run_mut() {
            self.scribe.failed(run, Outcome::Refused, sqlstate::CONFIGURATION_LIMIT_EXCEEDED.as_str());
        }
        if matches!(front.request, Request::Execute(..)) {
            self.phase.answered();
        }
        Fate::Drop
    }

    fn on_error(&mut self, body: &[u8]) -> Fate {
        let fields = Fields::new(body);
        if matches!(self.phase.front().map(|front| &front.request), Some(Request::Witness(_))) {
            // What stands in the way of our Describe stands in the way of the Execute behind it: it is the client's error.
            self.phase.answered();
        }
        if matches!(fields.field(b'V'), Some(b"FATAL" | b"PANIC")) {
            self.watch.fatal_seen = true;
        }
        if self.front_is_ours() {
            self.watch.ask_failed = true;
            self.watch.own_error = Some(ServerError::of(body));
        }
        let mut fate = if self.watch.asked_within { Fate::Pass } else { self.pass_unless_ours() };
        let mut sqlstate = fields.sqlstate().to_owned();
        if let Some(Request::Refusal(refusal)) = self.phase.front().map(|front| &front.request)
            && let Some(report) = refusal.rewrite(&fields)
        {
            fate = Fate::Replace(report.clone());
            refusal.sqlstate().clone_into(&mut sqlstate);
        } else if let Some(cutting) = &mut self.watch.cutting {
            cutting.done = true;
            fate = Fate::Replace(cutting.report.clone());
            sqlstate::CONFIGURATION_LIMIT_EXCEEDED.as_str().clone_into(&mut sqlstate);
        } else if fate == Fate::Pass
            && let Some(report) = self.redacted(&fields)
        {
            fate = Fate::Replace(report);
        }
        if self.phase.copy_in && is_unexpected_in_copy(&fields) {
            fate = Fate::Bytes(naming(self.watch.client_tag, body));
        }
        self.fail_front(&sqlstate);
        fate
    }

    /// The front failed: its run is closed, and so is what the server discards with it.
    fn fail_front(&mut self, sqlstate: &str) {
        self.phase.copy_stops();
        let Some(front) = self.phase.front() else { return };
        let outcome = match &front.request {
            Request::Refusal(refusal) => refusal.outcome(),
            _ if self.watch.cutting.is_some() => Outcome::Refused,
            _ => Outcome::Failed,
        };
        if let Some(run) = front.request.run_mut() {
            self.scribe.failed(run, outcome, sqlstate);
        }
        if matches!(&front.request, Request::Query(_) | Request::Call(_)) || front.request.ends_batch() {
            return;
        }
        for mut dropped in self.phase.failed() {
            if let Some(run) = dropped.request.run_mut() {
                self.scribe.failed(run, Outcome::Withdrawn, sqlstate);
            }
        }
    }

    fn on_ready(&mut self, body: &[u8]) -> Fate {
        let status = Status::from_byte(body.first().copied().unwrap_or(b'I'));
        if let Some(cutting) = &mut self.watch.cutting
            && cutting.too_late
        {
            self.phase.ready(status);
            return Fate::Drop;
        }
        if self.phase.doubts_sync() {
            self.phase.ready_in_doubt(status);
            return Fate::Drop;
        }
        let mut whose = Whose::Client;
        for mut answered in self.phase.ready(status) {
            whose = answered.whose;
            if let Some(run) = answered.request.run_mut() {
                self.scribe.ended(run);
            }
        }
        self.phase.skipping = false;
        if status == Status::Idle {
            self.end_transaction();
        }
        if whose == Whose::Ours { Fate::Drop } else { Fate::Pass }
    }
}

/// What a statement did to the session; what nobody could look into may have defined something.
fn all_effects(facts: &StatementFacts) -> Vec<SessionEffect> {
    let mut effects = facts.effects.clone();
    if !facts.opaque.is_empty() && !effects.contains(&SessionEffect::CatalogChange) {
        effects.push(SessionEffect::CatalogChange);
    }
    effects
}

/// COMMIT, ROLLBACK, ROLLBACK TO, PREPARE TRANSACTION: what SET LOCAL hid, or what came since BEGIN or a savepoint, is as
/// it was, also where the next transaction has begun already (AND CHAIN, or a BEGIN in the same text).
fn ends_or_rewinds(body: &[u8]) -> bool {
    [&b"COMMIT\0"[..], b"ROLLBACK\0", b"PREPARE TRANSACTION\0"].contains(&body)
}

/// The same error, of the frame that the client sent and not of ours.
fn naming(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    for (ours, theirs) in [
        ("0x43 ".to_owned(), format!("0x{tag:02X} ")),
        ("0x51 ".to_owned(), format!("0x{tag:02X} ")),
        ("\"Q\"".to_owned(), format!("\"{}\"", char::from(tag))),
    ] {
        if let Some(at) = body.windows(ours.len()).position(|text| text == ours.as_bytes())
            && let Some(place) = body.get_mut(at..at + ours.len())
        {
            place.copy_from_slice(theirs.as_bytes());
        }
    }
    let mut frame = BytesMut::new();
    build::frame(&mut frame, b'E', |out| out.extend_from_slice(&body));
    frame.into()
}

/// The COPY met a frame of another kind: "unexpected message type 0x%02X during COPY from stdin", or, where it goes both
/// ways, "invalid standby message type \"%c\"".
fn is_unexpected_in_copy(fields: &Fields<'_>) -> bool {
    let reader = fields.field(b'R');
    fields.sqlstate() == sqlstate::PROTOCOL_VIOLATION.as_str()
        && (reader == Some(b"CopyGetData") || reader == Some(b"ProcessRepliesIfAny"))
}
