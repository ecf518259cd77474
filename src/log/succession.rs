//! The keys that a log had, each introduced by a checkpoint that the key before it signed.
//!
//! A change of keys needs the log for itself: it appends a record that names both keys, signs a checkpoint over all lines
//! with the old key and the new one's name in it, and from then on the old key signs nothing longer. What the new key
//! signs covers all that the old one did.

use std::fs;
use std::io;
use std::path::Path;

use super::active::CHECKPOINTS;
use super::checkpoint::{Checkpoint, split_notes};
use super::error::LogError;
use super::handle::{Log, Options, lock};
use super::key::{Elder, NEXT_BY, NEXT_PUBLIC, Signer, Verifier, settle};
use super::merkle::Tree;
use super::open::{self, write_atomic};
use crate::clock::Clock;
use crate::ids::StatementId;
use crate::lineage::{Event, StatementRecord};

/// The file of the checkpoints that introduce keys, the oldest first.
const KEYS: &str = "keys";

/// The keys before `newest`, the oldest first.
pub(super) fn elders(dir: &Path, newest: &Verifier) -> Result<Vec<Elder>, LogError> {
    let chain = chain(dir)?;
    let (path, mut elders) = (dir.join(KEYS), Vec::new());
    let ends = chain.last().is_none_or(|(_, next)| next.is_key(newest));
    if !ends {
        return Err(LogError::Key {
            path,
            what: "the log's public key is not the one that the key before it introduced",
        });
    }
    elders.extend(chain.into_iter().map(|(elder, _)| elder));
    Ok(elders)
}

/// Each earlier key with the one that it introduced.
fn chain(dir: &Path) -> Result<Vec<(Elder, Verifier)>, LogError> {
    let path = dir.join(KEYS);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LogError::io("read", &path)(error)),
    };
    let bad = |what| LogError::Key { path: path.clone(), what };
    let (notes, rest) = split_notes(&text);
    if !rest.is_empty() || notes.is_empty() {
        return Err(bad("it is not a row of whole checkpoints"));
    }
    let mut chain: Vec<(Elder, Verifier)> = Vec::new();
    for note in notes {
        let named =
            |name: &str| note.lines().find_map(|line| Verifier::parse(line.strip_prefix(name)?.strip_prefix(' ')?));
        let (Some(verifier), Some(next)) = (named("key"), named("successor")) else {
            return Err(bad("a checkpoint in it names no two keys"));
        };
        if chain.last().is_some_and(|(_, expected)| !expected.is_key(&verifier)) {
            return Err(bad("a key in it was not introduced by the one before"));
        }
        let Some(checkpoint) = Checkpoint::parse(note, &verifier) else {
            return Err(bad("a key in it was not signed for by the one before"));
        };
        chain.push((Elder { verifier, until: checkpoint.size }, next));
    }
    Ok(chain)
}

/// Ends a change of keys that a crash cut short.
pub(super) fn finish(dir: &Path) -> Result<(), LogError> {
    let chain = chain(dir)?;
    settle(dir, chain.last().map(|(_, next)| next))
}

/// Gives the log in `dir` a new key, on the word of `by`. Returns it.
///
/// # Errors
/// Another process has the log open; it is not intact; the disk refuses. The old key then stays, or the next start ends
/// the change.
pub async fn rotate_key(dir: &Path, by: &str, clock: Clock) -> Result<Verifier, LogError> {
    let old = Verifier::of(dir)?;
    let log = Log::open(Options::new(dir), clock)?;
    let signer = Signer::open(dir, old.name())?;
    let next = signer.make_successor(dir)?;
    let written = log.append_strict(told(by, &old, &next)).await;
    log.close().await;
    drop(log);
    written?;
    let _lock = lock(dir)?;
    let end = open::open(dir, &signer)?.position;
    let Some(signer) = introduce(dir, &signer, &end.tree)? else { return Err(LogError::Closed) };
    let note = Checkpoint::sign(&signer, &end.tree, Vec::new()).note;
    write_atomic(&dir.join(CHECKPOINTS), note.as_bytes())?;
    Verifier::of(dir)
}

