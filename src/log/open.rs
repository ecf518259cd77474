//! What a log directory holds at start: checked against its newest checkpoint, with the end that a crash may have torn.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::active::{CHECKPOINTS, Position};
use super::checkpoint::{Checkpoint, split_notes};
use super::disk::PRIVATE;
use super::error::LogError;
use super::key::{Signer, Verifier};
use super::merkle::{Hash, Tree, leaf_hash};
use super::retire;
use super::segment::{self, Lines, Segment, suffix};
use crate::lineage;

/// What was found.
pub(super) struct Opened {
    /// The end of the last whole, well-formed line.
    pub position: Position,
    /// Bytes behind `position`: torn by a crash, never acknowledged.
    pub dropped: u64,
    /// Ends of earlier segments that were not sealed yet.
    pub unsealed: Vec<Position>,
}

/// Reads what is not sealed and checks it; a new directory gets its first checkpoint, over nothing.
pub(super) fn open(dir: &Path, signer: &Signer) -> Result<Opened, LogError> {
    let segments = segment::list(dir).map_err(LogError::io("list", dir))?;
    check_numbers(dir, &segments, signer.verifier())?;
    let path = dir.join(CHECKPOINTS);
    if segments.is_empty() && !path.exists() {
        let nothing = Checkpoint::sign(signer, &Tree::default(), Vec::new());
        write_atomic(&path, nothing.note.as_bytes())?;
    }
    let sealed = newest_seal(dir, &segments, signer.verifier())?;
    let newest = read_newest_checkpoint(&path, signer.verifier())?;
    let start = sealed.as_ref().map_or_else(Position::default, Position::following);
    let anchor = match &sealed {
        Some(end) if end.tree.size() > newest.size => (end.tree.size(), end.tree.root()),
        _ => (newest.size, newest.root),
    };
    let mut scan = Scan { dir, anchor, position: start, dropped: 0, unsealed: Vec::new() };
    scan.check_root()?;
    let open: Vec<_> = segments.into_iter().filter(|segment| segment.number >= scan.position.number).collect();
    for (index, segment) in open.iter().enumerate() {
        let is_last = index + 1 == open.len();
        scan.segment(segment, is_last)?;
    }
    let (position, dropped, unsealed) = (scan.position, scan.dropped, scan.unsealed);
    if position.tree.size() < anchor.0 {
        let what = format!("its last checkpoint covers {} lines, {} are there", anchor.0, position.tree.size());
        return Err(LogError::NotIntact { what });
    }
    Ok(Opened { position, dropped, unsealed })
}

struct Scan<'a> {
    dir: &'a Path,
    /// Size and root that the newest checkpoint signs.
    anchor: (u64, Hash),
    position: Position,
    dropped: u64,
    unsealed: Vec<Position>,
}

impl Scan<'_> {
    fn segment(&mut self, segment: &Segment, is_last: bool) -> Result<(), LogError> {
        if self.position.number < segment.number {
            self.unsealed.push(self.position.clone());
            self.position = self.position.following();
        }
        let mut hashes = Vec::new();
        let mut lines = Lines::open(segment).map_err(LogError::io("open", &segment.path))?;
        while let Some(line) = lines.next().map_err(LogError::io("read", &segment.path))? {
            if self.position.tree.size() >= self.anchor.0 && !self.is_next(line) {
                break;
            }
            let leaf = leaf_hash(line);
            hashes.extend_from_slice(&leaf);
            self.position.tree.push(leaf);
            self.position.bytes += u64::try_from(line.len()).unwrap_or(u64::MAX) + 1;
            self.check_root()?;
        }
        self.drop_torn(segment, is_last)?;
        self.keep_hashes(segment.number, &hashes)
    }

    /// Behind the newest checkpoint only the form of a line says whether it was written whole.
    fn is_next(&self, line: &[u8]) -> bool {
        lineage::decode_line(line).is_ok_and(|record| record.seq == self.position.tree.size())
    }

    fn check_root(&self) -> Result<(), LogError> {
        let (size, root) = self.anchor;
        if self.position.tree.size() == size && self.position.tree.root() != root {
            let what =
                format!("lines up to seq {} are not those that its last checkpoint signs", size.saturating_sub(1));
            return Err(LogError::NotIntact { what });
        }
        Ok(())
    }

    fn drop_torn(&mut self, segment: &Segment, is_last: bool) -> Result<(), LogError> {
        if segment.sealed {
            return Ok(());
        }
        let length = fs::metadata(&segment.path).map_err(LogError::io("read", &segment.path))?.len();
        let torn = length.saturating_sub(self.position.bytes);
        if torn > 0 && (!is_last || self.position.tree.size() < self.anchor.0) {
            let what = format!("{} holds {torn} bytes that are no lines of its own", segment.path.display());
            return Err(LogError::NotIntact { what });
        }
        self.dropped = torn;
        Ok(())
    }

    /// The hashes are derived from the lines, which the checkpoint vouches for: where a crash tore them they are written anew.
    fn keep_hashes(&self, number: u32, hashes: &[u8]) -> Result<(), LogError> {
        let path = segment::path(self.dir, number, suffix::HASHES);
        if fs::read(&path).is_ok_and(|found| found == hashes) {
            return Ok(());
        }
        write_atomic(&path, hashes)
    }
}

