//! The frames of the extended protocol: Parse, Bind, Execute, Describe, Close.

use bytes::Bytes;

use super::Session;
use super::cancel::given_up;
use super::clear::{Cleared, Form};
use super::intercept::{body, malformed_report, too_large, too_many_names};
use super::judge::PortalRun;
use super::meaning::Plan;
use super::names::{Portal, Prepared};
use super::phase::{Described, Request};
use super::refuse::Instead;
use super::relay::End;
use super::run::Run;
use super::tickets;
use crate::policy::Verdict;
use crate::wire::build;
use crate::wire::frame::{self, Header};
use crate::wire::frontend::{self, Target};

impl Session {
    pub(super) async fn on_parse(&mut self, header: Header) -> Result<(), End> {
        let Some(frame) = self.collect(header, self.services.bounds.statement_max).await? else {
            return self.refuse(Instead::Execute, too_large(), None);
        };
        let parse = match frontend::parse(body(&frame)) {
            Ok(parse) => parse,
            Err(malformed) => return self.refuse(Instead::Execute, malformed_report(malformed), None),
        };
        let name: Box<[u8]> = parse.name.into();
        let types = parse.type_oids().collect();
        if self.names_are_full(frame.len()) {
            return self.refuse(Instead::Parse(name), too_many_names(), None);
        }
        let text = frame.slice_ref(parse.text);
        let mut facts = match self.read_in_turn(&text).await? {
            Ok(facts) => facts,
            Err(report) => return self.refuse(Instead::Parse(name), report, None),
        };
        let asks_for_tickets = tickets::asks(&text);
        if asks_for_tickets || !self.passes_again(&facts) {
            let mut run = self.decide_planned(&text, facts).await?;
            // A text with a name that nobody knows is most often a mistake. The server says so by itself; where it has come
            // to know the name meanwhile, the Bind is judged by what it means then.
            if run.verdict() == Verdict::Deny && self.enforces() && !run.may_be_a_mistake() {
                let report = Box::pin(self.deny(&mut run)).await?;
                return self.refuse(Instead::Parse(name), report, Some(run));
            }
            if self.is_given_up(&run) {
                return self.refuse(Instead::Parse(name), given_up(), Some(run));
            }
            facts = run.facts;
        }
        let prepared = Prepared {
            text,
            types,
            facts,
            epoch: self.epoch(),
            by_sql: false,
            names: self.settings.names.clone(),
            past: Vec::new(),
            told_types: None,
            shows: None,
        };
        let frame = if asks_for_tickets { tickets::parse_frame(&name) } else { frame };
        self.forward(&frame, Request::Parse(name, Box::new(prepared)));
        Ok(())
    }

    pub(super) async fn on_bind(&mut self, header: Header) -> Result<(), End> {
        let Some(frame) = self.collect(header, self.services.bounds.statement_max).await? else {
            return self.refuse(Instead::Execute, too_large(), None);
        };
        let (names, values) = match frontend::bind_names(body(&frame)) {
            Ok(parts) => parts,
            Err(malformed) => return self.refuse(Instead::Execute, malformed_report(malformed), None),
        };
        // The unnamed portal takes the place of the one before.
        if !names.portal.is_empty() && self.names_are_full(values.len()) {
            return self.refuse(Instead::Execute, too_many_names(), None);
        }
        let values = frame.slice_ref(values);
        let mut prepared = self.prepared(names.statement).await?;
        let read = self.read_again(&mut prepared, Plan::Anew).await?;
        self.names.remember(names.statement, &prepared);
        if let Err(report) = read {
            return self.refuse(Instead::Execute, report, None);
        }
        let mut cleared = None;
        if !self.passes_again(&prepared.facts) {
            let run = self.decide_prepared(&prepared, Some(&values)).await?;
            cleared = match Box::pin(self.clear_bind(run, names, (&frame, &values))).await? {
                AtBind::Goes(cleared) => cleared,
                AtBind::Answered => return Ok(()),
            };
        }
        let tickets = match self.bind_tickets(&prepared, names, &values).await? {
            Ok(tickets) => tickets,
            Err(report) => return self.refuse(Instead::Execute, report, None),
        };
        let portal = Portal { statement: names.statement.into(), values, cleared, ..Portal::new(prepared) };
        self.forward(tickets.as_ref().unwrap_or(&frame), Request::Bind(names.portal.into(), Box::new(portal)));
        Ok(())
    }

