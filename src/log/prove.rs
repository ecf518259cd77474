//! Proofs for those who have not the log: that a checkpoint covers a record, and that one checkpoint goes on from another.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::active::CHECKPOINTS;
use super::checkpoint::{Checkpoint, split_notes};
use super::error::LogError;
use super::key::Verifier;
use super::merkle::{Hash, Leaves, is_consistent, leaf_hash, root_of_proof};
use super::open::position_of;
use super::read::{Place, Records};
use super::segment::{self, Lines, suffix};

/// An inclusion proof of RFC 6962 §2.1.1. Hashes are base 64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The record's number: the leaf's index.
    pub seq: u64,
    /// The line, byte for byte.
    pub line: String,
    /// SHA-256(0x00 ‖ line).
    pub leaf_hash: String,
    /// How many lines the checkpoint covers: the tree's size.
    pub size: u64,
    /// The audit path, from the leaf upward.
    pub path: Vec<String>,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The verifier key of its signature.
    pub key: String,
}

impl Proof {
    /// The proof as one note (<https://c2sp.org/tlog-proof>), without the line itself.
    #[must_use]
    pub fn note(&self) -> String {
        let mut lines = vec!["c2sp.org/tlog-proof@v1".to_owned(), format!("index {}", self.seq)];
        lines.extend(self.path.iter().map(ToString::to_string));
        format!("{}\n\n{}", lines.join("\n"), self.checkpoint)
    }
}

/// A consistency proof of RFC 6962 §2.1.2. Hashes are base 64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consistency {
    /// How many lines the older tree has.
    pub old_size: u64,
    /// Its root.
    pub old_root: String,
    /// How many lines the newer tree has.
    pub new_size: u64,
    /// Its root, which the checkpoint signs.
    pub new_root: String,
    /// The proof.
    pub path: Vec<String>,
    /// The newer tree's signed checkpoint.
    pub checkpoint: String,
    /// The verifier key of its signature.
    pub key: String,
}

/// What proofs are made of: the leaves under the newest checkpoint, read once.
pub struct Proofs {
    dir: std::path::PathBuf,
    verifier: Verifier,
    checkpoint: Checkpoint,
    leaves: Leaves,
    /// Each segment's number and the number of its first record.
    firsts: Vec<(u32, u64)>,
}

impl Proofs {
    /// Reads the log in `dir`; `None` where it has no checkpoint yet.
    ///
    /// # Errors
    /// Files that cannot be read; a log that is not what its newest checkpoint signs.
    pub fn open(dir: &Path) -> Result<Option<Self>, LogError> {
        let verifier = Verifier::of(dir)?;
        let path = dir.join(CHECKPOINTS);
        let text = fs::read_to_string(&path).map_err(LogError::io("read", &path))?;
        let newest = split_notes(&text).0.last().and_then(|note| Checkpoint::parse(note, &verifier));
        let Some(checkpoint) = newest else { return Ok(None) };
        // The noted hashes are quicker read; where they are not those of the lines, the root tells.
        for source in [Source::Noted, Source::Lines] {
            let (leaves, firsts) = read_leaves(dir, &verifier, source)?;
            if leaves.size() >= checkpoint.size && leaves.root(checkpoint.size) == Some(checkpoint.root) {
                return Ok(Some(Self { dir: dir.to_path_buf(), verifier, checkpoint, leaves, firsts }));
            }
        }
        let what = format!("its lines do not lead to the root over {} lines", checkpoint.size);
        Err(LogError::NotIntact { what })
    }

    /// The newest checkpoint: what the proofs are under.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Proves record `seq`; `None` where the checkpoint does not cover it, or it is not in the log any more.
    ///
    /// # Errors
    /// Files that cannot be read; a line that is not the one that was signed.
    pub fn inclusion(&self, seq: u64) -> Result<Option<Proof>, LogError> {
        let Some(line) = self.line(seq)? else { return Ok(None) };
        self.inclusion_of(seq, &line)
    }

