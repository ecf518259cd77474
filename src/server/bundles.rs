//! A migration as one bundle: its statements are played to a copy of the catalog, judged, and shown on one card.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ring::digest;

use super::ports::Ports;
use crate::analysis::scan::{Secrets, StringMode};
use crate::analysis::{Facts, Replay, StatementFacts, bundle_basis, bundle_digest, reversible, solid, table_lock};
use crate::approvals::{
    Approvers, Bundle, BundleStep, CardColumn, Hold, HoldState, Impact, NewHold, Origin, StepState, Waiting,
};
use crate::backend::databases::Snapshot;
use crate::clock::Timestamp;
use crate::control::{BundleRequest, Bundles, Explained, RequestError};
use crate::ids::{HoldId, StatementId};
use crate::lineage::{Event, StatementRecord};
use crate::policy::{Decision, Estimate, Request, Sensitivity, Verdict};
use crate::principal::Principal;
use crate::session::Services;

/// Statements of one bundle at most.
const STEPS_MAX: usize = 500;

impl Bundles for Ports {
    fn prepare(&self, request: BundleRequest) -> BoxFuture<'_, Result<NewHold, RequestError>> {
        let services = self.services();
        Box::pin(async move {
            let database = database(&services, &request.upstream)?;
            let _presence = services.databases.enter(&database);
            let snapshot = services.databases.fresh(&database).await;
            let snapshot = snapshot.map_err(|error| RequestError::Catalog(error.to_string()))?;
            let asked = Asked::new(services, request, database, snapshot);
            // Long texts take long: not on the threads that serve sessions.
            let prepared = tokio::task::spawn_blocking(move || asked.prepare()).await;
            prepared.map_err(|error| RequestError::Refused(error.to_string()))?
        })
    }
}

/// The database that an upstream's name means here.
pub(super) fn database(services: &Services, upstream: &str) -> Result<String, RequestError> {
    let bare = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
    let (server, name) = bare.rsplit_once('/').map_or((None, bare), |(server, name)| (Some(server), name));
    let server = server.map(|server| server.rsplit_once('@').map_or(server, |(_, server)| server));
    let own = services.upstream.authority();
    if server.is_some_and(|server| !own.ends_with(server)) {
        return Err(RequestError::Refused(format!("this proxy leads to {own}, and not to {upstream}")));
    }
    let name = name.split_once('?').map_or(name, |(name, _)| name);
    match &services.database {
        Some(only) if only != name => {
            Err(RequestError::Refused(format!("database {name} is not served by this proxy: it serves {only}")))
        }
        _ => Ok(name.to_owned()),
    }
}

/// One request with all that it is judged by.
pub(super) struct Asked {
    services: Arc<Services>,
    request: BundleRequest,
    principal: Principal,
    database: String,
    search_path: Vec<String>,
    snapshot: Arc<Snapshot>,
}

/// What the statements of a bundle come to together.
struct Verdicts {
    from: Vec<String>,
    quorum: u32,
    expires: Duration,
    sensitivity: Sensitivity,
    rules: BTreeSet<String>,
}

impl Asked {
    pub(super) fn new(
        services: Arc<Services>,
        request: BundleRequest,
        database: String,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        let principal = services.gate.meant(&request.principal);
        // As a session of that role finds it at its start: the default path, as far as its schemas are there.
        let path = [principal.role.clone(), "public".to_owned()];
        let search_path = path.into_iter().filter(|schema| snapshot.catalog.has_schema(schema)).collect();
        Self { services, request, principal, database, search_path, snapshot }
    }

    /// What the policy says of each statement.
    pub(super) fn explain(&self) -> Result<Vec<Explained>, String> {
        let (policy, now) = (self.services.policy.load(), self.services.clock.now());
        let explained = |facts: &StatementFacts| {
            let decision = policy.evaluate(&self.ask(facts, now));
            Explained {
                statement: self.text(facts).to_owned(),
                verdict: decision.verdict,
                rule: decision.rule.to_string(),
                kinds: facts.kinds.iter().map(ToString::to_string).collect(),
                tags: facts.tags().iter().map(ToString::to_string).collect(),
                approve: (decision.verdict == Verdict::Hold).then_some(decision.approve),
                reason: decision.reason,
            }
        };
        Ok(self.play()?.0.statements.iter().map(explained).collect())
    }

