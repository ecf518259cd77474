//! Every metric family and the tracing set-up, in one place.
//!
//! A happening is counted at one spot, by one function of this room. Labels are words of ours or of the configuration,
//! never values or text of a statement. Must not: be read from by any room but the one that serves `/metrics`.
//! Start reading at [`Families`].

mod families;
mod guard;
mod logging;

use std::time::Duration;

pub use families::{Families, render};
pub use guard::SessionGauge;
pub use logging::{LogFormat, LogSetupError, init, quiet_panics};

use families::families;

/// A statement was judged.
pub fn statement(verdict: &str, kind: &str) {
    families().statements.with_label_values(&[verdict, kind]).inc();
}

/// Rows and bytes of a result went to a client.
pub fn result(rows: u64, bytes: u64) {
    families().rows.inc_by(rows);
    families().bytes.inc_by(bytes);
}

/// A session stopped waiting for a hold; `outcome` is the hold's state then.
pub fn hold_waited(outcome: &str, waited: Duration) {
    families().hold_wait.with_label_values(&[outcome]).observe(waited.as_secs_f64());
}

/// How many holds are in a state now.
pub fn holds(state: &str, number: u64) {
    families().holds.with_label_values(&[state]).set(clamp(number));
}

/// The proxy asked for the description of a result.
pub fn description_asked() {
    families().descriptions_asked.inc();
}

/// The server described a result otherwise than predicted.
pub fn unforeseen() {
    families().unforeseen.inc();
}

/// How many records wait for the log now.
pub fn outbox(number: u64) {
    families().outbox.set(clamp(number));
}

/// Records were written to the log.
pub fn log_written(records: u64) {
    families().log_records.inc_by(records);
}

/// The log refused a record.
pub fn log_failed() {
    families().log_failures.inc();
}

/// What became of events of a sink: `sent`, `retried`, `dead`.
pub fn sink_events(sink: &str, result: &str, events: usize) {
    families().sink_events.with_label_values(&[sink, result]).inc_by(u64::try_from(events).unwrap_or(u64::MAX));
}

/// Whether a sink's last attempt succeeded.
pub fn sink_up(sink: &str, up: bool) {
    families().sink_up.with_label_values(&[sink]).set(i64::from(up));
}

/// How many records a sink has not passed yet.
pub fn sink_behind(sink: &str, records: u64) {
    families().sink_behind.with_label_values(&[sink]).set(clamp(records));
}

/// An operator acted.
pub fn operator_act(act: &str, method: &str) {
    families().operator_acts.with_label_values(&[act, method]).inc();
}

/// Somebody offered a wrong token.
pub fn sign_in_failed(method: &str) {
    families().sign_in_failures.with_label_values(&[method]).inc();
}

/// A notice went to a target, or did not.
pub fn notice(target: &str, outcome: &str) {
    families().notices.with_label_values(&[target, outcome]).inc();
}

/// How many notices wait, and how many were given up.
pub fn notices(waiting: u64, dead: u64) {
    families().notices_kept.with_label_values(&["waiting"]).set(clamp(waiting));
    families().notices_kept.with_label_values(&["dead"]).set(clamp(dead));
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
