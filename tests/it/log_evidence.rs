//! What an auditor gets, checked by nothing of ours.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use holdgate::clock::Clock;
use holdgate::ids::StatementId;
use holdgate::lineage::{Event, Outcome, RecordApproval, StatementRecord};
use holdgate::log::{Log, Options, keep_policy};
use holdgate::principal::Principal;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::log::{holdgate, stdout};

const POLICY: &[u8] = b"9\0rules: []";

fn policy_hash() -> String {
    holdgate::ids::hex(&Sha256::digest(POLICY))
}

async fn state() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join("log");
    let log = Log::open(Options { segment_max: 4000, ..Options::new(&dir) }, Clock::System).unwrap();
    for number in 0..60 {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        let name = if number % 3 == 0 { "bot" } else { "ann" };
        record.principal = Some(Principal { name: name.into(), ..Principal::default() });
        record.outcome = Some(Outcome::Complete);
        record.tags = vec!["user.contact.email".into()];
        record.rows = Some(2);
        record.policy = policy_hash();
        record.text = format!("SELECT email FROM t{number}");
        let approval = RecordApproval { by: "op".into(), verdict: "approve".into(), ..RecordApproval::default() };
        record.approval = (number == 30).then_some(approval);
        log.append_strict(record).await.unwrap();
    }
    log.close().await;
    keep_policy(&dir, &policy_hash(), POLICY).unwrap();
    state
}

fn hashes(value: &Value) -> Vec<u8> {
    value.as_array().unwrap().iter().flat_map(|hash| BASE64.decode(hash.as_str().unwrap()).unwrap()).collect()
}

fn root(text: &str, size: u64) -> RootHash<Sha256> {
    let hash: [u8; 32] = BASE64.decode(text).unwrap().try_into().unwrap();
    RootHash::new(hash.into(), size)
}

fn signed(note: &str) -> RootHash<Sha256> {
    let lines: Vec<&str> = note.lines().collect();
    root(lines[2], lines[1].parse().unwrap())
}

/// As the pack's own instructions say.
fn check(pack: &Path) -> Result<usize, String> {
    let read = |name: &str| fs::read_to_string(pack.join(name)).unwrap();
    let (checkpoint, records, proofs) = (signed(&read("checkpoint")), read("records.jsonl"), read("proofs.jsonl"));
    let mut count = 0;
    for (record, proof) in records.lines().zip(proofs.lines()) {
        let proof: Value = serde_json::from_str(proof).unwrap();
        let path = InclusionProof::<Sha256>::try_from_bytes(hashes(&proof["path"])).unwrap();
        let seq = proof["seq"].as_u64().unwrap();
        checkpoint.verify_inclusion(&record.as_bytes(), seq, &path).map_err(|error| format!("{seq}: {error:?}"))?;
        count += 1;
    }
    for line in read("consistency.jsonl").lines() {
        let proof: Value = serde_json::from_str(line).unwrap();
        let path = ConsistencyProof::<Sha256>::try_from_bytes(hashes(&proof["path"])).unwrap();
        let old = root(proof["old_root"].as_str().unwrap(), proof["old_size"].as_u64().unwrap());
        checkpoint.verify_consistency(&old, &path).map_err(|error| format!("{error:?}"))?;
    }
    for entry in fs::read_dir(pack.join("policies")).unwrap() {
        let path = entry.unwrap().path();
        let found = holdgate::ids::hex(&Sha256::digest(fs::read(&path).unwrap()));
        assert_eq!(path.file_name().unwrap().to_str(), Some(found.as_str()));
    }
    Ok(count)
}

#[tokio::test]
async fn a_pack_is_checked_by_a_verifier_that_others_wrote_and_an_edited_one_is_found() {
    let state = state().await;
    let pack = state.path().join("pack");
    let done = holdgate(
        state.path(),
        &["export", "--evidence", "--principal", "bot", "--since", "1h", "--out", pack.to_str().unwrap()],
    );
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(check(&pack), Ok(20));
    assert!(fs::read_to_string(pack.join("consistency.jsonl")).unwrap().lines().count() > 1);
    assert_eq!(fs::read_dir(pack.join("policies")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(pack.join("approvals.jsonl")).unwrap().lines().count(), 1);
    let records = fs::read_to_string(pack.join("records.jsonl")).unwrap();
    fs::write(pack.join("records.jsonl"), records.replacen("FROM t33", "FROM t34", 1)).unwrap();
    assert!(check(&pack).unwrap_err().starts_with("33:"));
}

/// What the pack's own script says.
fn own_check(pack: &Path, key: &Path) -> (bool, String) {
    let run = std::process::Command::new("python3").arg(pack.join("verify.py")).arg("--key").arg(key).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr))
}

