//! Checkpoints: a signed statement of how many lines there are and what they are (<https://c2sp.org/tlog-checkpoint>).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::key::{Signer, Verifier};
use super::merkle::{Hash, Tree};

/// The size and the root of the tree, with extension lines. Only a note whose signature holds becomes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many lines it covers.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Further lines, signed too.
    pub extensions: Vec<String>,
    /// The note as it stands in the file.
    pub note: String,
}

impl Checkpoint {
    /// Signs the tree.
    #[must_use]
    pub(super) fn sign(signer: &Signer, tree: &Tree, extensions: Vec<String>) -> Self {
        let root = tree.root();
        let mut note = format!("{}\n{}\n{}\n", signer.verifier().name(), tree.size(), BASE64.encode(root));
        for extension in &extensions {
            // Writing to a String cannot fail.
            let _ = writeln!(note, "{extension}");
        }
        let signatures = signer.sign(&note);
        note.push('\n');
        note.push_str(&signatures);
        Self { size: tree.size(), root, extensions, note }
    }

    /// Parses a note and checks its signature; `None` where either fails.
    #[must_use]
    pub fn parse(note: &str, verifier: &Verifier) -> Option<Self> {
        let (body, signatures) = note.split_once("\n\n")?;
        let text = note.get(..=body.len())?;
        let mut lines = body.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        // One form each: `+7`, `007` and unsigned trailing text are other bytes for the same thing.
        let size = size.parse::<u64>().ok().filter(|parsed| parsed.to_string() == size)?;
        let root = BASE64.decode(root).ok()?.try_into().ok()?;
        if origin != verifier.name() || !note.ends_with('\n') || !verifier.accepts_at(size, text, signatures) {
            return None;
        }
        Some(Self { size, root, extensions: lines.map(str::to_owned).collect(), note: note.to_owned() })
    }

    /// The words behind `name` in the extension line that begins with it.
    #[must_use]
    pub(super) fn extension(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        self.extensions.iter().find_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some(name)).then_some(words)
        })
    }
}

/// The notes of a checkpoint file, in order, and what is left behind the last whole one.
#[must_use]
pub(super) fn split_notes(text: &str) -> (Vec<&str>, &str) {
    let mut notes = Vec::new();
    let mut rest = text;
    while let Some(end) = note_end(rest) {
        let (note, behind) = rest.split_at(end);
        notes.push(note);
        rest = behind;
    }
    (notes, rest)
}

/// A note ends with the line end of the first line behind its empty line: we write one signature each.
fn note_end(text: &str) -> Option<usize> {
    let signature = text.find("\n\n")? + 2;
    let length = text.get(signature..)?.find('\n')?;
    Some(signature + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::leaf_hash;

    fn signer() -> (tempfile::TempDir, Signer) {
        let dir = tempfile::tempdir().unwrap();
        let signer = Signer::open(dir.path(), "log.example").unwrap();
        (dir, signer)
    }

    #[test]
    fn a_checkpoint_reads_back_and_no_byte_of_it_can_change() {
        let (_dir, signer) = signer();
        let mut tree = Tree::default();
        tree.push(leaf_hash(b"a"));
        let made = Checkpoint::sign(&signer, &tree, vec!["frontier x y".to_owned()]);
        assert_eq!(Checkpoint::parse(&made.note, signer.verifier()).as_ref(), Some(&made));
        assert_eq!(made.extension("frontier").unwrap().collect::<Vec<_>>(), ["x", "y"]);
        for at in 0..made.note.len() {
            let mut bytes = made.note.clone().into_bytes();
            bytes[at] ^= 1;
            let parsed = String::from_utf8(bytes).ok().and_then(|note| Checkpoint::parse(&note, signer.verifier()));
            assert_eq!(parsed, None, "byte {at}");
        }
    }

    #[test]
    fn notes_in_one_file_are_told_apart_and_a_torn_one_is_left() {
        let (_dir, signer) = signer();
        let note = Checkpoint::sign(&signer, &Tree::default(), Vec::new()).note;
        let torn = note.strip_suffix('\n').unwrap();
        let file = format!("{note}{note}{torn}");
        assert_eq!(split_notes(&file), (vec![note.as_str(), note.as_str()], torn));
    }
}
