//! The set-up of diagnostics on standard error; the lineage log is another thing.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How a line of diagnostics looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, target, message, fields.
    #[default]
    Text,
    /// The same without time and target; for a supervisor that adds its own.
    Compact,
}

/// Why diagnostics cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogSetupError {
    /// The filter is none.
    #[error("log filter: {0}")]
    Filter(#[from] ParseError),
    /// It is done already.
    #[error("diagnostics are set up already")]
    Twice,
}

/// Sends diagnostics to standard error, as far as `filter` lets them (`info`, `holdgate=debug,warn`).
///
/// # Errors
/// A filter that cannot be read, or a second call in one process.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogSetupError> {
    let base = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => base.try_init(),
        LogFormat::Compact => base.without_time().with_target(false).compact().try_init(),
    };
    set.map_err(|_| LogSetupError::Twice)
}

/// A panic says where it was, and its message only where that is a sentence of the program: one that was put together can
/// quote a statement.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!("{}:{}", place.file(), place.line()));
        let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)");
        tracing::error!(place, message, "panic");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(init(LogFormat::Text, "holdgate=loudly"), Err(LogSetupError::Filter(_))));
    }
}
