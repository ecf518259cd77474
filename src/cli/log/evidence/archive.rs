//! A folder as one tar file (POSIX.1-1988 `ustar`), which any tar unpacks; its members in order of their names.

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::Path;

/// Bytes of a tar block.
const BLOCK: usize = 512;
/// What the twelve-digit field of a size can hold.
const SIZE_MAX: u64 = 0o777_7777_7777;

/// Writes `folder` and all in it, under the name `root`.
///
/// # Errors
/// A file cannot be read, is longer than 8 GiB or has a name of more than 100 bytes; or `out` cannot be written.
pub(super) fn write(folder: &Path, root: &str, out: &mut dyn Write) -> io::Result<()> {
    directory(folder, root, out)?;
    // Two empty blocks are the end.
    out.write_all(&[0; 2 * BLOCK])
}

fn directory(folder: &Path, name: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&header(&format!("{name}/"), Member::Folder)?)?;
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let member = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            directory(&entry.path(), &member, out)?;
        } else {
            file(&entry.path(), &member, out)?;
        }
    }
    Ok(())
}

fn file(path: &Path, name: &str, out: &mut dyn Write) -> io::Result<()> {
    let file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    out.write_all(&header(name, Member::File(size))?)?;
    let copied = io::copy(&mut file.take(size), out)?;
    if copied != size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} became shorter")));
    }
    let filled = usize::try_from(size % 512).unwrap_or(0);
    out.write_all(&vec![0; (BLOCK - filled) % BLOCK])
}

#[derive(Clone, Copy)]
enum Member {
    Folder,
    File(u64),
}

fn header(name: &str, member: Member) -> io::Result<[u8; BLOCK]> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {why}"));
    let (kind, mode, size) = match member {
        Member::Folder => (b'5', 0o755, 0),
        Member::File(size) => (b'0', 0o644, size),
    };
    if size > SIZE_MAX {
        return Err(bad("too long for a tar file"));
    }
    if name.len() > 100 {
        return Err(bad("a name too long for a tar file"));
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = block.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    Ok(block)
}
