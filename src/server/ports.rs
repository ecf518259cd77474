//! What `control` asks of the rooms that it does not know.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use clap::{Args as _, FromArgMatches as _};
use futures_util::future::BoxFuture;

use super::options::{Again, Options, PolicySource};
use super::reload;
use crate::backend::memory::{DerivedTag, Review};
use crate::control::{
    Admission, EVENTS_MAX, EventError, EventSource, Health, RecordSink, Reload, SessionRow, Sessions, SinkError, Tags,
};
use crate::ids::{SessionId, StatementId};
use crate::lineage::{Event, Filters, StatementRecord};
use crate::log::{self, Log};
use crate::net::tls::ServerTls;
use crate::policy::Policy;
use crate::session::Services;
use crate::session::registry::Signal;
use crate::sink;

/// The upstream has this long to take a connection when readiness is asked.
const REACH_WAIT: Duration = Duration::from_secs(2);

/// The log as a sink.
pub(super) struct LogSink(pub(super) Log);

impl RecordSink for LogSink {
    fn append_strict(&self, record: StatementRecord) -> BoxFuture<'_, Result<(), SinkError>> {
        // Queued when the future is made, so that records keep the order in which they are handed in.
        let appended = self.0.append_strict(record);
        Box::pin(async move { appended.await.map(drop).map_err(|error| SinkError(error.to_string())) })
    }

    fn append_each_strict(&self, records: Vec<StatementRecord>) -> BoxFuture<'_, Vec<Result<(), SinkError>>> {
        Box::pin(async move {
            let written = self.0.append_each_strict(records).await.into_iter();
            written.map(|one| one.map(drop).map_err(|error| SinkError(error.to_string()))).collect()
        })
    }
}

/// Sessions, policies, the log and the upstream, as operators reach them.
pub(super) struct Ports {
    services: Arc<Services>,
    policies: PolicySource,
    again: Option<Again>,
    tls: Arc<ArcSwapOption<ServerTls>>,
    log_dir: PathBuf,
    sinks: Vec<sink::Watch>,
    draining: AtomicBool,
}

impl Ports {
    pub(super) fn new(
        services: Arc<Services>,
        options: &Options,
        tls: Arc<ArcSwapOption<ServerTls>>,
        sinks: Vec<sink::Watch>,
    ) -> Self {
        Self {
            services,
            policies: options.policies.clone(),
            again: options.again.clone(),
            tls,
            log_dir: options.log.dir.clone(),
            sinks,
            draining: AtomicBool::new(false),
        }
    }

    /// The policy as it is now; where the whole configuration can be read again, certificates and principals come into
    /// force with it. Sessions that are open go on as they are.
    fn read_again(&self) -> Result<Policy, Vec<String>> {
        let Some(again) = &self.again else { return reload::read(&self.policies) };
        let options = again()?;
        // Turning TLS on or off changes what may be listened on: that takes a start.
        if options.tls.is_some() == self.tls.load().is_some() {
            self.tls.store(options.tls.map(Arc::new));
        }
        self.services.gate.replace(options.identity);
        Ok(options.policy)
    }

    pub(super) fn services(&self) -> Arc<Services> {
        self.services.clone()
    }

    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}

impl Sessions for Ports {
    fn list(&self) -> Vec<SessionRow> {
        let now = self.services.clock.now();
        let rows = self.services.registry.list().into_iter();
        rows.map(|row| SessionRow {
            id: row.id,
            principal: row.principal,
            role: row.user,
            database: row.database,
            client: row.client.map(|address| address.to_string()).unwrap_or_default(),
            application_name: row.application_name,
            state: row.activity.state.as_str().to_owned(),
            connected_at: row.since,
            in_state: now.since(row.activity.since),
            human: row.human,
            agent: row.activity.agent,
            state_since: row.activity.since,
            statement: row.activity.statement,
            transaction_since: row.activity.transaction_since,
            hold: row.activity.hold,
        })
        .collect()
    }

    fn kill(&self, id: SessionId) -> bool {
        self.services.registry.signal(id, Signal::Kill { by: "an operator".into() })
    }

    fn admit(&self, admission: Admission) {
        self.services.registry.pause(admission == Admission::Paused);
    }
}

