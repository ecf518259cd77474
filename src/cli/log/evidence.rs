//! `log export --evidence`: a folder, or one tar file, with all that somebody without the log needs to check what it says.

mod archive;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::report::Summary;
use super::{index, person};
use crate::cli::exit;
use crate::clock::Clock;
use crate::ids::{self, NAME};
use crate::lineage::{Event, Filters, StatementRecord, encode_line};
use crate::log::{self, Proofs, VerifyOptions};

/// Whether, and where to.
#[derive(Debug, Args)]
pub(super) struct Evidence {
    /// Packs the records with proofs, checkpoints, approvals, policies and instructions to verify them.
    #[arg(long, requires = "out", conflicts_with_all = ["output", "format", "limit", "cursor"])]
    evidence: bool,
    /// The folder that the evidence goes into, or one file where the name ends in .tar or .tar.zst; must not be there yet.
    #[arg(long, requires = "evidence")]
    out: Option<PathBuf>,
}

/// Checks a pack with Python's own library and openssl.
const VERIFY: &str = include_str!("evidence/verify.py");

/// What a proof needs beside its record and its checkpoint.
#[derive(Serialize)]
struct ProofLine<'a> {
    seq: u64,
    leaf_hash: &'a str,
    path: &'a [String],
}

impl Evidence {
    pub(super) fn is_wanted(&self) -> bool {
        self.evidence
    }

    /// Writes the folder, or the file. A log that is not intact is packed all the same where its proofs hold, with the report that says
    /// what is wrong.
    pub(super) fn pack(&self, dir: &Path, filters: &Filters, out: &mut dyn Write) -> anyhow::Result<u8> {
        let to = self.out.as_deref().context("--evidence needs --out")?;
        let name = to.file_name().and_then(|name| name.to_str()).context("--out needs a name")?;
        let Some((stem, packing)) = archived(name) else { return Self::fill(to, (dir, filters), out) };
        // Beside the file, so that it takes its place by a rename: a pack is never half there under its name.
        let beside = to.with_file_name(format!(".{name}.{}", ids::random_base32(10)));
        fs::create_dir(&beside).with_context(|| beside.display().to_string())?;
        let packed = Self::pack_file(&beside, (stem, packing, to), (dir, filters), out);
        fs::remove_dir_all(&beside).with_context(|| beside.display().to_string())?;
        packed
    }

    fn pack_file(
        beside: &Path,
        (stem, packing, to): (&str, Packing, &Path),
        what: (&Path, &Filters),
        out: &mut dyn Write,
    ) -> anyhow::Result<u8> {
        anyhow::ensure!(!to.exists(), "{} is there already", to.display());
        let folder = beside.join(stem);
        let code = Self::fill(&folder, what, out)?;
        let whole = beside.join("whole");
        let mut file = BufWriter::new(fs::File::create_new(&whole)?);
        match packing {
            Packing::Tar => archive::write(&folder, stem, &mut file)?,
            Packing::Zstd => {
                let mut packed = zstd::Encoder::new(&mut file, 3)?;
                archive::write(&folder, stem, &mut packed)?;
                packed.finish()?;
            }
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&whole, to).with_context(|| to.display().to_string())?;
        writeln!(out, "as {}", to.display())?;
        Ok(code)
    }