    /// The same for a line that was read already.
    ///
    /// # Errors
    /// It is not the one that was signed.
    pub fn inclusion_of(&self, seq: u64, line: &[u8]) -> Result<Option<Proof>, LogError> {
        let size = self.checkpoint.size;
        let Some(path) = self.leaves.inclusion_proof(seq, size) else { return Ok(None) };
        let leaf = leaf_hash(line);
        if root_of_proof(leaf, seq, size, &path) != Some(self.checkpoint.root) {
            return Err(LogError::NotIntact { what: format!("record {seq} is not the one that was signed") });
        }
        Ok(Some(Proof {
            seq,
            line: String::from_utf8_lossy(line).into_owned(),
            leaf_hash: BASE64.encode(leaf),
            size,
            path: encoded(&path),
            checkpoint: self.checkpoint.note.clone(),
            key: self.verifier.to_string().trim_end().to_owned(),
        }))
    }

    /// Proves that the newest checkpoint goes on from the first `old` lines; `None` where it does not cover so many, or
    /// too many of them are not in the log any more.
    ///
    /// # Errors
    /// Never where the log was intact when it was opened.
    pub fn consistency(&self, old: u64) -> Result<Option<Consistency>, LogError> {
        let (size, root) = (self.checkpoint.size, self.checkpoint.root);
        let (Some(path), Some(old_root)) = (self.leaves.consistency_proof(old, size), self.leaves.root(old)) else {
            return Ok(None);
        };
        if !is_consistent((old, old_root), (size, root), &path) {
            return Err(LogError::NotIntact { what: format!("its first {old} lines do not lead to the newest root") });
        }
        Ok(Some(Consistency {
            old_size: old,
            old_root: BASE64.encode(old_root),
            new_size: size,
            new_root: BASE64.encode(root),
            path: encoded(&path),
            checkpoint: self.checkpoint.note.clone(),
            key: self.verifier.to_string().trim_end().to_owned(),
        }))
    }

    /// A checkpoint that was kept elsewhere, where one of this log's keys signed it.
    #[must_use]
    pub fn kept(&self, text: &str) -> Option<Checkpoint> {
        split_notes(text).0.last().and_then(|note| Checkpoint::parse(note, &self.verifier))
    }

    fn line(&self, seq: u64) -> Result<Option<Vec<u8>>, LogError> {
        let Some((segment, first)) = self.firsts.iter().rev().find(|(_, first)| *first <= seq) else { return Ok(None) };
        let mut records = Records::behind(&self.dir, Place { segment: *segment, ..Place::default() });
        for _ in *first..seq {
            if records.next_line()?.is_none() {
                return Ok(None);
            }
        }
        records.next_line()
    }
}

fn encoded(path: &[Hash]) -> Vec<String> {
    path.iter().map(|hash| BASE64.encode(hash)).collect()
}

/// Where leaf hashes come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Noted,
    Lines,
}

fn read_leaves(dir: &Path, verifier: &Verifier, source: Source) -> Result<(Leaves, Vec<(u32, u64)>), LogError> {
    let segments = segment::list(dir).map_err(LogError::io("list", dir))?;
    let head = segments.first().and_then(|first| {
        let seal = fs::read_to_string(segment::path(dir, first.number.checked_sub(1)?, suffix::SEAL)).ok()?;
        Some(position_of(first.number - 1, &Checkpoint::parse(&seal, verifier)?)?.tree)
    });
    let (mut leaves, mut firsts) = (Leaves::behind(head.unwrap_or_default(), Vec::new()), Vec::new());
    for segment in segments {
        firsts.push((segment.number, leaves.size()));
        let noted = fs::read(segment::path(dir, segment.number, suffix::HASHES)).unwrap_or_default();
        if source == Source::Noted {
            noted.as_chunks::<32>().0.iter().for_each(|leaf| leaves.push(*leaf));
            continue;
        }
        let mut lines = Lines::open(&segment).map_err(LogError::io("open", &segment.path))?;
        while let Some(line) = lines.next().map_err(LogError::io("read", &segment.path))? {
            leaves.push(leaf_hash(line));
        }
    }
    Ok((leaves, firsts))
}

#[cfg(test)]
mod tests;
