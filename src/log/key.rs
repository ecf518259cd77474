//! The log's Ed25519 key, as C2SP's signed notes name and use it (<https://c2sp.org/signed-note>).

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{Context, SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{LogError, succession};

const SECRET: &str = "signing.key";
const PUBLIC: &str = "signing.pub";
/// The key that is about to follow, and who made it.
const NEXT: [&str; 2] = ["signing.key.next", "signing.pub.next"];
pub(super) const NEXT_PUBLIC: &str = NEXT[1];
pub(super) const NEXT_BY: &str = "signing.next.by";
/// The signature type of Ed25519 in signed notes.
const ALGORITHM: u8 = 1;

/// Signs checkpoints.
pub struct Signer {
    pair: Ed25519KeyPair,
    verifier: Verifier,
}

impl Signer {
    /// The key of the log in `dir`; made on the first start, under the name `origin`.
    ///
    /// # Errors
    /// The directory cannot be read or written, or holds something that is no key.
    pub fn open(dir: &Path, origin: &str) -> Result<Self, LogError> {
        let path = dir.join(SECRET);
        let secret = match fs::read(&path) {
            Ok(secret) => secret,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path)?,
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        let bad = |what| LogError::Key { path: path.clone(), what };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&secret).map_err(|_| bad("no Ed25519 key in PKCS #8"))?;
        let public = dir.join(PUBLIC);
        let verifier = match fs::read_to_string(&public) {
            Ok(text) => Verifier::parse(&text).ok_or_else(|| bad("the public key beside it is none"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Verifier::new(origin, pair.public_key().as_ref())
                    .ok_or_else(|| bad("the log's origin may hold no white space and no plus"))?;
                write_new(&public, made.to_string().as_bytes(), 0o644)?;
                made
            }
            Err(error) => return Err(LogError::io("read", &public)(error)),
        };
        if verifier.public != pair.public_key().as_ref() {
            return Err(bad("the public key beside it belongs to another key"));
        }
        Ok(Self { pair, verifier: verifier.with_elders(dir)? })
    }

    /// Makes the key that is to follow this one, beside it.
    pub(super) fn make_successor(&self, dir: &Path) -> Result<Verifier, LogError> {
        let [secret, public] = NEXT.map(|name| dir.join(name));
        let made = create(&secret)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&made)
            .map_err(|_| LogError::Key { path: secret.clone(), what: "no Ed25519 key in PKCS #8" })?;
        let verifier = Verifier::new(&self.verifier.name, pair.public_key().as_ref())
            .ok_or(LogError::Key { path: secret, what: "no key of this log's name" })?;
        write_new(&public, verifier.to_string().as_bytes(), 0o644)?;
        Ok(verifier)
    }

    /// The signature lines of a note with this text, which ends in a line end.
    #[must_use]
    pub(super) fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier.id.to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("— {} {}\n", self.verifier.name, BASE64.encode(signature))
    }

    /// What verifies its signatures.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

/// A log's public key and name. Displayed as the one line that C2SP calls a verifier key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    public: Vec<u8>,
    elders: Vec<Elder>,
}

/// Why a note is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// The signature is none.
    Broken(String),
    /// Another key signed it, or one after its time.
    Stranger(String),
}

/// A key that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elder {
    pub verifier: Verifier,
    /// It signs logs of at most so many lines.
    pub until: u64,
}

impl Verifier {
    /// The public key beside the log in `dir`.
    ///
    /// # Errors
    /// There is none, or it is no verifier key.
    pub fn of(dir: &Path) -> Result<Self, LogError> {
        Self::read(&dir.join(PUBLIC))?.with_elders(dir)
    }

    /// The same with the keys before it, of which each introduced the next.
    pub(super) fn with_elders(mut self, dir: &Path) -> Result<Self, LogError> {
        self.elders = succession::elders(dir, &self)?;
        Ok(self)
    }

