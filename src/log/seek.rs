//! The table at the end of a sealed segment by which a reader finds the frame that holds a byte of its plain text.
//!
//! The form is zstd's own "seekable format" (version 0.1.0): a skippable frame, which every zstd passes over.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// Magic number of the skippable frame.
const SKIPPABLE: u32 = 0x184D_2A5E;
/// Magic number of the table's footer.
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Number of frames, descriptor, magic number.
const FOOTER: usize = 9;
/// Packed and plain size of one frame.
const ENTRY: usize = 8;

/// Packed and plain sizes of the frames of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SeekTable(Vec<(u32, u32)>);

impl SeekTable {
    /// A frame was written.
    pub(super) fn push(&mut self, packed: usize, plain: usize) -> io::Result<()> {
        self.0.push((small(packed)?, small(plain)?));
        Ok(())
    }

    /// The skippable frame.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut frame = SKIPPABLE.to_le_bytes().to_vec();
        frame.extend(small(self.0.len() * ENTRY + FOOTER)?.to_le_bytes());
        for (packed, plain) in &self.0 {
            frame.extend(packed.to_le_bytes());
            frame.extend(plain.to_le_bytes());
        }
        frame.extend(small(self.0.len())?.to_le_bytes());
        // No checksums of frames in the table: each frame carries its own.
        frame.push(0);
        frame.extend(SEEKABLE.to_le_bytes());
        Ok(frame)
    }

    /// The table of a file; `None` where it ends in none.
    pub(super) fn read(file: &mut fs::File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let footer_at = length.saturating_sub(bytes(FOOTER));
        let Some((count, rest)) = read_at::<FOOTER>(file, footer_at)?.split_first_chunk::<4>().map(split) else {
            return Ok(None);
        };
        if rest != [&[0], SEEKABLE.to_le_bytes().as_slice()].concat() {
            return Ok(None);
        }
        let size = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(ENTRY);
        let Some(at) = footer_at.checked_sub(bytes(size)) else { return Ok(None) };
        file.seek(SeekFrom::Start(at))?;
        let mut table = Vec::new();
        file.by_ref().take(bytes(size)).read_to_end(&mut table)?;
        let (entries, _) = table.as_chunks::<ENTRY>();
        let entry = |entry: &[u8; ENTRY]| {
            let (packed, plain) = entry.split_first_chunk::<4>()?;
            Some((u32::from_le_bytes(*packed), u32::from_le_bytes(*plain.first_chunk()?)))
        };
        Ok(entries.iter().map(entry).collect::<Option<_>>().map(Self))
    }

    /// Where in the file the frame begins that holds byte `offset` of the plain text, and where that frame's text begins.
    pub(super) fn frame_of(&self, offset: u64) -> (u64, u64) {
        let (mut at, mut text) = (0, 0);
        for (packed, plain) in &self.0 {
            if text + u64::from(*plain) > offset {
                break;
            }
            at += u64::from(*packed);
            text += u64::from(*plain);
        }
        (at, text)
    }
}

fn split<'a>((count, rest): (&'a [u8; 4], &'a [u8])) -> (u32, Vec<u8>) {
    (u32::from_le_bytes(*count), rest.to_vec())
}

fn read_at<const N: usize>(file: &mut fs::File, at: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut found = Vec::with_capacity(N);
    file.by_ref().take(bytes(N)).read_to_end(&mut found)?;
    Ok(found)
}

fn small(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too long for one frame"))
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_back_from_the_end_of_its_file_and_finds_each_byte() {
        let path = tempfile::tempdir().unwrap().keep().join("sealed");
        let mut table = SeekTable::default();
        table.push(10, 100).unwrap();
        table.push(20, 50).unwrap();
        fs::write(&path, [vec![7; 30], table.encode().unwrap()].concat()).unwrap();
        let found = SeekTable::read(&mut fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(found, Some(table.clone()));
        assert_eq!(
            [table.frame_of(0), table.frame_of(99), table.frame_of(100), table.frame_of(149)],
            [(0, 0), (0, 0), (10, 100), (10, 100)]
        );
        fs::write(&path, b"no table").unwrap();
        assert_eq!(SeekTable::read(&mut fs::File::open(&path).unwrap()).unwrap(), None);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
