//! Segments: their names, the list of them, and their lines, plain or sealed.

use std::fs;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::seek::SeekTable;

/// No line is longer; a statement's text is cut long before.
const LINE_MAX: u64 = 64 << 20;

/// One segment of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// Its number, from 0, without gaps.
    pub number: u32,
    /// The file that readers use: the plain one as long as it is there.
    pub path: PathBuf,
    /// Whether that file is compressed.
    pub sealed: bool,
}

/// The suffixes of the files that belong to a segment.
pub(super) mod suffix {
    pub(in crate::log) const PLAIN: &str = "jsonl";
    pub(in crate::log) const SEALED: &str = "jsonl.zst";
    pub(in crate::log) const HASHES: &str = "hashes";
    pub(in crate::log) const SEAL: &str = "seal";
}

/// The path of one of a segment's files.
pub(super) fn path(dir: &Path, number: u32, suffix: &str) -> PathBuf {
    dir.join(format!("{number:08}.{suffix}"))
}

/// All segments, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments: Vec<Segment> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some((number, suffix)) = path.file_name().and_then(|name| parse(name.to_str()?)) else { continue };
        let sealed = suffix == suffix::SEALED;
        if sealed || suffix == suffix::PLAIN {
            segments.push(Segment { number, path, sealed });
        }
    }
    segments.sort_by_key(|segment| (segment.number, segment.sealed));
    segments.dedup_by_key(|segment| segment.number);
    Ok(segments)
}

fn parse(name: &str) -> Option<(u32, &str)> {
    let (number, suffix) = name.split_once('.')?;
    let digits = number.len() == 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some((number.parse().ok()?, suffix))
}

/// The lines of a segment.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    /// Bytes of whole lines that were read, line ends included.
    pub bytes: u64,
    /// Bytes behind the last line end, once all lines were read.
    pub torn: u64,
}

impl Lines {
    /// Opens a segment; where it was sealed since it was listed, the sealed file.
    pub(super) fn open(segment: &Segment) -> io::Result<Self> {
        match fs::File::open(&segment.path) {
            Ok(file) if segment.sealed => Self::sealed(file),
            Ok(file) => Ok(Self::new(Box::new(BufReader::with_capacity(1 << 16, file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.sealed => {
                Self::sealed(fs::File::open(segment.path.with_extension(suffix::SEALED))?)
            }
            Err(error) => Err(error),
        }
    }

    /// The same from a byte of the plain text on, which must begin a line.
    pub(super) fn open_at(segment: &Segment, offset: u64) -> io::Result<Self> {
        let (mut lines, skip) = match fs::File::open(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.sealed => {
                Self::sealed_at(fs::File::open(segment.path.with_extension(suffix::SEALED))?, offset)?
            }
            file if segment.sealed => Self::sealed_at(file?, offset)?,
            file => {
                let mut file = file?;
                let start = file.seek(SeekFrom::Start(offset.min(file.metadata()?.len())))?;
                (Self::new(Box::new(BufReader::with_capacity(1 << 16, file))), offset - start)
            }
        };
        if io::copy(&mut lines.reader.by_ref().take(skip), &mut io::sink())? < skip {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the segment is shorter than it was"));
        }
        Ok(lines)
    }

    /// Lines from the frame on that holds the byte, and how many bytes of its text come before.
    fn sealed_at(mut file: fs::File, offset: u64) -> io::Result<(Self, u64)> {
        let (at, text) = SeekTable::read(&mut file)?.map_or((0, 0), |table| table.frame_of(offset));
        file.seek(SeekFrom::Start(at))?;
        Ok((Self::sealed(file)?, offset - text))
    }

    fn sealed(file: fs::File) -> io::Result<Self> {
        let decoder = zstd::stream::read::Decoder::new(file)?;
        Ok(Self::new(Box::new(BufReader::with_capacity(1 << 16, decoder))))
    }

    fn new(reader: Box<dyn BufRead + Send>) -> Self {
        Self { reader, line: Vec::new(), bytes: 0, torn: 0 }
    }

    /// The next whole line without its line end.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut self.line)?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if self.line.pop_if(|byte| *byte == b'\n').is_none() {
            if read == LINE_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 64 MiB"));
            }
            self.torn = read;
            return Ok(None);
        }
        self.bytes += read;
        Ok(Some(&self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_listed_in_order_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["00000002.jsonl", "00000000.jsonl.zst", "00000001.jsonl", "00000001.jsonl.zst", "1.jsonl", "lock"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found: Vec<_> =
            list(dir.path()).unwrap().into_iter().map(|segment| (segment.number, segment.sealed)).collect();
        assert_eq!(found, [(0, true), (1, false), (2, false)]);
    }

    #[test]
    fn what_stands_behind_the_last_line_end_is_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000.jsonl");
        fs::write(&path, "a\n\nbc\nd").unwrap();
        let mut lines = Lines::open(&Segment { number: 0, path, sealed: false }).unwrap();
        for line in [b"a".as_slice(), b"", b"bc"] {
            assert_eq!(lines.next().unwrap(), Some(line));
        }
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!((lines.bytes, lines.torn), (6, 1));
    }
}