/// Makes a key ready for a log that another process has open: it takes its place with [`Log::take_key`]. One that lies
/// ready already stays.
///
/// # Errors
/// There is no log, or the disk refuses.
pub fn prepare_key(dir: &Path, by: &str) -> Result<Verifier, LogError> {
    if let Some(next) = ready(dir) {
        return Ok(next);
    }
    let path = dir.join(NEXT_BY);
    fs::write(&path, by).map_err(LogError::io("write", &path))?;
    Signer::open(dir, Verifier::of(dir)?.name())?.make_successor(dir)
}

/// The key that lies ready to follow. Its public part is written last.
pub(super) fn ready(dir: &Path) -> Option<Verifier> {
    Verifier::read(&dir.join(NEXT_PUBLIC)).ok()
}

/// What the log says of the change to the key that lies ready.
pub(super) fn record(dir: &Path, next: &Verifier) -> Result<StatementRecord, LogError> {
    let by = fs::read_to_string(dir.join(NEXT_BY)).unwrap_or_else(|_| "somebody".to_owned());
    Ok(told(by.trim(), &Verifier::of(dir)?, next))
}

fn told(by: &str, old: &Verifier, next: &Verifier) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Operator);
    record.command.push_str("rotate-key");
    record.text =
        format!("{by} replaces signing key {} by {}", old.to_string().trim_end(), next.to_string().trim_end());
    record
}

/// The old key signs its last checkpoint, over this tree and the name of the key that lies ready, which takes its place.
/// `None`: none lies ready.
pub(super) fn introduce(dir: &Path, signer: &Signer, tree: &Tree) -> Result<Option<Signer>, LogError> {
    let Some(next) = ready(dir) else { return Ok(None) };
    let old = signer.verifier();
    let names =
        vec![format!("key {}", old.to_string().trim_end()), format!("successor {}", next.to_string().trim_end())];
    let note = Checkpoint::sign(signer, tree, names).note;
    let path = dir.join(KEYS);
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(LogError::io("read", &path)(error)),
        before => before.unwrap_or_default(),
    };
    write_atomic(&path, (before + &note).as_bytes())?;
    introduced(dir, signer)
}