    /// The facts of each statement, and the schemas in which it looks names up.
    fn play(&self) -> Result<(Facts, Vec<Vec<String>>), String> {
        let catalog = (*self.snapshot.catalog).clone();
        let rules = self.services.policy.load().tag_rules().clone();
        let mut session = Replay::new(catalog, rules, self.search_path.clone(), self.principal.role.clone());
        let facts = session.run(self.request.sql.as_bytes()).map_err(|rejected| rejected.to_string())?;
        Ok((facts, session.paths().to_vec()))
    }

    fn prepare(&self) -> Result<NewHold, RequestError> {
        let refused = |why: String| RequestError::Refused(why);
        let policy = self.services.policy.load();
        let (played, paths) = self.play().map_err(refused)?;
        if played.statements.is_empty() || played.statements.len() > STEPS_MAX {
            return Err(refused(format!(
                "a bundle has 1 to {STEPS_MAX} statements, and this one has {}",
                played.statements.len()
            )));
        }
        let now = self.services.clock.now();
        let mut steps = Vec::new();
        let mut decisions = Vec::new();
        for (index, facts) in played.statements.iter().enumerate() {
            let text = self.text(facts);
            if facts.is_unparsable() {
                let why = facts.opaque.join("; ");
                let text = format!("statement {} is none that can be read: {why}{}", index + 1, self.of_psql());
                return Err(refused(text));
            }
            let decision = policy.evaluate(&self.ask(facts, now));
            if decision.verdict == Verdict::Deny {
                return Err(refused(format!(
                    "statement {} is denied by rule \"{}\": {}",
                    index + 1,
                    decision.rule,
                    decision.reason
                )));
            }
            steps.push(BundleStep { search_path: paths.get(index).cloned(), ..step(text, facts, &decision) });
            decisions.push(decision);
        }
        let verdicts = together(&decisions)?;
        Ok(self.card(steps, &played.statements, verdicts, now))
    }

    /// What to say of a script that only psql understands.
    fn of_psql(&self) -> &'static str {
        let is_psqls = |line: &str| line.trim_start().starts_with('\\');
        if self.request.sql.lines().any(is_psqls) {
            ". Lines that begin with a backslash are commands of psql, and rows behind a COPY are data: a bundle has \
             statements alone"
        } else {
            ""
        }
    }

    fn text(&self, facts: &StatementFacts) -> &str {
        let part = self.request.sql.get(facts.span.clone()).unwrap_or_default();
        part.get(solid(part.as_bytes())).unwrap_or_default()
    }

    fn ask<'a>(&'a self, facts: &'a StatementFacts, at: Timestamp) -> Request<'a> {
        Request {
            principal: &self.principal,
            database: &self.database,
            client: None,
            environment: self.services.environment.as_deref(),
            intent: self.request.intent.as_deref(),
            facts,
            estimate: None,
            at,
        }
    }

    fn card(&self, steps: Vec<BundleStep>, facts: &[StatementFacts], verdicts: Verdicts, now: Timestamp) -> NewHold {
        // What a session shows later is computed over the text that is kept, which has no secrets.
        let shown = shown(&self.request.sql);
        let basis = bundle_basis(&self.snapshot.catalog, &shown, &self.search_path, &self.principal.role);
        let text = |list: fn(&BundleStep) -> &Vec<String>| {
            steps.iter().flat_map(list).cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        let mut columns: BTreeMap<String, CardColumn> = BTreeMap::new();
        for (name, column) in steps.iter().flat_map(|step| &step.columns) {
            let all = columns.entry(name.clone()).or_default();
            all.tags.extend(column.tags.iter().filter(|tag| !all.tags.contains(tag)).cloned().collect::<Vec<_>>());
            all.access
                .extend(column.access.iter().filter(|one| !all.access.contains(one)).copied().collect::<Vec<_>>());
        }
        let tags: BTreeSet<String> = columns.values().flat_map(|column| column.tags.iter().cloned()).collect();
        let kinds: BTreeSet<_> = facts.iter().flat_map(|facts| facts.kinds.iter().copied()).collect();
        let hold = Hold {
            id: HoldId::new(),
            state: HoldState::Pending,
            waiting: Waiting::Ticket,
            created_at: now,
            expires_at: now
                .after(self.services.hold.expires.map_or(verdicts.expires, |most| most.min(verdicts.expires))),
            rule: verdicts.rules.into_iter().collect::<Vec<_>>().join(", "),
            reason: format!("a bundle of {} statements was asked for ahead of time", steps.len()),
            principal: self.principal.clone(),
            origin: Origin::default(),
            agent: None,
            model: None,
            intent: self.request.intent.clone(),
            database: self.database.clone(),
            environment: self.services.environment.clone(),
            statement: shown,
            parameters: Vec::new(),
            action_hash: self.action_hash(&basis),
            kinds: kinds.into_iter().collect(),
            command: "BUNDLE".to_owned(),
            relations: text(|step| &step.relations),
            opaque: text(|step| &step.opaque),
            findings: text(|step| &step.findings),
            columns,
            tags: tags.into_iter().collect(),
            sensitivity: verdicts.sensitivity,
            estimate: Estimate::default(),
            plan: None,
            rows_sent: 0,
            holding_locks_since: None,
            approve: Approvers { from: verdicts.from, quorum: verdicts.quorum, given: Vec::new() },
            decision: None,
            cap: Estimate::default(),
            impact: Impact::default(),
            requester: None,
            bundle: Some(Bundle { basis, search_path: self.search_path.clone(), steps }),
        };
        let record = self.record(&hold);
        NewHold { hold, record, masked_parameters: Vec::new() }
    }

    fn record(&self, hold: &Hold) -> StatementRecord {
        let mut record = StatementRecord::new(StatementId::new(), Event::Held);
        record.principal = Some(self.principal.clone());
        record.upstream = Some(self.services.upstream.authority());
        record.database = Some(self.database.clone());
        record.intent.clone_from(&self.request.intent);
        self.services.policy.load().sha256().clone_into(&mut record.policy);
        hold.command.clone_into(&mut record.command);
        record.with_text(self.request.sql.as_bytes(), StringMode::Standard)
    }

    fn action_hash(&self, basis: &str) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in ["bundle", &self.database, &self.principal.name, &self.principal.role, basis, &self.request.sql] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        crate::ids::hex(context.finish().as_ref())
    }
}

