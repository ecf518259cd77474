//! The few things that the writer asks of a disk, so that tests can let each of them fail.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file that only grows, and is cut back only to what is known to be durable.
pub trait File: Send {
    /// Writes all of `bytes` behind the end. After an error any part of them may be there.
    ///
    /// # Errors
    /// What the system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was appended durable (`fdatasync`).
    ///
    /// # Errors
    /// What the system says. What was appended since the last success may then be lost, whatever a later call says.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `length` bytes, durably.
    ///
    /// # Errors
    /// What the system says; the file is shorter.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Where such files are.
pub trait Disk: std::fmt::Debug + Send + Sync {
    /// Opens a file, which need not be there.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
}

/// The mode of every file of the log.
pub(super) const PRIVATE: u32 = 0o600;

/// The operating system's file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().append(true).create(true).mode(PRIVATE).open(path)?;
        Ok(Box::new(OsFile(file, path.to_path_buf())))
    }
}

struct OsFile(fs::File, PathBuf);

impl File for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Writes into a file that is not found under its name succeed, and nobody will ever read them.
        let (open, named) = (self.0.metadata()?, fs::metadata(&self.1)?);
        if (open.dev(), open.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was replaced"));
        }
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.0.metadata()?.len() < length {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is shorter than what was written to it"));
        }
        self.0.set_len(length)?;
        self.0.sync_all()
    }
}
