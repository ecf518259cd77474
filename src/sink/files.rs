//! What a sink keeps: how far it has come, and what its receiver refused.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::SinkError;

/// Dead letters are kept up to so many bytes; then the sink waits for somebody to look at them.
const DEAD_MAX: u64 = 64 << 20;

/// The files of one sink.
#[derive(Clone, Debug)]
pub(super) struct Files {
    position: PathBuf,
    dead: PathBuf,
}

impl Files {
    /// In `dir`, which is made where it is not there; with the `seq` of the record that is to be sent next.
    pub(super) fn open(dir: &Path, name: &str) -> Result<(Self, u64), SinkError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| SinkError::File { path: dir.to_path_buf(), source })?;
        let files =
            Self { position: dir.join(format!("{name}.position")), dead: dir.join(format!("{name}.dead.jsonl")) };
        let next = match fs::read_to_string(&files.position) {
            Ok(text) => text.trim().parse().map_err(|_| SinkError::Position(files.position.clone()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(SinkError::File { path: files.position, source }),
        };
        Ok((files, next))
    }

    /// Notes that all before `next` is sent.
    pub(super) fn save(&self, next: u64) -> io::Result<()> {
        let temporary = self.position.with_extension("position.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(format!("{next}\n").as_bytes())?;
        file.sync_data()?;
        fs::rename(&temporary, &self.position)
    }

    /// Keeps an event that the receiver refused, with its answer.
    pub(super) fn bury(&self, seq: u64, why: &str, event: &Value) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.dead)?;
        if file.metadata()?.len() >= DEAD_MAX {
            let full = format!("{} is full: look at it and move it away", self.dead.display());
            return Err(io::Error::new(io::ErrorKind::StorageFull, full));
        }
        let mut line = json!({ "seq": seq, "refused": why, "event": event }).to_string();
        line.push('\n');
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }
}
