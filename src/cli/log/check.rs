//! `log verify`, `log prove` and `log rotate-key`: what an auditor runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::output::Format;
use crate::cli::exit;
use crate::clock::Clock;
use crate::log::{self, Depth, KeptCheckpoints, LogError, Proofs, VerifyOptions};
use crate::net::http_client;

/// What to check against.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Checkpoints that were kept elsewhere: a file, or an http or https URL.
    #[arg(long)]
    checkpoint: Option<String>,
    /// The log's public key, kept elsewhere; one that was replaced since serves too.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Unpacks sealed segments too and reads every line; otherwise their bytes, seals and noted hashes are checked.
    #[arg(long)]
    deep: bool,
    /// How the report is shown: json, or text for any other.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What to prove.
#[derive(Debug, Args)]
pub(super) struct Prove {
    /// The record's number.
    #[arg(required_unless_present = "consistency", conflicts_with = "consistency")]
    seq: Option<u64>,
    /// Instead of a record: that the newest checkpoint goes on from an older one. A number of records, or a file with the
    /// older checkpoint.
    #[arg(long, value_name = "SIZE|FILE")]
    consistency: Option<String>,
    /// Prints the proof of a record as a C2SP note, `tlog-proof@v1`.
    #[arg(long)]
    note: bool,
}

/// Prints what is wrong, and how far the log is signed.
pub(super) fn verify(dir: &Path, options: Verify, out: &mut dyn Write) -> anyhow::Result<u8> {
    let checkpoint = options.checkpoint.as_deref().map(kept).transpose()?;
    let depth = if options.deep { Depth::Lines } else { Depth::Seals };
    let report = log::verify(dir, &VerifyOptions { key: options.key, checkpoint, depth })?;
    if options.format == Format::Json || options.format == Format::Jsonl {
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(if report.is_intact() { exit::DONE } else { exit::NO });
    }
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    let answer = if report.is_intact() { "intact" } else { "NOT INTACT" };
    let plural = if report.segments == 1 { "" } else { "s" };
    writeln!(
        out,
        "{answer}: {} records in {} segment{plural}, {} signed",
        report.lines, report.segments, report.anchored
    )?;
    for gone in &report.retired {
        let last = gone.end.saturating_sub(1);
        writeln!(out, "removed: records {} to {last} on {}, by retention: {}", gone.first, gone.at, gone.why)?;
    }
    if report.unanchored > 0 {
        writeln!(out, "unanchored: the last {} records are not signed yet", report.unanchored)?;
    }
    if report.torn > 0 {
        writeln!(out, "unfinished: {} bytes at the end are no record yet", report.torn)?;
    }
    Ok(if report.is_intact() { exit::DONE } else { exit::NO })
}

fn kept(place: &str) -> anyhow::Result<KeptCheckpoints> {
    if !place.starts_with("http://") && !place.starts_with("https://") {
        return Ok(KeptCheckpoints::read(Path::new(place))?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(async {
        let client = http_client().timeout(std::time::Duration::from_secs(30)).build()?;
        client.get(place).send().await?.error_for_status()?.text().await
    });
    Ok(KeptCheckpoints { name: place.to_owned(), text: text.with_context(|| place.to_owned())? })
}

/// Prints one proof.
pub(super) fn prove(dir: &Path, prove: &Prove, out: &mut dyn Write) -> anyhow::Result<u8> {
    let proofs = Proofs::open(dir)?.context("the log has no checkpoint yet")?;
    if let Some(older) = &prove.consistency {
        let size = match older.parse() {
            Ok(size) => size,
            Err(_) => kept_size(&proofs, older)?,
        };
        let proof = proofs.consistency(size)?.with_context(|| {
            format!(
                "the newest checkpoint covers {} records; {size} of them cannot be proved",
                proofs.checkpoint().size
            )
        })?;
        serde_json::to_writer_pretty(&mut *out, &proof)?;
    } else {
        let seq = prove.seq.unwrap_or_default();
        let proof = proofs.inclusion(seq)?.with_context(|| format!("record {seq} is not covered by a checkpoint"))?;
        if prove.note {
            write!(out, "{}", proof.note())?;
            return Ok(exit::DONE);
        }
        serde_json::to_writer_pretty(&mut *out, &proof)?;
    }
    writeln!(out)?;
    Ok(exit::DONE)
}

fn kept_size(proofs: &Proofs, file: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
    let kept =
        proofs.kept(&text).with_context(|| format!("{file} ends in no checkpoint that this log's key signed"))?;
    Ok(kept.size)
}

/// Replaces the log's key.
pub(super) fn rotate_key(dir: &Path, by: &str, out: &mut dyn Write) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(log::rotate_key(dir, by, Clock::System)) {
        Ok(key) => write!(out, "{key}")?,
        // Whoever has the log open signs: it takes the key when it is told to.
        Err(LogError::InUse { .. }) => {
            write!(out, "{}", log::prepare_key(dir, by)?)?;
            eprintln!(
                "This key lies ready: the proxy takes it at its next RELOAD or SIGHUP. A restart before that drops it."
            );
        }
        Err(error) => return Err(error.into()),
    }
    Ok(exit::DONE)
}