#[tokio::test]
async fn a_pack_in_one_file_is_checked_as_its_readme_says_and_each_edit_in_it_is_found() {
    let state = state().await;
    let key = state.path().join("kept.pub");
    fs::copy(state.path().join("log/signing.pub"), &key).unwrap();
    assert_eq!(holdgate(state.path(), &["rotate-key"]).status.code(), Some(0));
    for name in ["pack.tar", "pack.tar.zst"] {
        let (file, folder) = (state.path().join(name), state.path().join(format!("{name}.d")));
        let out = file.to_str().unwrap();
        let done = holdgate(state.path(), &["export", "--evidence", "--since", "1h", "--out", out]);
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        let again = holdgate(state.path(), &["export", "--evidence", "--since", "1h", "--out", out]);
        assert_eq!(again.status.code(), Some(2), "a file that is there is not replaced");
        fs::create_dir(&folder).unwrap();
        let unpacked = std::process::Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&folder).status().unwrap();
        assert!(unpacked.success());
        let (holds, said) = own_check(&folder.join("pack"), &key);
        assert!(holds && said.starts_with("intact: 61 records of a log of 61"), "{said}");
    }
    assert!(fs::read_dir(state.path()).unwrap().all(|it| !it.unwrap().file_name().to_string_lossy().starts_with('.')));
    let pack = state.path().join("pack.tar.d/pack");
    assert!(fs::read_to_string(pack.join("README.md")).unwrap().contains("`python3 verify.py --key KEPT.pub`"));
    let seal = fs::read_dir(pack.join("checkpoints")).unwrap().next().unwrap().unwrap().file_name();
    let policy = format!("policies/{}", policy_hash());
    for (name, from, to) in [
        ("records.jsonl", "FROM t33", "FROM t34"),
        ("proofs.jsonl", "{\"seq\":7,", "{\"seq\":8,"),
        ("checkpoint", "\n61\n", "\n60\n"),
        ("keys", "\n61\n", "\n62\n"),
        ("consistency.jsonl", "{\"old_size\":", "{\"old_size\":1"),
        (&format!("checkpoints/{}", seal.to_str().unwrap()), "bytes ", "bytes 1"),
        (&policy, "rules", "Rules"),
        ("approvals.jsonl", "FROM t30", "FROM t31"),
    ] {
        let path = pack.join(name);
        let original = fs::read_to_string(&path).unwrap();
        let edited = original.replacen(from, to, 1);
        assert_ne!(original, edited, "{name} does not hold {from:?}");
        fs::write(&path, edited).unwrap();
        let (holds, said) = own_check(&pack, &key);
        assert!(!holds && said.starts_with("NOT INTACT: "), "{name}: {said}");
        fs::write(&path, original).unwrap();
    }
    assert!(own_check(&pack, &key).0);
    let stranger = tempfile::tempdir().unwrap();
    Log::open(Options::new(stranger.path()), Clock::System).unwrap().close().await;
    assert!(!own_check(&pack, &stranger.path().join("signing.pub")).0, "a key that is not the log's");
}

#[tokio::test]
async fn a_report_counts_rows_and_approvals_in_each_format() {
    let state = state().await;
    let report = |format: &str| stdout(&holdgate(state.path(), &["report", "--since", "1h", "--format", format]));
    let value: Value = serde_json::from_str(&report("json")).unwrap();
    let bot = value["rows"].as_array().unwrap().iter().find(|row| row["principal"] == "bot").unwrap();
    assert_eq!(
        (bot["statements"].as_u64(), bot["rows"].as_u64(), bot["approved"].as_u64()),
        (Some(20), Some(40), Some(1))
    );
    assert!(report("csv").lines().any(|line| line.starts_with("bot,,user.contact.email,20,40,0,0,1,op,")));
    assert!(report("table").contains("60 statements from"));
    let page = report("html");
    assert!(page.starts_with("<!doctype html>") && page.contains("<td>user.contact.email</td>"), "{page}");
}

#[tokio::test]
async fn a_log_in_a_folder_of_another_name_is_read_and_its_key_and_holds_are_kept_by_command() {
    let state = state().await;
    let dir = state.path().join("elsewhere");
    fs::rename(state.path().join("log"), &dir).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"));
        command.arg("log").args(arguments).arg("--dir").arg(&dir).env_remove("HOLDGATE_STATE").output().unwrap()
    };
    fs::copy(dir.join("checkpoints"), state.path().join("kept")).unwrap();
    fs::copy(dir.join("signing.pub"), state.path().join("kept.pub")).unwrap();
    assert!(stdout(&run(&["index"])).starts_with("indexed: 60 records"));
    assert_eq!(stdout(&run(&["query", "--principal", "bot", "--format", "csv"])).lines().count(), 21);
    assert_eq!(run(&["rotate-key"]).status.code(), Some(0));
    let set = run(&["legal-hold", "set", "case-7", "--reason", "a court asked", "--where", "principal=bot"]);
    assert_eq!(stdout(&set), "done, and recorded\n", "{}", String::from_utf8_lossy(&set.stderr));
    assert!(stdout(&run(&["query", "--text", "legal hold case-7"])).contains("legal-hold-set"));
    let (kept, key) = (state.path().join("kept"), state.path().join("kept.pub"));
    let verified = run(&["verify", "--deep", "--checkpoint", kept.to_str().unwrap(), "--key", key.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
    let consistent = run(&["prove", "--consistency", kept.to_str().unwrap()]);
    let proof: Value = serde_json::from_slice(&consistent.stdout).unwrap();
    assert_eq!((proof["old_size"].as_u64(), proof["new_size"].as_u64()), (Some(60), Some(62)));
}
