//! The metric families: names, labels and help.

use std::sync::LazyLock;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::ids::NAME;

/// From a glance to the longest wait that a configuration is likely to give, in seconds.
const WAIT_BUCKETS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// All families of this process.
#[derive(Debug)]
pub struct Families {
    registry: Registry,
    pub(super) statements: IntCounterVec,
    pub(super) sessions: IntGauge,
    pub(super) sessions_opened: IntCounter,
    pub(super) holds: IntGaugeVec,
    pub(super) hold_wait: HistogramVec,
    pub(super) rows: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) outbox: IntGauge,
    pub(super) log_records: IntCounter,
    pub(super) log_failures: IntCounter,
    pub(super) descriptions_asked: IntCounter,
    pub(super) unforeseen: IntCounter,
    pub(super) sink_events: IntCounterVec,
    pub(super) sink_up: IntGaugeVec,
    pub(super) sink_behind: IntGaugeVec,
    pub(super) operator_acts: IntCounterVec,
    pub(super) sign_in_failures: IntCounterVec,
    pub(super) notices: IntCounterVec,
    pub(super) notices_kept: IntGaugeVec,
}

static FAMILIES: LazyLock<Families> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "names and labels are constants: a test registers all of them")]
    Families::new().expect("metric families are registered once, with valid names")
});

pub(super) fn families() -> &'static Families {
    &FAMILIES
}

/// All metrics in Prometheus's text form (exposition format 0.0.4).
#[must_use]
pub fn render() -> String {
    // Writing to a String cannot fail for families that were registered.
    TextEncoder::new().encode_to_string(&families().registry.gather()).unwrap_or_default()
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some(NAME.to_owned()), None)?;
        let families = Self {
            statements: counters("statements_total", "Statements that were judged.", &["verdict", "kind"])?,
            sessions: IntGauge::new("sessions", "Sessions of the data plane that are open.")?,
            sessions_opened: IntCounter::new("sessions_total", "Sessions of the data plane that were opened.")?,
            holds: IntGaugeVec::new(Opts::new("holds", "Holds that are not over, by state."), &["state"])?,
            hold_wait: HistogramVec::new(
                HistogramOpts::new("hold_wait_seconds", "How long sessions waited for a hold.")
                    .buckets(WAIT_BUCKETS.to_vec()),
                &["outcome"],
            )?,
            rows: IntCounter::new("rows_total", "Rows that went to clients.")?,
            bytes: IntCounter::new("row_bytes_total", "Bytes of rows that went to clients.")?,
            outbox: IntGauge::new("log_outbox_records", "Records of holds that wait for the log.")?,
            log_records: IntCounter::new("log_records_total", "Records that were written to the log.")?,
            log_failures: IntCounter::new("log_failures_total", "Attempts to write to the log that failed.")?,
            descriptions_asked: IntCounter::new(
                "descriptions_asked_total",
                "Executes whose result the proxy had described, because nothing was known of it.",
            )?,
            unforeseen: IntCounter::new(
                "unforeseen_total",
                "Results whose columns the server described otherwise than predicted.",
            )?,
            sink_events: counters(
                "sink_events_total",
                "Events that sinks sent, retried, or buried.",
                &["sink", "result"],
            )?,
            sink_up: IntGaugeVec::new(Opts::new("sink_up", "Whether a sink's last attempt succeeded."), &["sink"])?,
            sink_behind: IntGaugeVec::new(
                Opts::new("sink_behind_records", "Records of the log that a sink has not passed yet."),
                &["sink"],
            )?,
            operator_acts: counters("operator_acts_total", "Acts of operators.", &["act", "method"])?,
            sign_in_failures: counters("sign_in_failures_total", "Wrong tokens that were offered.", &["method"])?,
            notices: counters("notices_total", "Attempts to deliver a notice.", &["target", "outcome"])?,
            notices_kept: IntGaugeVec::new(Opts::new("notices", "Notices in the outbox, by state."), &["state"])?,
            registry,
        };
        families.register()?;
        Ok(families)
    }

    fn register(&self) -> prometheus::Result<()> {
        let registry = &self.registry;
        registry.register(Box::new(self.statements.clone()))?;
        registry.register(Box::new(self.sessions.clone()))?;
        registry.register(Box::new(self.sessions_opened.clone()))?;
        registry.register(Box::new(self.holds.clone()))?;
        registry.register(Box::new(self.hold_wait.clone()))?;
        registry.register(Box::new(self.rows.clone()))?;
        registry.register(Box::new(self.bytes.clone()))?;
        registry.register(Box::new(self.outbox.clone()))?;
        registry.register(Box::new(self.log_records.clone()))?;
        registry.register(Box::new(self.log_failures.clone()))?;
        registry.register(Box::new(self.descriptions_asked.clone()))?;
        registry.register(Box::new(self.unforeseen.clone()))?;
        registry.register(Box::new(self.sink_events.clone()))?;
        registry.register(Box::new(self.sink_up.clone()))?;
        registry.register(Box::new(self.sink_behind.clone()))?;
        registry.register(Box::new(self.operator_acts.clone()))?;
        registry.register(Box::new(self.notices.clone()))?;
        registry.register(Box::new(self.notices_kept.clone()))?;
        registry.register(Box::new(self.sign_in_failures.clone()))
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_families_register_and_carry_the_products_prefix() {
        crate::telemetry::statement("hold", "ddl");
        crate::telemetry::holds("pending", 3);
        crate::telemetry::hold_waited("approved", std::time::Duration::from_secs(2));
        let text = render();
        assert!(text.contains("holdgate_statements_total{kind=\"ddl\",verdict=\"hold\"} 1"), "{text}");
        assert!(text.contains("holdgate_holds{state=\"pending\"} 3"), "{text}");
        assert!(text.contains("holdgate_hold_wait_seconds_sum{outcome=\"approved\"} 2"), "{text}");
        assert!(text.lines().filter(|line| !line.starts_with('#')).all(|line| line.starts_with("holdgate_")));
    }
}
