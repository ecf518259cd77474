//! Sealing a segment that is full: compress, sign, remove the plain file. Beside the writer, which goes on meanwhile.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{Context, SHA256};

use super::active::Position;
use super::checkpoint::Checkpoint;
use super::error::LogError;
use super::key::Signer;
use super::merkle::{Tree, leaf_hash};
use super::open::{create_private, sync_parent, write_atomic};
use super::seek::SeekTable;
use super::segment::{self, suffix};

/// How hard zstd tries. Lines repeat each other: on them its quickest level packs as well as its third, in less time.
const LEVEL: i32 = 1;

/// Bytes of plain text in one frame: as much must be unpacked to read one line. Smaller frames pack worse.
const FRAME: usize = 64 << 10;

/// Seals one segment at a time. A plain segment that could not be sealed is whole and stays; the next start tries again.
pub(super) struct Sealer {
    dir: PathBuf,
    signer: Arc<Signer>,
    running: Option<JoinHandle<()>>,
}

impl Sealer {
    pub(super) fn new(dir: PathBuf, signer: Arc<Signer>) -> Self {
        Self { dir, signer, running: None }
    }

    /// Seals are signed with this key from here on.
    pub(super) fn sign_with(&mut self, signer: Arc<Signer>) {
        self.signer = signer;
    }

    /// Starts sealing the segments that end here, in order; waits for those that were started before.
    pub(super) fn start(&mut self, ends: Vec<Position>) {
        self.finish();
        if ends.is_empty() {
            return;
        }
        let (dir, signer) = (self.dir.clone(), Arc::clone(&self.signer));
        let seal_all = move || {
            for end in ends {
                if let Err(error) = seal(&dir, &signer, &end) {
                    tracing::warn!(segment = end.number, %error, "a log segment could not be sealed; it stays plain until the next start");
                    return;
                }
            }
        };
        match std::thread::Builder::new().name("log-seal".to_owned()).spawn(seal_all) {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                tracing::warn!(%error, "no thread to seal a log segment; it stays plain until the next start");
            }
        }
    }

    /// Waits for what was started.
    pub(super) fn finish(&mut self) {
        if self.running.take().is_some_and(|running| running.join().is_err()) {
            tracing::error!("sealing a log segment panicked; it stays plain until the next start");
        }
    }
}

/// The plain file goes last, so that at any moment one whole copy is there.
fn seal(dir: &std::path::Path, signer: &Signer, end: &Position) -> Result<(), LogError> {
    let plain = segment::path(dir, end.number, suffix::PLAIN);
    let sealed = segment::path(dir, end.number, suffix::SEALED);
    if plain.exists() {
        compress(&plain, &sealed, end).map_err(LogError::io("seal", &plain))?;
    }
    let sha256 = sha256_of(&sealed).map_err(LogError::io("read", &sealed))?;
    let frontier: Vec<_> = end.tree.frontier().iter().map(|hash| BASE64.encode(hash)).collect();
    let extensions = vec![
        format!("sha256 {sha256} {:08}.{}", end.number, suffix::SEALED),
        format!("first {}", end.first),
        format!("bytes {}", end.bytes),
        format!("frontier {}", frontier.join(" ")),
    ];
    let note = Checkpoint::sign(signer, &end.tree, extensions).note;
    let hashes = segment::path(dir, end.number, suffix::HASHES);
    fs::File::open(&hashes).and_then(|file| file.sync_all()).map_err(LogError::io("sync", &hashes))?;
    write_atomic(&segment::path(dir, end.number, suffix::SEAL), note.as_bytes())?;
    match fs::remove_file(&plain).and_then(|()| sync_parent(&plain)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", &plain)(error)),
        _ => Ok(()),
    }
}

/// Frames that can be unpacked alone, with a table of them at the end. Any zstd reads it as one file.
///
/// The lines are compared with what was signed on the way: a seal vouches for them.
fn compress(plain: &std::path::Path, sealed: &std::path::Path, end: &Position) -> io::Result<()> {
    let temporary = sealed.with_extension("zst.new");
    let mut packer = zstd::bulk::Compressor::new(LEVEL)?;
    packer.set_parameter(zstd::stream::raw::CParameter::ChecksumFlag(true))?;
    let (mut from, mut to) = (fs::File::open(plain)?, create_private(&temporary)?);
    let (mut text, mut table) = (Vec::with_capacity(FRAME), SeekTable::default());
    let (mut tree, mut begun) = (Tree::clone(&end.base), Vec::new());
    loop {
        text.clear();
        let length = u64::try_from(FRAME).unwrap_or(u64::MAX);
        if io::Read::by_ref(&mut from).take(length).read_to_end(&mut text)? == 0 {
            break;
        }
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(piece);
            if begun.pop_if(|byte| *byte == b'\n').is_some() {
                tree.push(leaf_hash(&begun));
                begun.clear();
            }
        }
        let frame = packer.compress(&text)?;
        to.write_all(&frame)?;
        table.push(frame.len(), text.len())?;
    }
    if tree != end.tree || !begun.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its lines are not those that were signed"));
    }
    to.write_all(&table.encode()?)?;
    to.sync_all()?;
    fs::rename(&temporary, sealed)?;
    sync_parent(sealed)
}

/// SHA-256 of a file's bytes, base 64.
pub(super) fn sha256_of(path: &std::path::Path) -> io::Result<String> {
    struct Digest(Context);
    impl io::Write for Digest {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut digest = Digest(Context::new(&SHA256));
    io::copy(&mut fs::File::open(path)?, &mut digest)?;
    Ok(BASE64.encode(digest.0.finish()))
}
