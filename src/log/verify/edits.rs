//! Random changes to a log: each is found, and named as what it is. `HOLDGATE_TEST_EDITS` says how many; 10,000 in
//! `make torture`.

use std::path::{Path, PathBuf};

use super::tests::append;
use super::*;

/// Changes that are made where nobody says how many.
const EDITS: usize = 300;
/// Records at which a copy is kept, as somebody could who means to put it back.
const STAGES: u64 = 8;
const PER_STAGE: u64 = 8;
const SEGMENT_MAX: u64 = 2500;

/// A log, what it was like before, and what else it could have become.
struct Room {
    home: tempfile::TempDir,
    random: u64,
}

impl Room {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("log");
        for stage in 0..STAGES {
            append(&log, PER_STAGE, SEGMENT_MAX).await;
            copy(&log, &home.path().join(format!("stage{stage}")));
        }
        for stage in 0..STAGES - 1 {
            let fork = home.path().join(format!("fork{stage}"));
            copy(&home.path().join(format!("stage{stage}")), &fork);
            append(&fork, PER_STAGE * (STAGES - stage), SEGMENT_MAX).await;
        }
        Self { home, random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % bound
    }

    fn stage(&mut self) -> u64 {
        u64::try_from(self.below(usize::try_from(STAGES - 1).unwrap())).unwrap()
    }

    fn segments(&self) -> Vec<Segment> {
        segment::list(&self.log()).unwrap()
    }

    /// The newest checkpoint of a stage, as it was sent off the box then.
    fn kept(&self, stage: u64) -> KeptCheckpoints {
        let note = crate::log::newest_checkpoint(&self.home.path().join(format!("stage{stage}"))).unwrap();
        KeptCheckpoints { name: "kept".into(), text: note }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// What was done, and how it must be named: in which file, as one of these.
struct Done {
    what: String,
    file: Option<String>,
    named: &'static [Tamper],
}

/// Changes the lines of a segment as its owner could: a sealed one is unpacked and packed again.
fn with_lines(segment: &Segment, change: impl FnOnce(&mut Vec<String>)) {
    let bytes = fs::read(&segment.path).unwrap();
    let text = if segment.sealed { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes };
    let mut lines: Vec<String> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let bytes = if segment.sealed { zstd::encode_all(text.as_bytes(), 1).unwrap() } else { text.into_bytes() };
    fs::write(&segment.path, bytes).unwrap();
}

/// One change to lines.
fn change_lines(room: &mut Room, kind: usize) -> Done {
    let segments = room.segments();
    let segment = segments[room.below(segments.len())].clone();
    let count = SegmentLines::read(&room.log(), &segment, 0).unwrap().leaves.len();
    let (one, other) = (room.below(count), room.below(count));
    let last = one + 1 == count;
    let named: &[Tamper] = match kind {
        0 => &[Tamper::Edited],
        1 if last => &[Tamper::Truncated],
        1 => &[Tamper::Deleted],
        2 => &[Tamper::Inserted],
        3 if one == other => &[Tamper::Edited],
        3 => &[Tamper::Reordered],
        _ => &[Tamper::Truncated],
    };
    let letter = room.below(26);
    with_lines(&segment, |lines| match kind {
        1 => drop(lines.remove(one)),
        2 => lines.insert(one, lines[other].clone()),
        3 if one != other => lines.swap(one, other),
        4 => lines.truncate(one),
        _ => {
            let at = lines[one].find("SELECT ").unwrap() + letter % 6;
            let new = if lines[one].as_bytes()[at] == b'q' { "x" } else { "q" };
            lines[one].replace_range(at..=at, new);
        }
    });
    let done = ["edited", "deleted", "inserted", "reordered", "truncated"][kind];
    let name = name(&segment.path);
    // Without a line left in it, the end of the log says what is missing.
    let file = Some(name.clone()).filter(|_| kind < 4 || one > 0);
    Done { what: format!("{name}: line {one} of {count} {done}, other line {other}"), file, named }
}

/// One change to whole segments.
fn change_segments(room: &mut Room, kind: usize) -> Done {
    let sealed: Vec<Segment> = room.segments().into_iter().filter(|segment| segment.sealed).collect();
    let one = room.below(sealed.len());
    let other = (one + 1 + room.below(sealed.len() - 1)) % sealed.len();
    let (one, other) = (&sealed[one], &sealed[other]);
    if kind == 5 {
        let (left, right) = (fs::read(&one.path).unwrap(), fs::read(&other.path).unwrap());
        fs::write(&one.path, right).unwrap();
        fs::write(&other.path, left).unwrap();
        let what = format!("{} and {} swapped", name(&one.path), name(&other.path));
        return Done { what, file: Some(name(&one.path)), named: &[Tamper::SegmentSwapped] };
    }
    fs::remove_file(&one.path).unwrap();
    let file = Some(format!("{:08}.jsonl", one.number));
    Done { what: format!("{} removed", name(&one.path)), file, named: &[Tamper::SegmentMissing] }
}

/// Puts another whole log in the place of this one, and says which checkpoint was kept.
fn replace(room: &mut Room, kind: usize) -> (Done, KeptCheckpoints) {
    let stage = room.stage();
    let later = stage + 1 + u64::try_from(room.below(usize::try_from(STAGES - 1 - stage).unwrap())).unwrap();
    let (from, named): (String, &[Tamper]) = match kind {
        7 => (format!("stage{stage}"), &[Tamper::RolledBack]),
        _ => (format!("fork{stage}"), &[Tamper::Forked]),
    };
    fs::remove_dir_all(room.log()).unwrap();
    copy(&room.home.path().join(&from), &room.log());
    (Done { what: format!("{from} in place of the log, stage {later} was kept"), file: None, named }, room.kept(later))
}

fn wrong(room: &mut Room, round: usize) -> Option<String> {
    let kind = room.below(9);
    let (done, kept) = match kind {
        0..=4 => (change_lines(room, kind), None),
        5 | 6 => (change_segments(room, kind), None),
        _ => {
            let (done, kept) = replace(room, kind);
            (done, Some(kept))
        }
    };
    let depth = if room.below(2) == 0 { Depth::Seals } else { Depth::Lines };
    let report = verify(&room.log(), &VerifyOptions { checkpoint: kept, depth, ..VerifyOptions::default() }).unwrap();
    let is_named = |problem: &Problem| {
        done.named.contains(&problem.tamper) && done.file.as_ref().is_none_or(|file| problem.file == *file)
    };
    let found = report.problems.iter().any(is_named);
    (!found).then(|| format!("round {round}: {}, {depth:?}: {:?}", done.what, report.problems))
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
async fn every_one_of_many_random_changes_is_found_and_named() {
    let edits = std::env::var("HOLDGATE_TEST_EDITS").ok().map_or(EDITS, |count| count.parse().unwrap());
    let mut room = Room::new().await;
    let original = room.home.path().join(format!("stage{}", STAGES - 1));
    let mut unnamed = Vec::new();
    for round in 0..edits {
        unnamed.extend(wrong(&mut room, round));
        fs::remove_dir_all(room.log()).unwrap();
        copy(&original, &room.log());
        assert!(unnamed.len() < 20, "{}", unnamed.join("\n"));
    }
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
    assert!(verify(&room.log(), &VerifyOptions::default()).unwrap().is_intact());
}