    /// Itself and the keys before it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        self.elders.iter().map(|elder| &elder.verifier).chain([self])
    }

    /// Whether it and the other are the same key under the same name.
    pub(super) fn is_key(&self, other: &Self) -> bool {
        self.name == other.name && self.public == other.public
    }

    /// A public key from a file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no verifier key.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let text = fs::read_to_string(path).map_err(LogError::io("read", path))?;
        Self::parse(&text).ok_or(LogError::Key { path: path.to_path_buf(), what: "no Ed25519 verifier key" })
    }

    /// Parses `name+id+key`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_end().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, BASE64.decode(parts.next()?).ok()?);
        let (&ALGORITHM, public) = key.split_first()? else { return None };
        let verifier = Self::new(name, public)?;
        (hex(verifier.id) == id).then_some(verifier)
    }

    fn new(name: &str, public: &[u8]) -> Option<Self> {
        if name.is_empty()
            || name.contains(|letter: char| letter == '+' || letter.is_whitespace())
            || public.len() != 32
        {
            return None;
        }
        let mut context = Context::new(&SHA256);
        for part in [name.as_bytes(), b"\n", &[ALGORITHM], public] {
            context.update(part);
        }
        let id = *context.finish().as_ref().first_chunk()?;
        Some(Self { name: name.to_owned(), id, public: public.to_vec(), elders: Vec::new() })
    }

    /// The log's name: the origin line of its checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one of the signature lines is this key's over `text`.
    #[must_use]
    pub(super) fn accepts(&self, text: &str, signatures: &str) -> bool {
        signatures.lines().any(|line| self.accepts_line(text, line).is_some())
    }

    /// The same for a checkpoint over `size` lines, which a key before it may have signed in its time.
    #[must_use]
    pub(super) fn accepts_at(&self, size: u64, text: &str, signatures: &str) -> bool {
        self.accepts(text, signatures)
            || self.elders.iter().any(|elder| size <= elder.until && elder.verifier.accepts(text, signatures))
    }

    /// Why a note is not accepted, in words.
    #[must_use]
    pub(super) fn complaint(&self, note: &str) -> Complaint {
        let id = || {
            let signature = note.rsplit_once("\n— ")?.1.split_once(' ')?.1.trim_end();
            BASE64.decode(signature).ok()?.first_chunk().copied()
        };
        match id() {
            None => Complaint::Broken("is not signed".to_owned()),
            Some(id) if id == self.id => {
                Complaint::Broken(format!("carries no signature of key {} that holds", hex(id)))
            }
            Some(id) => Complaint::Stranger(match self.elders.iter().find(|elder| elder.verifier.id == id) {
                Some(elder) => format!("is signed by key {}, which was replaced at {} records", hex(id), elder.until),
                None => format!("is not signed by this log's key: it names the unknown key {}", hex(id)),
            }),
        }
    }

    fn accepts_line(&self, text: &str, line: &str) -> Option<()> {
        let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
        let signature = BASE64.decode(signature).ok()?;
        let (id, signature) = signature.split_at_checked(4)?;
        if name != self.name || id != self.id {
            return None;
        }
        UnparsedPublicKey::new(&ED25519, &self.public).verify(text.as_bytes(), signature).ok()
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![ALGORITHM];
        key.extend_from_slice(&self.public);
        writeln!(f, "{}+{}+{}", self.name, hex(self.id), BASE64.encode(key))
    }
}

/// Ends what a crash left of a change of keys: the next key takes its place where `introduced` names it, and is thrown
/// away where nothing does.
pub(super) fn settle(dir: &Path, introduced: Option<&Verifier>) -> Result<(), LogError> {
    let [secret, public] = NEXT.map(|name| dir.join(name));
    let next = Verifier::read(&public).ok().filter(|next| introduced.is_some_and(|found| found.is_key(next)));
    for (from, to) in [(&secret, SECRET), (&public, PUBLIC)] {
        let moved = if next.is_some() { fs::rename(from, dir.join(to)) } else { fs::remove_file(from) };
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(LogError::io("move", from)(error)),
            _ => {}
        }
    }
    // Who made it is in a record by now; what is left of it harms nobody.
    drop(fs::remove_file(dir.join(NEXT_BY)));
    Ok(())
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

fn create(path: &Path) -> Result<Vec<u8>, LogError> {
    let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map_err(|_| LogError::Key { path: path.to_path_buf(), what: "the system's random source failed" })?;
    write_new(path, secret.as_ref(), 0o600)?;
    Ok(secret.as_ref().to_vec())
}

/// Durable before it is used: a key that a crash takes away would leave checkpoints that nobody can check.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LogError> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(LogError::io("create", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Signer::open(dir.path(), "log.example/one").unwrap();
        let again = Signer::open(dir.path(), "log.example/two").unwrap();
        assert_eq!(first.verifier(), again.verifier());
        assert_eq!(Verifier::of(dir.path()).unwrap(), *first.verifier());
        let mode = fs::metadata(dir.path().join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_signature_holds_for_its_text_and_key_alone() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let signer = Signer::open(dir.path(), "log.example").unwrap();
        let stranger = Signer::open(other.path(), "log.example").unwrap();
        let signatures = signer.sign("text\n");
        assert!(signer.verifier().accepts("text\n", &signatures));
        assert!(!signer.verifier().accepts("Text\n", &signatures));
        assert!(!stranger.verifier().accepts("text\n", &signatures));
    }

    #[test]
    fn a_name_that_would_break_a_note_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Signer::open(dir.path(), "my log"), Err(LogError::Key { .. })));
    }
}
