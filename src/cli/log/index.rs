//! `log index`, and the index that a query catches up before it asks.

use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit;
use crate::log::{Index, IndexError, Progress};

/// Makes the index anew.
pub(super) fn rebuild(dir: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut index = Index::open(dir)?;
    index.clear()?;
    let added = shown(&mut index)?;
    writeln!(out, "indexed: {added} records")?;
    Ok(exit::DONE)
}

/// Catches the index up. Where that cannot be, a query reads what the index does not know; it only takes longer.
pub(super) fn catch_up(dir: &Path) {
    if let Err(error) = Index::open(dir).and_then(|mut index| shown(&mut index)) {
        // A reader of a copy may not write beside it: that is no fault.
        tracing::info!(%error, "the log's index was not caught up");
    }
}

/// With a bar where somebody looks and it takes a while.
fn shown(index: &mut Index) -> Result<u64, IndexError> {
    if !std::io::stderr().is_terminal() {
        return Progress::silent(|progress| index.catch_up(progress));
    }
    let bar = ProgressBar::no_length().with_style(style()).with_prefix("indexing");
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut show = |behind, all| {
        bar.set_length(all);
        bar.set_position(behind);
    };
    let added = index.catch_up(&mut Progress(&mut show));
    bar.finish_and_clear();
    added
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