/// No number is missing, but for segments that were retired at the beginning.
fn check_numbers(dir: &Path, segments: &[Segment], verifier: &Verifier) -> Result<(), LogError> {
    let first = segments.first().map_or(0, |segment| segment.number);
    let kept = (0..first).find(|number| retire::retired(dir, *number, verifier).is_none()).unwrap_or(first);
    for (expected, segment) in (kept..).zip(segments) {
        if segment.number != expected {
            return Err(LogError::NotIntact { what: format!("segment {expected:08} is missing") });
        }
    }
    Ok(())
}

/// The end of the last segment up to which all are sealed.
fn newest_seal(dir: &Path, segments: &[Segment], verifier: &Verifier) -> Result<Option<Position>, LogError> {
    let mut newest = None;
    for segment in segments {
        let path = segment::path(dir, segment.number, suffix::SEAL);
        match fs::read_to_string(&path) {
            Ok(note) => newest = Some((segment.number, path, note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(LogError::io("read", &path)(error)),
        }
    }
    let Some((number, path, note)) = newest else { return Ok(None) };
    let end = Checkpoint::parse(&note, verifier).and_then(|seal| position_of(number, &seal));
    let what = format!("{} is no seal that this log's key signed", path.display());
    end.map(Some).ok_or(LogError::NotIntact { what })
}

pub(super) fn position_of(number: u32, seal: &Checkpoint) -> Option<Position> {
    let first = seal.extension("first")?.next()?.parse().ok()?;
    let bytes = seal.extension("bytes")?.next()?.parse().ok()?;
    let frontier: Option<Vec<Hash>> =
        seal.extension("frontier")?.map(|hash| BASE64.decode(hash).ok()?.try_into().ok()).collect();
    let tree = Tree::from_frontier(seal.size, frontier?).filter(|tree| tree.root() == seal.root)?;
    Some(Position { number, bytes, first, base: Arc::default(), tree })
}

/// The newest checkpoint's note.
///
/// # Errors
/// The file cannot be read or ends in none of this log.
pub fn newest_checkpoint(dir: &Path) -> Result<String, LogError> {
    read_newest_checkpoint(&dir.join(CHECKPOINTS), &Verifier::of(dir)?).map(|checkpoint| checkpoint.note)
}

fn read_newest_checkpoint(path: &Path, verifier: &Verifier) -> Result<Checkpoint, LogError> {
    let text = fs::read(path).map_err(LogError::io("read", path))?;
    let text = String::from_utf8_lossy(&text);
    let (notes, _torn) = split_notes(&text);
    let newest = notes.last().and_then(|note| Checkpoint::parse(note, verifier));
    newest.ok_or_else(|| LogError::NotIntact {
        what: format!("{} ends in no checkpoint that this log's key signed", path.display()),
    })
}

/// Replaces a file, so that a crash leaves the old one or the new one.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let write = || {
        let mut file = create_private(Path::new(&temporary))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(LogError::io("write", path))
}

/// Makes or empties a file that its owner alone reads, whatever the directory allows: a log tells who did what.
pub(super) fn create_private(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(path)
}

/// Makes new and removed names in the file's directory durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