    fn fill(to: &Path, (dir, filters): (&Path, &Filters), out: &mut dyn Write) -> anyhow::Result<u8> {
        index::catch_up(dir);
        let proofs = Proofs::open(dir)?.context("the log has no checkpoint yet")?;
        fs::create_dir(to).with_context(|| to.display().to_string())?;
        let report = log::verify(dir, &VerifyOptions::default())?;
        let packed = records(dir, filters, &proofs, to)?;
        consistency(dir, &proofs, to)?;
        policies(dir, &packed.policies, to)?;
        let mut page = BufWriter::new(fs::File::create_new(to.join("report.html"))?);
        Summary::of(dir, filters)?.html(&mut page)?;
        page.flush()?;
        fs::write(to.join("README.md"), instructions())?;
        fs::write(to.join("verify.py"), VERIFY)?;
        let manifest = json!({
            "made_at": Clock::System.now(),
            "made_by": person(),
            "filters": format!("{filters:?}"),
            "records": packed.count,
            "behind_the_checkpoint": packed.unproved,
            "checkpoint_size": proofs.checkpoint().size,
            "log": report,
        });
        fs::write(to.join("manifest.json"), serde_json::to_vec_pretty(&manifest)?)?;
        writeln!(out, "packed: {} records into {}", packed.count, to.display())?;
        if packed.unproved > 0 {
            writeln!(out, "{} newer records are not signed yet and were left out", packed.unproved)?;
        }
        Ok(if report.is_intact() { exit::DONE } else { exit::NO })
    }
}

/// How a file is packed.
#[derive(Clone, Copy)]
enum Packing {
    Tar,
    Zstd,
}

/// The folder's name in a file of this name; `None` where the name is a folder's.
fn archived(name: &str) -> Option<(&str, Packing)> {
    let tar = name.strip_suffix(".tar").map(|stem| (stem, Packing::Tar));
    tar.or_else(|| Some((name.strip_suffix(".tar.zst")?, Packing::Zstd))).filter(|(stem, _)| !stem.is_empty())
}

struct Packed {
    count: u64,
    unproved: u64,
    policies: BTreeSet<String>,
}

/// `records.jsonl` as the lines stand in the log, `proofs.jsonl` in the same order, `approvals.jsonl`.
fn records(dir: &Path, filters: &Filters, proofs: &Proofs, to: &Path) -> anyhow::Result<Packed> {
    let create = |name: &str| fs::File::create_new(to.join(name)).map(BufWriter::new);
    let (mut lines, mut paths, mut approvals) =
        (create("records.jsonl")?, create("proofs.jsonl")?, create("approvals.jsonl")?);
    let mut packed = Packed { count: 0, unproved: 0, policies: BTreeSet::new() };
    for record in log::query(dir, filters)? {
        let record = record?;
        let mut line = Vec::new();
        encode_line(&record, &mut line);
        // A line of another version may read back and not be the same bytes.
        let proof = match proofs.inclusion_of(record.seq, &line) {
            Ok(proof) => proof,
            Err(_) => proofs.inclusion(record.seq)?,
        };
        let Some(proof) = proof else {
            packed.unproved += 1;
            continue;
        };
        writeln!(lines, "{}", proof.line)?;
        serde_json::to_writer(
            &mut paths,
            &ProofLine { seq: record.seq, leaf_hash: &proof.leaf_hash, path: &proof.path },
        )?;
        writeln!(paths)?;
        if is_approval(&record) {
            writeln!(approvals, "{}", proof.line)?;
        }
        packed.count += 1;
        packed.policies.extend(Some(record.policy).filter(|policy| !policy.is_empty()));
    }
    for mut file in [lines, paths, approvals] {
        file.flush()?;
    }
    Ok(packed)
}

fn is_approval(record: &StatementRecord) -> bool {
    record.approval.is_some() || matches!(record.event, Event::Held | Event::Decided | Event::Released)
}

/// `checkpoint`, the older ones beside it, and the proofs that it goes on from each of them.
fn consistency(dir: &Path, proofs: &Proofs, to: &Path) -> anyhow::Result<()> {
    fs::write(to.join("checkpoint"), &proofs.checkpoint().note)?;
    let folder = to.join("checkpoints");
    fs::create_dir(&folder)?;
    let mut lines = BufWriter::new(fs::File::create_new(to.join("consistency.jsonl"))?);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|name| Path::new(name).extension().is_some_and(|end| end == "seal"))
        else {
            continue;
        };
        let note = fs::read_to_string(&path)?;
        let Some(kept) = proofs.kept(&note) else { continue };
        let Some(proof) = proofs.consistency(kept.size)? else { continue };
        fs::write(folder.join(name), note)?;
        serde_json::to_writer(&mut lines, &proof)?;
        writeln!(lines)?;
    }
    lines.flush()?;
    for name in ["signing.pub", "keys"] {
        if dir.join(name).exists() {
            fs::copy(dir.join(name), to.join(name))?;
        }
    }
    Ok(())
}

