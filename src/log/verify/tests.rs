//! Every way to change a log is found and named.

use std::path::{Path, PathBuf};

use super::*;
use crate::clock::Clock;
use crate::ids::StatementId;
use crate::lineage::{Event, StatementRecord};
use crate::log::{Log, Options};

/// A closed log of `count` records with a group commit each, in segments of some ten lines.
async fn log_of(count: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), count, 1500).await;
    dir
}

pub(super) async fn append(dir: &Path, count: u64, segment_max: u64) {
    let options = Options { segment_max, ..Options::new(dir) };
    let log = Log::open(options, Clock::System).unwrap();
    for number in 0..count {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        record.text = format!("SELECT {number}");
        log.append_strict(record).await.unwrap();
    }
    log.close().await;
}

/// One plain segment.
async fn plain_log() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 20, 1 << 20).await;
    let path = dir.path().join("00000000.jsonl");
    (dir, path)
}

fn verify_here(dir: &Path) -> Report {
    verify(dir, &VerifyOptions::default()).unwrap()
}

fn edit_lines(path: &Path, edit: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    edit(&mut lines);
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

type Edit = fn(&mut Vec<String>);
type Place = (Tamper, Option<u64>, Option<u64>);

/// The first problem's kind, line and number.
fn first(report: &Report) -> Place {
    let problem = report.problems.first().expect("the change is not found");
    (problem.tamper, problem.line, problem.seq)
}

#[tokio::test]
async fn an_untouched_log_is_intact_to_its_last_line() {
    let dir = log_of(50).await;
    let report = verify_here(dir.path());
    assert_eq!(report.problems, []);
    assert_eq!((report.lines, report.anchored, report.unanchored, report.torn), (50, 50, 0, 0));
    assert!(report.segments > 3, "{}", report.segments);
}

#[tokio::test]
async fn any_byte_that_is_edited_in_any_file_is_found() {
    let dir = log_of(50).await;
    let is_evidence = |path: &PathBuf| !["lock", "signing.key", "unclosed"].iter().any(|name| path.ends_with(name));
    let files: Vec<PathBuf> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).filter(is_evidence).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % bound
    };
    for round in 0..400 {
        let path = &files[below(files.len())];
        let original = fs::read(path).unwrap();
        if original.is_empty() {
            continue;
        }
        let mut edited = original.clone();
        let (at, bit) = (below(original.len()), below(8));
        edited[at] ^= 1 << bit;
        fs::write(path, &edited).unwrap();
        let report = verify_here(dir.path());
        assert!(!report.is_intact(), "round {round}: byte {at} of {}, bit {bit}", path.display());
        fs::write(path, &original).unwrap();
    }
    assert!(verify_here(dir.path()).is_intact());
}

#[tokio::test]
async fn what_was_done_to_lines_is_named_with_its_place() {
    let (dir, path) = plain_log().await;
    let original = fs::read(&path).unwrap();
    let cases: [(Edit, Place); 6] = [
        (|lines| lines[7] = lines[7].replace("SELECT 7", "SELECT 8"), (Tamper::Edited, Some(8), Some(7))),
        (|lines| drop(lines.remove(7)), (Tamper::Deleted, Some(8), Some(7))),
        (|lines| lines.insert(7, lines[3].clone()), (Tamper::Inserted, Some(8), Some(7))),
        (|lines| lines.swap(7, 12), (Tamper::Reordered, Some(8), Some(7))),
        (|lines| lines.truncate(15), (Tamper::Truncated, Some(16), Some(15))),
        (|lines| lines[7] = "{}".to_owned(), (Tamper::Edited, Some(8), Some(7))),
    ];
    for (edit, expected) in cases {
        edit_lines(&path, edit);
        let report = verify_here(dir.path());
        assert_eq!(first(&report), expected, "{:?}", report.problems);
        assert_eq!(report.problems[0].file, "00000000.jsonl");
        fs::write(&path, &original).unwrap();
    }
    assert!(verify_here(dir.path()).is_intact());
}

#[tokio::test]
async fn a_line_that_is_edited_together_with_its_noted_hash_is_found() {
    let (dir, path) = plain_log().await;
    edit_lines(&path, |lines| lines[7] = lines[7].replace("SELECT 7", "SELECT 8"));
    let text = fs::read_to_string(&path).unwrap();
    let hashes: Vec<u8> = text.lines().flat_map(|line| crate::log::leaf_hash(line.as_bytes())).collect();
    fs::write(dir.path().join("00000000.hashes"), hashes).unwrap();
    let report = verify_here(dir.path());
    assert_eq!(first(&report).0, Tamper::Edited, "{:?}", report.problems);
}

