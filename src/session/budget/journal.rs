//! The journal of budgets: a line a step, appended without waiting for the disk, rewritten when it has grown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::policy::Budget;

/// Lines after which the file is written anew, at least.
const LINES_MAX: usize = 50_000;

/// Rows that were taken out of a budget, or given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) principal: String,
    pub(super) tag: String,
    /// Seconds.
    pub(super) window: u64,
    pub(super) at: Timestamp,
    pub(super) rows: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) back: bool,
}

impl Step {
    pub(super) fn of(principal: &str, budget: &Budget, rows: u64, at: Timestamp) -> Self {
        let window = budget.window.as_secs();
        Self { principal: principal.to_owned(), tag: budget.tag.as_str().to_owned(), window, at, rows, back: false }
    }
}

/// The file; without one, nothing outlives the process.
#[derive(Debug, Default)]
pub(super) struct Journal {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: Arc<File>,
    lines: usize,
    /// Lines beyond which it is rewritten.
    lines_max: usize,
    /// Something was written since the last [`Journal::to_sync`].
    unsynced: bool,
}

impl Journal {
    /// Opens the file and reads its steps. A last line that was not written in full counts for nothing.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, Vec<Step>)> {
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut steps = Vec::new();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let step = serde_json::from_str(line);
            steps.push(step.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?);
        }
        let file = private(&path)?;
        let open = Open { path, file: Arc::new(file), lines: steps.len(), lines_max: LINES_MAX, unsynced: false };
        Ok((Self { open: Some(open) }, steps))
    }

    /// Appends a step. True: the file has grown, and should be rewritten.
    pub(super) fn append(&mut self, step: &Step) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        (&*open.file).write_all(&line(step)?)?;
        open.lines += 1;
        open.unsynced = true;
        Ok(open.lines > open.lines_max)
    }

    /// Puts another file in the place of this one, with the same sums in fewer lines.
    pub(super) fn rewrite(&mut self, steps: &[Step]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let beside = open.path.with_extension("new");
        if beside.exists() {
            fs::remove_file(&beside)?;
        }
        let file = private(&beside)?;
        let mut text = Vec::new();
        for step in steps {
            text.extend(line(step)?);
        }
        (&file).write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, &open.path)?;
        open.file = Arc::new(file);
        open.lines = steps.len();
        open.lines_max = LINES_MAX.max(steps.len() * 2);
        open.unsynced = false;
        Ok(())
    }

    /// The file, where something of it may not be on disk yet.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<File>> {
        let open = self.open.as_mut()?;
        std::mem::take(&mut open.unsynced).then(|| Arc::clone(&open.file))
    }

    #[cfg(test)]
    pub(super) fn fail_from_now_on(&mut self) {
        if let Some(open) = &mut self.open {
            open.file = Arc::new(File::open(&open.path).unwrap());
        }
    }
}

fn line(step: &Step) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(step)?;
    line.push(b'\n');
    Ok(line)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
