//! The directory that holds all that the demo writes, and that goes with it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::ids::{NAME, random_base32};

/// Whether the directory outlives the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

/// A new directory of the system's directory for temporary files; removed when this is dropped.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    keep: Keep,
}

impl Home {
    pub(super) fn new(keep: Keep) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("{NAME}-demo-{}", random_base32(8)));
        // Others may pass through, as Postgres runs as another user where this program runs as root, and not look in.
        DirBuilder::new().mode(0o711).create(&path).with_context(|| path.display().to_string())?;
        let home = Self { path, keep };
        DirBuilder::new().mode(0o700).create(home.state())?;
        Ok(home)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The proxy's own directory: log, store, tokens.
    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Writes a file that only this user can read.
    pub(super) fn secret(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// Whether this program runs as root: who made the directory owns it.
    pub(super) fn is_roots(&self) -> anyhow::Result<bool> {
        Ok(fs::metadata(&self.path)?.uid() == 0)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.keep == Keep::Yes {
            eprintln!("kept: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} was not removed: {error}", self.path.display());
        }
    }
}