/// The texts of the policies that decided, by the hash that records carry.
fn policies(dir: &Path, named: &BTreeSet<String>, to: &Path) -> anyhow::Result<()> {
    let folder = to.join("policies");
    fs::create_dir(&folder)?;
    for sha256 in named {
        // A name that is no hash must not lead elsewhere.
        let is_hash = sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let text = log::policy_path(dir, sha256);
        if is_hash && text.exists() {
            let text = fs::read(text)?;
            let found = ids::hex(ring::digest::digest(&ring::digest::SHA256, &text).as_ref());
            anyhow::ensure!(found == *sha256, "the text of policy {sha256} was edited: its SHA-256 is {found}");
            fs::write(folder.join(sha256), text)?;
        }
    }
    Ok(())
}

fn instructions() -> String {
    format!(
        "# Evidence from a {NAME} log\n\n\
         | file | what |\n|---|---|\n\
         | `records.jsonl` | the records, a line each, byte for byte as in the log |\n\
         | `proofs.jsonl` | for each of them, in the same order, the path that proves it under `checkpoint` |\n\
         | `checkpoint` | how many records the log has and the root over them, signed |\n\
         | `checkpoints/`, `consistency.jsonl` | older signed checkpoints, and proofs that `checkpoint` goes on from each |\n\
         | `approvals.jsonl` | those of the records that tell of holds and of decisions of people |\n\
         | `policies/` | the rules that decided: each file's SHA-256 is its name and the `policy` of the records |\n\
         | `report.html` | statements, rows and approvals per principal and tag |\n\
         | `signing.pub`, `keys` | the log's public key, and how it followed earlier ones |\n\
         | `verify.py` | does what stands below, with Python 3.9 or newer and openssl 3 |\n\
         | `manifest.json` | what was asked for, when, by whom, and what `{NAME} log verify` said |\n\n\
         ## Checking it\n\n\
         `python3 verify.py --key KEPT.pub` does all of the following, and says `intact` or what is wrong. It is short enough \
         to be read first. By hand:\n\n\
         1. **The key.** Compare `signing.pub` with the copy that you got when the log was set up. A key proves nothing \
         that came together with what it signs.\n\
         2. **The checkpoint** is a C2SP signed note: line 1 names the log, line 2 is the number of records, line 3 the \
         root in base 64; the text up to and with the line end before the empty line is signed with Ed25519. The base-64 \
         text of the signature line holds four bytes of key id, then the signature. `signing.pub` is \
         `name+id+base64(0x01 || public key)`.\n\
         3. **Each record.** SHA-256 of a zero byte and the line without its line end is the leaf hash; with `seq` as index \
         and the hashes of `path`, any verifier of RFC 6962 inclusion proofs must come to the root of `checkpoint`.\n\
         4. **Nothing was rewritten.** Each line of `consistency.jsonl` is an RFC 6962 consistency proof from `old_size` and \
         `old_root` to `checkpoint`. Compare `old_size` and `old_root` with checkpoints that you kept yourself.\n\
         5. **Policies.** `sha256sum policies/*` prints each file's own name. A file holds, for each YAML file of the set, \
         its length in bytes in decimal digits, a zero byte, and its text.\n\n\
         Where the log itself can be reached: `{NAME} log verify --key KEPT.pub --checkpoint KEPT` checks all of it, and \
         `{NAME} log prove SEQ` gives one record's proof anew.\n\n\
         That a record is *missing* from this selection, proofs cannot show: the numbers of `records.jsonl` have gaps where \
         the filters left others out. Ask for the whole period where that matters: then they have none.\n"
    )
}
