//! What the fuzzer checks of frames and first packets, over its corpus and what a seeded generator makes of it.

use std::path::Path;

use crate::generator::random::Random;

#[path = "../../fuzz/checks/frame.rs"]
mod frame;
#[path = "../../fuzz/checks/startup.rs"]
mod startup;

/// Changed texts of each target.
const MUTATIONS: usize = 20_000;
/// The longest of them.
const LENGTH_MAX: usize = 4096;

/// Whole messages, so that the corpus does not have to be there for all of them to be seen.
const FRAMES: &[&[u8]] = &[
    b"Q\0\0\0\x0dSELECT 1\0",
    b"P\0\0\0\x15s\0SELECT $1\0\0\x01\0\0\0\x17",
    b"B\0\0\0\x18p\0s\0\0\x01\0\x01\0\x01\0\0\0\x011\0\x01\0\x01",
    b"E\0\0\0\x0ap\0\0\0\0\x05",
    b"D\0\0\0\x07Ss\0",
    b"F\0\0\0\x13\0\0\x04\xd2\0\0\0\x01\0\0\0\x011\0\x01",
    b"T\0\0\0\x1b\0\x01a\0\0\0\x40\0\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
    b"D\0\0\0\x0f\0\x02\0\0\0\x01a\xff\xff\xff\xff",
    b"C\0\0\0\x0dSELECT 1\0",
    b"S\0\0\0\x0ca\0b\0",
    b"K\0\0\0\x0c\0\0\0\x07\0\0\0\x09",
    b"E\0\0\0\x14SERROR\0C42601\0\0",
    b"p\0\0\0\x09word\0",
];

const PACKETS: &[&[u8]] = &[
    b"\0\x03\0\0user\0agent\0database\0shop\0options\0-c x=1\0\0",
    b"\0\x03\0\x02user\0agent\0_pq_.x\0\0\0",
    b"\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09",
    b"\x04\xd2\x16\x2f",
    b"\x04\xd2\x16\x30",
];

/// The files of a target, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// One small change: bytes that decide lengths and ends more often than others.
fn change(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let telling = [0, 1, 3, 4, 5, 0x7f, 0x80, 0xff, b'Q', b'D'];
    match random.below(6) {
        0 if at < bytes.len() => bytes[at] = *random.one(&telling),
        1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 => bytes.insert(at, *random.one(&telling)),
        3 => bytes.truncate(at),
        4 if at < bytes.len() => drop(bytes.drain(at..=at + random.below(bytes.len() - at))),
        _ => {
            let other = random.one(others);
            let from = random.below(other.len() + 1);
            bytes.splice(at..at, other[from..].iter().copied());
        }
    }
    bytes.truncate(LENGTH_MAX);
}

fn replay(target: &str, whole: &[&[u8]], check: fn(&[u8])) {
    let seeds: Vec<Vec<u8>> = corpus(target).into_iter().chain(whole.iter().map(|bytes| bytes.to_vec())).collect();
    assert!(seeds.len() > whole.len(), "the corpus of {target} is there");
    for seed in &seeds {
        check(seed);
    }
    let mut random = Random::new(0xC0);
    for _ in 0..MUTATIONS {
        let mut bytes = random.one(&seeds).clone();
        for _ in 0..=random.below(8) {
            change(&mut random, &mut bytes, &seeds);
        }
        let shown = bytes.clone();
        assert!(std::panic::catch_unwind(move || check(&bytes)).is_ok(), "{target}: {}", shown.escape_ascii());
    }
}

#[test]
fn frames_of_the_corpus_and_their_changes_are_read_within_their_bytes() {
    replay("frame", FRAMES, frame::check);
}

#[test]
fn first_packets_of_the_corpus_and_their_changes_account_for_every_byte() {
    replay("startup", PACKETS, startup::check);
}