fn step(text: &str, facts: &StatementFacts, decision: &Decision) -> BundleStep {
    let masked = StatementRecord::new(StatementId::new(), Event::Held).with_text(text.as_bytes(), StringMode::Standard);
    let column = |column: &crate::analysis::ColumnFacts| CardColumn {
        tags: column.tags.iter().map(ToString::to_string).collect(),
        access: column.access.iter().copied().collect(),
    };
    BundleStep {
        statement: shown(text),
        masked: masked.text,
        digest: bundle_digest(text.as_bytes()),
        state: if decision.verdict == Verdict::Hold { StepState::Waiting } else { StepState::Allowed },
        rule: decision.rule.to_string(),
        command: facts.command.clone(),
        kinds: facts.kinds.iter().copied().collect(),
        relations: facts.relations.iter().map(ToString::to_string).collect(),
        columns: facts.columns.iter().map(|(name, facts)| (name.to_string(), column(facts))).collect(),
        opaque: facts.opaque.clone(),
        findings: facts.findings.clone(),
        estimate: Estimate { rows: facts.bound.rows(), ..Estimate::default() },
        lock: table_lock(facts).map(|lock| lock.as_str().to_owned()),
        reversible: reversible(facts).to_owned(),
        search_path: None,
    }
}

/// The text as an operator may read it: all of it but passwords.
fn shown(text: &str) -> String {
    let hidden = Secrets::of(text.as_bytes(), StringMode::Standard).hide(text.as_bytes());
    String::from_utf8_lossy(&hidden).into_owned()
}

/// One decision covers all that are held: by a group that every rule names, by the largest quorum, in the shortest time.
fn together(decisions: &[Decision]) -> Result<Verdicts, RequestError> {
    let held: Vec<_> = decisions.iter().filter(|decision| decision.verdict == Verdict::Hold).collect();
    let Some(first) = held.first() else { return Err(RequestError::NothingToApprove) };
    let everywhere = |group: &&String| held.iter().all(|decision| decision.approve.from.contains(group));
    let from: Vec<String> = first.approve.from.iter().filter(everywhere).cloned().collect();
    if from.is_empty() {
        let why = "no group may approve all of its statements: ask for them in bundles of their own";
        return Err(RequestError::Refused(why.to_owned()));
    }
    Ok(Verdicts {
        from,
        quorum: held.iter().map(|decision| decision.approve.quorum).max().unwrap_or(1),
        expires: held.iter().map(|decision| decision.approve.expires).min().unwrap_or_default(),
        sensitivity: decisions.iter().map(|decision| decision.sensitivity).max().unwrap_or_default(),
        rules: held.iter().map(|decision| decision.rule.to_string()).collect(),
    })
}
