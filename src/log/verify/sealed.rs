//! Sealed segments that need not be unpacked: their bytes are those that were sealed, their hashes lead to the signed root.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Signed, follow};
use crate::log::checkpoint::Checkpoint;
use crate::log::merkle::Tree;
use crate::log::open::position_of;
use crate::log::seal::sha256_of;
use crate::log::segment::{self, Segment, suffix};

/// The segments that fit, each with the number of its first record. Uses all processors.
pub(super) fn fitting(
    dir: &Path,
    segments: &[Segment],
    seals: &BTreeMap<u32, Checkpoint>,
    roots: &BTreeMap<u64, Signed>,
) -> BTreeMap<u32, u64> {
    let (next, fitting) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(segment) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(first) = first_of(dir, segment, seals, roots) {
                fitting.lock().unwrap_or_else(PoisonError::into_inner).insert(segment.number, first);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    fitting.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The SHA-256 that a seal signs.
pub(super) fn sha256(seal: &Checkpoint) -> Option<String> {
    seal.extension("sha256")?.next().map(str::to_owned)
}

fn first_of(
    dir: &Path,
    segment: &Segment,
    seals: &BTreeMap<u32, Checkpoint>,
    roots: &BTreeMap<u64, Signed>,
) -> Option<u64> {
    let seal = seals.get(&segment.number).filter(|_| segment.sealed)?;
    let end = position_of(segment.number, seal)?;
    let mut tree = match segment.number.checked_sub(1) {
        Some(before) => position_of(before, seals.get(&before)?)?.tree,
        None => Tree::default(),
    };
    let first = tree.size();
    let noted = fs::read(segment::path(dir, segment.number, suffix::HASHES)).ok()?;
    let (leaves, rest) = noted.as_chunks::<32>();
    let followed = follow(&mut tree, leaves, roots);
    let names = seal.extension("sha256")?.nth(1)? == format!("{:08}.{}", segment.number, suffix::SEALED);
    let fits = names
        && rest.is_empty()
        && end.first == first
        && followed.bad.is_none()
        && followed.forked.is_empty()
        && tree == end.tree
        && sha256_of(&segment.path).ok() == sha256(seal);
    fits.then_some(first)
}