#[tokio::test]
async fn a_segment_that_is_missing_swapped_or_put_back_unsealed_is_named() {
    let dir = log_of(50).await;
    let sealed = |number: u32| segment::path(dir.path(), number, suffix::SEALED);
    let (one, two) = (fs::read(sealed(1)).unwrap(), fs::read(sealed(2)).unwrap());

    fs::write(sealed(1), &two).unwrap();
    fs::write(sealed(2), &one).unwrap();
    let report = verify_here(dir.path());
    for file in ["00000001.jsonl.zst", "00000002.jsonl.zst"] {
        let swapped = |problem: &Problem| problem.tamper == Tamper::SegmentSwapped && problem.file == file;
        assert!(report.problems.iter().any(swapped), "{:?}", report.problems);
    }
    fs::write(sealed(2), &two).unwrap();

    fs::remove_file(sealed(1)).unwrap();
    let report = verify_here(dir.path());
    assert_eq!(first(&report).0, Tamper::SegmentMissing, "{:?}", report.problems);
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    fs::write(sealed(1), &one).unwrap();

    let forged = "{\"v\":1,\"seq\":10,\"id\":\"x\"}\n";
    fs::write(segment::path(dir.path(), 1, suffix::PLAIN), forged).unwrap();
    assert!(!verify_here(dir.path()).is_intact());
}

#[tokio::test]
async fn a_log_that_is_rolled_back_as_a_whole_is_found_by_a_checkpoint_kept_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 10, 1 << 20).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in &files {
        fs::copy(path, elsewhere.path().join(path.file_name().unwrap())).unwrap();
    }
    append(dir.path(), 10, 1 << 20).await;
    let options = VerifyOptions {
        checkpoint: Some(KeptCheckpoints::read(&dir.path().join(CHECKPOINTS)).unwrap()),
        ..VerifyOptions::default()
    };
    assert!(verify_here(elsewhere.path()).is_intact(), "nothing in the copy itself can tell");
    assert_eq!(first(&verify(elsewhere.path(), &options).unwrap()).0, Tamper::RolledBack);

    // The same length, another history: a fork.
    append(elsewhere.path(), 10, 1 << 20).await;
    let kept = KeptCheckpoints::read(&dir.path().join(CHECKPOINTS)).unwrap();
    let options = VerifyOptions { checkpoint: Some(kept), ..options };
    let forked = verify(elsewhere.path(), &options).unwrap();
    assert!(forked.problems.iter().any(|problem| problem.tamper == Tamper::Forked), "{:?}", forked.problems);
    assert!(verify(dir.path(), &options).unwrap().is_intact());
}

#[tokio::test]
async fn another_key_than_the_one_kept_elsewhere_signs_nothing() {
    let (ours, theirs) = (log_of(5).await, log_of(5).await);
    let options = VerifyOptions { key: Some(ours.path().join("signing.pub")), ..VerifyOptions::default() };
    assert!(verify(ours.path(), &options).unwrap().is_intact());
    assert!(!verify(theirs.path(), &options).unwrap().is_intact());
}

#[tokio::test]
async fn lines_behind_the_last_checkpoint_are_unanchored_and_not_wrong() {
    let (dir, path) = plain_log().await;
    let checkpoints = dir.path().join(CHECKPOINTS);
    let text = fs::read_to_string(&checkpoints).unwrap();
    let (notes, _) = split_notes(&text);
    fs::write(&checkpoints, notes[..notes.len() - 3].concat()).unwrap();
    let report = verify_here(dir.path());
    assert!(report.is_intact(), "{:?}", report.problems);
    assert_eq!((report.anchored, report.unanchored), (17, 3));

    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"v\":1,");
    fs::write(&path, torn).unwrap();
    assert_eq!(verify_here(dir.path()).torn, 7);
}

#[tokio::test]
async fn each_record_is_proved_under_the_newest_checkpoint() {
    let dir = log_of(25).await;
    for seq in [0, 7, 24] {
        let proof = crate::log::Proofs::open(dir.path()).unwrap().unwrap().inclusion(seq).unwrap().unwrap();
        assert!(proof.line.contains(&format!("SELECT {seq}")) && proof.size == 25);
    }
    assert_eq!(crate::log::Proofs::open(dir.path()).unwrap().unwrap().inclusion(25).unwrap(), None);
}

#[tokio::test]
async fn a_policy_text_that_was_edited_is_named() {
    let dir = log_of(5).await;
    let text = b"rules: []";
    let sha256 = crate::ids::hex(ring::digest::digest(&ring::digest::SHA256, text).as_ref());
    crate::log::keep_policy(dir.path(), &sha256, text).unwrap();
    assert!(verify_here(dir.path()).is_intact());
    fs::write(crate::log::policy_path(dir.path(), &sha256), b"rules: [x]").unwrap();
    let report = verify_here(dir.path());
    assert_eq!(report.problems.iter().map(|problem| problem.tamper).collect::<Vec<_>>(), [Tamper::Evidence]);
}