    /// What happens at a Bind is settled there: planning runs code, and a person must be asked before that.
    async fn clear_bind(
        &mut self,
        mut run: Box<Run>,
        names: frontend::BindNames<'_>,
        (frame, values): (&Bytes, &Bytes),
    ) -> Result<AtBind, End> {
        if run.verdict() == Verdict::Allow || !self.enforces() {
            if !self.is_given_up(&run) {
                return Ok(AtBind::Goes(None));
            }
            self.refuse(Instead::Execute, given_up(), Some(run))?;
            return Ok(AtBind::Answered);
        }
        if frame.len() > self.services.bounds.bind_max {
            self.refuse(Instead::Execute, too_large(), Some(run))?;
            return Ok(AtBind::Answered);
        }
        run.statement = Some(names.statement.into());
        let cleared = match self.next_of_many(&mut run, values).await? {
            Some(next) => next,
            None => self.clear(&mut run, Form::Bind(values.clone())).await?,
        };
        match cleared {
            Cleared::Refused(report) => self.refuse(Instead::Execute, report, Some(run))?,
            Cleared::Skipped => self.pass_unqueued(frame, run)?,
            Cleared::Go => return Ok(AtBind::Goes(Some(run))),
        }
        Ok(AtBind::Answered)
    }

    pub(super) async fn on_execute(&mut self, header: Header) -> Result<(), End> {
        let Some(frame) = self.collect(header, frame::SMALL_MAX).await? else {
            return self.refuse(Instead::Execute, too_large(), None);
        };
        let name: Box<[u8]> = match frontend::execute(body(&frame)) {
            Ok(execute) => execute.portal.into(),
            Err(malformed) => return self.refuse(Instead::Execute, malformed_report(malformed), None),
        };
        let PortalRun { mut run, cleared, values } = match self.take_portal_run(&name).await? {
            Ok(found) => found,
            Err(report) => return self.refuse(Instead::Execute, report, None),
        };
        run.portal = Some(name.clone());
        if !cleared {
            match self.clear(&mut run, Form::Execute(values)).await? {
                Cleared::Refused(report) => return self.refuse(Instead::Execute, report, Some(run)),
                Cleared::Skipped => return self.pass_unqueued(&frame, run),
                Cleared::Go if self.is_given_up(&run) => return self.refuse(Instead::Execute, given_up(), Some(run)),
                Cleared::Go => {}
            }
        }
        // What writes and returns rows commits with its Sync: nothing behind it leaves before its rows have.
        let waits = run.reads_client_data() || run.writes_within_limits();
        self.have_described(&name, &run);
        self.forward(&frame, Request::Execute(run));
        if waits {
            build::bare(&mut self.server.output, b'H');
            self.phase.flushed();
            return self.await_copy().await;
        }
        Ok(())
    }

    pub(super) async fn on_describe(&mut self, header: Header) -> Result<(), End> {
        let Some(frame) = self.collect(header, frame::SMALL_MAX).await? else {
            return self.refuse(Instead::Execute, too_large(), None);
        };
        let described = match frontend::target(body(&frame)) {
            Ok(Some(Target::Statement(name))) => Described::Statement(name.into()),
            Ok(Some(Target::Portal(name))) => Described::Portal(name.into()),
            Ok(None) | Err(_) => Described::Nothing,
        };
        self.forward(&frame, Request::Describe(described));
        Ok(())
    }

    pub(super) async fn on_close(&mut self, header: Header) -> Result<(), End> {
        let Some(frame) = self.collect(header, frame::SMALL_MAX).await? else {
            return self.refuse(Instead::Execute, too_large(), None);
        };
        let request = match frontend::target(body(&frame)) {
            Ok(Some(Target::Statement(name))) => Request::CloseStatement(name.into()),
            Ok(Some(Target::Portal(name))) => Request::ClosePortal(name.into()),
            // Postgres answers both with an error, which takes the entry with it.
            Ok(None) | Err(_) => Request::Describe(Described::Nothing),
        };
        self.forward(&frame, request);
        Ok(())
    }
}

/// What became of a Bind.
enum AtBind {
    /// It goes on, with the run that it was cleared with where it had to be.
    Goes(Option<Box<Run>>),
    /// It was refused, or the server discards it.
    Answered,
}