impl Reload for Ports {
    fn reload(&self) -> BoxFuture<'_, Result<String, Vec<String>>> {
        Box::pin(async move {
            let policy = self.read_again()?;
            let sha256 = policy.sha256().to_owned();
            let (dir, kept) = (self.log_dir.clone(), policy.clone());
            let keep = move || log::keep_policy(&dir, kept.sha256(), kept.text());
            let written = tokio::task::spawn_blocking(keep).await.map_err(|error| vec![error.to_string()])?;
            written.map_err(|error| vec![error.to_string()])?;
            self.services.databases.retag(policy.tag_rules().clone());
            self.services.policy.store(Arc::new(policy));
            let mut record = StatementRecord::new(StatementId::new(), Event::System);
            record.policy.clone_from(&sha256);
            record.text = "the policy was loaded".into();
            let written = self.services.log.append_strict(record).await;
            written.map_err(|error| vec![error.to_string()])?;
            match self.services.log.take_key().await {
                Ok(Some(key)) => tracing::info!(key = key.to_string().trim_end(), "the log has a new signing key"),
                Ok(None) => {}
                Err(error) => return Err(vec![format!("the log's signing key could not be replaced: {error}")]),
            }
            Ok(sha256)
        })
    }
}

impl EventSource for Ports {
    fn query(&self, filters: Vec<(String, String)>) -> BoxFuture<'_, Result<Vec<StatementRecord>, EventError>> {
        let now = self.services.clock.now();
        let dir = self.log_dir.clone();
        Box::pin(async move {
            let filters = filters_of(filters)?.within(now).map_err(EventError::Filter)?;
            let scan = move || found_in(&dir, filters);
            let found = tokio::task::spawn_blocking(scan).await.map_err(|error| EventError::Log(error.to_string()))?;
            found.map_err(|error| EventError::Log(error.to_string()))
        })
    }
}

impl Tags for Ports {
    fn list(&self) -> Vec<DerivedTag> {
        self.services.databases.memory().list()
    }

    fn get(&self, id: u64) -> Option<DerivedTag> {
        self.services.databases.memory().get(id)
    }

    fn review(&self, id: u64, review: Review, by: String) -> BoxFuture<'_, Result<Option<DerivedTag>, String>> {
        let services = self.services.clone();
        Box::pin(async move {
            let reviewed = tokio::task::spawn_blocking(move || services.databases.review(id, review, &by)).await;
            reviewed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        })
    }
}

impl Health for Ports {
    fn sinks(&self) -> Vec<sink::Status> {
        let durable = self.services.log.durable();
        self.sinks.iter().map(|sink| sink.status(durable)).collect()
    }

    fn complaints(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let mut complaints = Vec::new();
            if self.draining.load(Ordering::SeqCst) {
                complaints.push("the proxy is draining".to_owned());
            }
            if let Err(why) = self.services.log.health() {
                complaints.push(format!("the lineage log cannot be written: {why}"));
            }
            let upstream = &self.services.upstream;
            match tokio::time::timeout(REACH_WAIT, upstream.connect()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    complaints.push(format!("cannot connect to upstream {}: {error}", upstream.authority()));
                }
                Err(_) => complaints.push(format!("upstream {} does not answer", upstream.authority())),
            }
            complaints
        })
    }
}

/// The newest of them, as many as a page holds. Where the index cannot be caught up, the answer takes longer.
fn found_in(dir: &Path, mut filters: Filters) -> Result<Vec<StatementRecord>, log::LogError> {
    filters.limit = Some(filters.limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX));
    let caught_up =
        log::Index::open(dir).and_then(|mut index| log::Progress::silent(|progress| index.catch_up(progress)));
    if let Err(error) = caught_up {
        tracing::warn!(%error, "the log's index could not be caught up");
    }
    log::query(dir, &filters)?.collect()
}

/// Names and values become filters in the way in which the command line reads them.
fn filters_of(pairs: Vec<(String, String)>) -> Result<Filters, EventError> {
    let words = pairs.into_iter().map(|(name, value)| format!("--{}={value}", name.replace('_', "-")));
    let command = Filters::augment_args(clap::Command::new("events")).no_binary_name(true).disable_help_flag(true);
    let fault = |error: clap::Error| EventError::Filter(error.kind().to_string() + ": " + &first_line(&error));
    let matches = command.try_get_matches_from(words).map_err(fault)?;
    Filters::from_arg_matches(&matches).map_err(fault)
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