/// The key that follows this one, where one was introduced; it is in its place then.
pub(super) fn introduced(dir: &Path, signer: &Signer) -> Result<Option<Signer>, LogError> {
    let chain = chain(dir)?;
    let Some((_, next)) = chain.last().filter(|(_, next)| !next.is_key(signer.verifier())) else { return Ok(None) };
    settle(dir, Some(next))?;
    Signer::open(dir, next.name()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Tamper, VerifyOptions, verify};

    async fn append(dir: &Path, count: u64) {
        let options = Options { segment_max: 1500, ..Options::new(dir) };
        let log = Log::open(options, Clock::System).unwrap();
        for _ in 0..count {
            log.append_strict(StatementRecord::new(StatementId::new(), Event::System)).await.unwrap();
        }
        log.close().await;
    }

    #[tokio::test]
    async fn a_log_whose_key_was_replaced_twice_is_intact_under_each_key_that_was_kept() {
        let (dir, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        append(dir.path(), 20).await;
        let mut keys = vec![Verifier::of(dir.path()).unwrap()];
        for _ in 0..2 {
            keys.push(rotate_key(dir.path(), "ann", Clock::System).await.unwrap());
            append(dir.path(), 20).await;
        }
        for (number, key) in keys.iter().enumerate() {
            let path = kept.path().join(number.to_string());
            fs::write(&path, key.to_string()).unwrap();
            let options = VerifyOptions { key: Some(path), ..VerifyOptions::default() };
            let report = verify(dir.path(), &options).unwrap();
            assert_eq!((report.problems.as_slice(), report.lines), (&[][..], 62), "{number}");
        }
    }

    #[tokio::test]
    async fn an_open_log_takes_the_key_that_lies_ready_and_goes_on_under_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_max: 1500, ..Options::new(dir.path()) };
        let log = Log::open(options, Clock::System).unwrap();
        let append = async |count: u64| {
            for _ in 0..count {
                log.append_strict(StatementRecord::new(StatementId::new(), Event::System)).await.unwrap();
            }
        };
        append(20).await;
        assert_eq!(log.take_key().await.unwrap(), None, "none lies ready");
        for round in 1..3 {
            let before = Verifier::of(dir.path()).unwrap();
            assert!(matches!(rotate_key(dir.path(), "ann", Clock::System).await, Err(LogError::InUse { .. })));
            let next = prepare_key(dir.path(), "ann").unwrap();
            assert!(prepare_key(dir.path(), "bob").unwrap().is_key(&next), "the one that lies ready stays");
            append(5).await;
            assert!(Verifier::of(dir.path()).unwrap().is_key(&before), "nothing changes by itself");
            assert!(log.take_key().await.unwrap().unwrap().is_key(&next));
            append(20).await;
            let now = Verifier::of(dir.path()).unwrap();
            assert!(now.is_key(&next) && now.all().count() == round + 1);
            assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
        }
        log.close().await;
        let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
        assert_eq!((report.problems.as_slice(), report.lines, report.anchored), (&[][..], 72, 72));
        let told = crate::log::read(dir.path()).unwrap().map(Result::unwrap).filter(|it| it.command == "rotate-key");
        assert_eq!(told.filter(|it| it.text.starts_with("ann replaces signing key ")).count(), 2);
    }

    #[tokio::test]
    async fn a_replaced_key_that_goes_on_signing_and_a_key_that_nobody_introduced_are_named() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), 5).await;
        let old = Signer::open(dir.path(), "x").unwrap();
        rotate_key(dir.path(), "ann", Clock::System).await.unwrap();
        append(dir.path(), 5).await;
        let end = open::open(dir.path(), &Signer::open(dir.path(), "x").unwrap()).unwrap().position;
        let path = dir.path().join(CHECKPOINTS);
        let checkpoints = fs::read_to_string(&path).unwrap();
        fs::write(&path, checkpoints.clone() + &Checkpoint::sign(&old, &end.tree, Vec::new()).note).unwrap();
        let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
        let named = |tamper, what: &str| report.problems.iter().any(|it| it.tamper == tamper && it.what.contains(what));
        assert!(named(Tamper::UnknownKey, "was replaced at 6 records"), "{:?}", report.problems);

        let other = tempfile::tempdir().unwrap();
        append(other.path(), 1).await;
        fs::write(&path, checkpoints).unwrap();
        let key = Some(other.path().join("signing.pub"));
        let report = verify(dir.path(), &VerifyOptions { key, ..VerifyOptions::default() }).unwrap();
        assert_eq!(report.problems.first().map(|it| it.tamper), Some(Tamper::UnknownKey), "{:?}", report.problems);
        fs::copy(other.path().join("signing.pub"), dir.path().join("signing.pub")).unwrap();
        let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
        assert_eq!(report.problems.first().map(|it| it.tamper), Some(Tamper::UnknownKey), "{:?}", report.problems);
    }

    #[tokio::test]
    async fn a_change_of_keys_that_a_crash_cut_short_ends_one_way_or_the_other() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), 5).await;
        let signer = Signer::open(dir.path(), "x").unwrap();
        let before = signer.verifier().clone();
        signer.make_successor(dir.path()).unwrap();
        append(dir.path(), 1).await;
        assert!(before.is_key(&Verifier::of(dir.path()).unwrap()), "not introduced: thrown away");

        let next = signer.make_successor(dir.path()).unwrap();
        let end = open::open(dir.path(), &signer).unwrap().position;
        let names = [format!("key {before}"), format!("successor {next}")].map(|name| name.trim_end().to_owned());
        let note = Checkpoint::sign(&signer, &end.tree, names.to_vec()).note;
        fs::write(dir.path().join(KEYS), note).unwrap();
        append(dir.path(), 1).await;
        assert!(next.is_key(&Verifier::of(dir.path()).unwrap()), "introduced: takes its place");
        assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
    }
}
