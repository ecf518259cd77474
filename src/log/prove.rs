//! One record with the proof that a checkpoint covers it, so that it can be shown without the others.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::active::CHECKPOINTS;
use super::checkpoint::{Checkpoint, split_notes};
use super::error::LogError;
use super::key::Verifier;
use super::merkle::{inclusion_proof, leaf_hash, root_of_proof};
use super::segment::{self, Lines};

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

/// Proves record `seq` under the newest checkpoint; `None` where that does not cover it.
///
/// # Errors
/// Files that cannot be read; a log that is not what the checkpoint signs.
pub fn prove(dir: &Path, seq: u64) -> Result<Option<Proof>, LogError> {
    let verifier = Verifier::of(dir)?;
    let path = dir.join(CHECKPOINTS);
    let text = fs::read_to_string(&path).map_err(LogError::io("read", &path))?;
    let newest = split_notes(&text).0.last().and_then(|note| Checkpoint::parse(note, &verifier));
    let Some(checkpoint) = newest.filter(|checkpoint| seq < checkpoint.size) else { return Ok(None) };
    let (mut leaves, mut line) = (Vec::new(), Vec::new());
    for segment in segment::list(dir).map_err(LogError::io("list", dir))? {
        let mut lines = Lines::open(&segment).map_err(LogError::io("open", &segment.path))?;
        while let Some(found) = lines.next().map_err(LogError::io("read", &segment.path))? {
            if u64::try_from(leaves.len()).is_ok_and(|at| at == seq) {
                found.clone_into(&mut line);
            }
            leaves.push(leaf_hash(found));
        }
    }
    leaves.truncate(usize::try_from(checkpoint.size).unwrap_or(usize::MAX));
    let leaf = leaf_hash(&line);
    let proof = usize::try_from(seq).ok().and_then(|index| inclusion_proof(&leaves, index)).unwrap_or_default();
    if root_of_proof(leaf, seq, checkpoint.size, &proof) != Some(checkpoint.root) {
        return Err(LogError::NotIntact {
            what: format!("its lines do not lead to the root over {} lines", checkpoint.size),
        });
    }
    Ok(Some(Proof {
        seq,
        line: String::from_utf8_lossy(&line).into_owned(),
        leaf_hash: BASE64.encode(leaf),
        size: checkpoint.size,
        path: proof.iter().map(|hash| BASE64.encode(hash)).collect(),
        checkpoint: checkpoint.note,
        key: verifier.to_string().trim_end().to_owned(),
    }))
}
