//! Proofs are accepted by a verifier of RFC 6962 that others wrote, and refused where anything differs.

use std::ops::Range;

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::Sha256;

use super::*;
use crate::clock::Clock;
use crate::ids::StatementId;
use crate::lineage::{Event, StatementRecord};
use crate::log::{Log, Options};

async fn append(dir: &Path, numbers: Range<u64>) {
    let log = Log::open(Options { segment_max: 1500, ..Options::new(dir) }, Clock::System).unwrap();
    for number in numbers {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        record.text = format!("SELECT {number}");
        log.append_strict(record).await.unwrap();
    }
    log.close().await;
}

fn bytes(text: &str) -> Vec<u8> {
    BASE64.decode(text).unwrap()
}

fn root(text: &str, size: u64) -> RootHash<Sha256> {
    let hash: [u8; 32] = bytes(text).try_into().unwrap();
    RootHash::new(hash.into(), size)
}

fn path(hashes: &[String]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| bytes(hash)).collect()
}

/// The size and root of a note, read without our own code.
fn signed(note: &str) -> RootHash<Sha256> {
    let lines: Vec<&str> = note.lines().collect();
    root(lines[2], lines[1].parse().unwrap())
}

#[tokio::test]
async fn a_verifier_that_others_wrote_accepts_each_proof_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..45).await;
    let older = Proofs::open(dir.path()).unwrap().unwrap();
    append(dir.path(), 45..70).await;
    let proofs = Proofs::open(dir.path()).unwrap().unwrap();
    for seq in 0..70 {
        let proof = proofs.inclusion(seq).unwrap().unwrap();
        assert!(proof.line.contains(&format!("SELECT {seq}\"")), "{}", proof.line);
        let (root, path) = (signed(&proof.checkpoint), InclusionProof::<Sha256>::from_bytes(path(&proof.path)));
        root.verify_inclusion(&proof.line.as_bytes(), seq, &path).unwrap();
        assert!(root.verify_inclusion(&proof.line.replace("SELECT", "select").as_bytes(), seq, &path).is_err());
        assert!(root.verify_inclusion(&proof.line.as_bytes(), (seq + 1) % 70, &path).is_err());
    }
    for old in 1..70 {
        let proof = proofs.consistency(old).unwrap().unwrap();
        let path = ConsistencyProof::<Sha256>::try_from_bytes(path(&proof.path)).unwrap();
        let (old, new) = (root(&proof.old_root, old), signed(&proof.checkpoint));
        new.verify_consistency(&old, &path).unwrap();
        let forged = root(&BASE64.encode([7; 32]), proof.old_size);
        assert!(new.verify_consistency(&forged, &path).is_err());
    }
    let between = proofs.consistency(older.checkpoint().size).unwrap().unwrap();
    assert_eq!(bytes(&between.old_root), older.checkpoint().root);
    assert!(proofs.kept(&older.checkpoint().note).is_some());
    assert_eq!((proofs.inclusion(70).unwrap(), proofs.consistency(71).unwrap()), (None, None));
}

#[tokio::test]
async fn noted_hashes_that_were_edited_do_not_hinder_a_proof() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..5).await;
    fs::write(dir.path().join("00000000.hashes"), [0; 160]).unwrap();
    let proof = Proofs::open(dir.path()).unwrap().unwrap().inclusion(3).unwrap().unwrap();
    assert!(proof.line.contains("SELECT 3"));
    assert!(proof.note().starts_with("c2sp.org/tlog-proof@v1\nindex 3\n"));
}
