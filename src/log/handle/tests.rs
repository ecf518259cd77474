//! Appending, closing, opening again, and what happens when the disk fails.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

use super::*;
use crate::ids::StatementId;
use crate::lineage::Event;
use crate::log::{File, Report, VerifyOptions, read, verify};

fn record(text: &str) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
    text.clone_into(&mut record.text);
    record
}

fn texts(dir: &Path) -> Vec<String> {
    let records = read(dir).unwrap().map(|record| record.unwrap());
    records
        .enumerate()
        .map(|(place, record)| {
            assert_eq!(record.seq, u64::try_from(place).unwrap());
            record.text
        })
        .collect()
}

fn intact(dir: &Path) -> Report {
    let report = verify(dir, &VerifyOptions::default()).unwrap();
    assert_eq!(report.problems, []);
    report
}

/// A disk whose faults a test switches on and off.
#[derive(Default)]
struct Faults {
    /// Bytes that still fit, if it is limited.
    is_limited: AtomicBool,
    space: AtomicI64,
    sync_fails: AtomicBool,
    syncs: AtomicU64,
}

#[derive(Clone, Default)]
struct FaultyDisk(Arc<Faults>);

impl Disk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(FaultyFile(OsDisk.open(path)?, Arc::clone(&self.0))))
    }
}

struct FaultyFile(Box<dyn File>, Arc<Faults>);

impl File for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.1.is_limited.load(Ordering::SeqCst) {
            return self.0.append(bytes);
        }
        let space = self.1.space.fetch_sub(i64::try_from(bytes.len()).unwrap(), Ordering::SeqCst);
        let fits = usize::try_from(space.max(0)).unwrap().min(bytes.len());
        self.0.append(&bytes[..fits])?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        if self.1.sync_fails.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { self.0.sync() }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
}

fn open_faulty(dir: &Path) -> (Log, FaultyDisk) {
    let disk = FaultyDisk::default();
    let options = Options { disk: Arc::new(disk.clone()), ..Options::new(dir) };
    (Log::open(options, Clock::System).unwrap(), disk)
}

#[tokio::test]
async fn what_was_appended_is_there_in_order_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
        assert_eq!(log.append_strict(record("a")).await.unwrap(), round * 3);
        log.append(record("b")).await.unwrap();
        log.try_append(record("c")).unwrap();
        log.health().unwrap();
        log.close().await;
        log.close().await;
        assert!(matches!(log.append_strict(record("d")).await, Err(LogError::Closed)));
        assert!(matches!(log.try_append(record("d")), Err(TryAppendError::Unhealthy(LogError::Closed, _))));
    }
    assert_eq!(texts(dir.path()), ["a", "b", "c"].repeat(3));
    assert_eq!(intact(dir.path()).anchored, 9);
}

#[tokio::test]
async fn a_log_grows_over_segments_and_is_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let options = Options { segment_max: 1000, ..Options::new(dir.path()) };
        let log = Log::open(options, Clock::System).unwrap();
        for number in 0..20 {
            log.append_strict(record(&format!("{round}-{number}"))).await.unwrap();
        }
        log.close().await;
    }
    assert_eq!(texts(dir.path()).len(), 60);
    assert!(intact(dir.path()).segments > 6);
}

#[tokio::test]
async fn only_one_process_appends() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
    let second = Log::open(Options::new(dir.path()), Clock::System);
    assert!(matches!(second.err(), Some(LogError::InUse { .. })));
    log.close().await;
    Log::open(Options::new(dir.path()), Clock::System).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_strict_appends_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = open_faulty(dir.path());
    let appends = (0..500).map(|number| {
        let log = log.clone();
        tokio::spawn(async move { log.append_strict(record(&number.to_string())).await.unwrap() })
    });
    let mut seqs = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        seqs.push(append.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (0..500).collect::<Vec<_>>());
    let syncs = disk.0.syncs.load(Ordering::SeqCst);
    assert!(syncs < 400, "{syncs} syncs for 500 appends");
    log.close().await;
    assert_eq!(intact(dir.path()).anchored, 500);
}

#[tokio::test]
async fn a_full_disk_refuses_strict_appends_and_comes_back_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = open_faulty(dir.path());
    log.append_strict(record("before")).await.unwrap();
    disk.0.space.store(100, Ordering::SeqCst);
    disk.0.is_limited.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = log.append_strict(record("refused")).await;
        assert!(matches!(refused, Err(LogError::Io { doing: "write", .. })), "{refused:?}");
    }
    assert!(log.health().is_err());
    assert!(log.append(record("said to be refused")).await.is_err());
    let refused = log.try_append(record("comes back"));
    assert!(
        matches!(refused, Err(TryAppendError::Unhealthy(_, back)) if back.record().is_some_and(|record| record.text == "comes back"))
    );
    disk.0.is_limited.store(false, Ordering::SeqCst);
    log.append_strict(record("after")).await.unwrap();
    log.health().unwrap();
    log.close().await;
    let texts = texts(dir.path());
    assert_eq!((texts.len(), texts[0].as_str(), texts[2].as_str()), (3, "before", "after"));
    assert!(texts[1].starts_with("log gap: "), "{}", texts[1]);
    intact(dir.path());
}

#[tokio::test]
async fn a_failed_sync_is_told_and_what_nobody_waited_for_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = open_faulty(dir.path());
    log.append_strict(record("before")).await.unwrap();
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    log.append(record("kept")).await.unwrap();
    let refused = log.append_strict(record("refused")).await;
    assert!(matches!(refused, Err(LogError::Io { doing: "sync", .. })), "{refused:?}");
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    log.append_strict(record("after")).await.unwrap();
    log.close().await;
    let texts = texts(dir.path());
    assert!(texts[1].starts_with("log gap: it could not be written; 1 strict records were refused, 1 others"));
    assert_eq!([&texts[0], &texts[2], &texts[3]], ["before", "kept", "after"]);
    intact(dir.path());
}

#[tokio::test]
async fn a_full_queue_says_so_and_nothing_in_it_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { queue_max: 4096, ..Options::new(dir.path()) };
    let log = Log::open(options, Clock::System).unwrap();
    let mut sent = 0;
    let back = loop {
        match log.try_append(record("x")) {
            Ok(()) => sent += 1,
            Err(TryAppendError::Full(back)) => break back,
            Err(other) => panic!("{other}"),
        }
    };
    log.append(back).await.unwrap();
    log.append_strict(record(&"huge".repeat(10_000))).await.unwrap();
    log.close().await;
    assert_eq!(texts(dir.path()).len(), sent + 2);
}

#[tokio::test]
async fn an_end_that_a_crash_tore_is_cut_off_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
    log.append_strict(record("a")).await.unwrap();
    log.close().await;
    let path = dir.path().join("00000000.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"v\":1,\"seq\":1,\"id\"");
    fs::write(&path, bytes).unwrap();
    let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
    log.append_strict(record("b")).await.unwrap();
    log.close().await;
    assert_eq!(texts(dir.path()), ["a", "log opened: 19 bytes of an unfinished write cut off", "b"]);
    intact(dir.path());
}

#[tokio::test]
async fn nothing_is_appended_to_a_log_that_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
    for text in ["a", "b", "c"] {
        log.append_strict(record(text)).await.unwrap();
    }
    log.close().await;
    let path = dir.path().join("00000000.jsonl");
    let original = fs::read_to_string(&path).unwrap();
    let shorter: String = original.split_inclusive('\n').take(2).collect();
    for changed in [original.replace("\"b\"", "\"x\""), shorter, String::new()] {
        fs::write(&path, changed).unwrap();
        let opened = Log::open(Options::new(dir.path()), Clock::System);
        assert!(matches!(opened.err(), Some(LogError::NotIntact { .. })));
    }
    fs::write(&path, original).unwrap();
    Log::open(Options::new(dir.path()), Clock::System).unwrap();
}

#[tokio::test]
async fn the_log_ends_with_its_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
    log.try_append(record("a")).unwrap();
    drop(log);
    // The lock is free once the writer has written all.
    fs::File::open(dir.path().join("lock")).unwrap().lock().unwrap();
    assert_eq!(texts(dir.path()), ["a"]);
    assert_eq!(intact(dir.path()).anchored, 1);
}

#[tokio::test]
async fn a_reader_goes_on_with_what_is_appended_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_max: 600, ..Options::new(dir.path()) };
    let log = Log::open(options, Clock::System).unwrap();
    let mut records = read(dir.path()).unwrap();
    for number in 0..10 {
        log.append_strict(record(&number.to_string())).await.unwrap();
        let found: Vec<_> = records.by_ref().map(|record| record.unwrap().text).collect();
        assert_eq!(found, [number.to_string()]);
    }
    log.close().await;
}

#[tokio::test]
async fn a_log_whose_directory_is_gone_refuses_and_one_that_was_replaced_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("log");
    let log = Log::open(Options::new(&place), Clock::System).unwrap();
    log.append_strict(record("a")).await.unwrap();
    fs::rename(&place, dir.path().join("moved")).unwrap();
    fs::remove_dir_all(dir.path().join("moved")).unwrap();
    assert!(log.append_strict(record("b")).await.is_err());
    fs::create_dir(&place).unwrap();
    assert!(log.append_strict(record("c")).await.is_err());
    assert!(log.health().unwrap_err().contains("lock"), "{:?}", log.health());
    log.close().await;
}

#[tokio::test]
async fn a_group_is_durable_with_one_sync_and_refused_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = open_faulty(dir.path());
    let group = || (0..100).map(|number| record(&number.to_string())).collect::<Vec<_>>();
    let before = disk.0.syncs.load(Ordering::SeqCst);
    log.append_all_strict(group()).await.unwrap();
    assert_eq!(disk.0.syncs.load(Ordering::SeqCst) - before, 1);
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    assert!(log.append_each_strict(group()).await.iter().all(Result::is_err));
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    log.append_all_strict(vec![record("small"), record(&"x".repeat(30 << 20))]).await.unwrap();
    log.close().await;
    assert_eq!(texts(dir.path()).len(), 100 + 1 + 2);
    intact(dir.path());
}

#[tokio::test]
async fn after_a_failed_sync_the_segment_is_left_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = open_faulty(dir.path());
    log.append_strict(record("before")).await.unwrap();
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        log.append_strict(record("refused")).await.unwrap_err();
    }
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    log.append_strict(record("after")).await.unwrap();
    log.close().await;
    assert_eq!(intact(dir.path()).segments, 2);
    assert!(!dir.path().join("00000002.jsonl").exists());
}

#[tokio::test]
async fn nothing_goes_on_behind_lines_that_are_not_on_disk_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = open_faulty(dir.path());
    log.append_strict(record("before")).await.unwrap();
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    log.append_strict(record("refused")).await.unwrap_err();
    // What a disk that lost a page gives back.
    let path = dir.path().join("00000000.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("before", "\0\0\0\0\0\0")).unwrap();
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    let refused = log.append_strict(record("after")).await;
    assert!(matches!(refused, Err(LogError::NotIntact { .. })), "{refused:?}");
    log.close().await;
}

#[tokio::test]
async fn appends_that_wait_for_room_are_told_when_the_log_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let options = Options { queue_max: 4096, disk: Arc::new(disk.clone()), ..Options::new(dir.path()) };
    let log = Log::open(options, Clock::System).unwrap();
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    while log.try_append(record("kept")).is_ok() {}
    assert!(log.append_strict(record("refused")).await.is_err());
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    log.append_strict(record("after")).await.unwrap();
    log.close().await;
    let texts = texts(dir.path());
    assert!(texts.iter().any(|text| text == "kept") && texts.last().unwrap() == "after", "{texts:?}");
    intact(dir.path());
}

/// What kill -9 leaves: files as they are at some moment, evidence never newer than lines.
fn snapshot(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_by_key(|name| {
        let name = name.to_string_lossy().into_owned();
        (!name.starts_with("checkpoints"), !name.ends_with(".hashes"), name)
    });
    for name in names {
        fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_record_is_lost_wherever_a_crash_comes() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let load = {
        let (log, acknowledged) = (log.clone(), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            while let Ok(seq) = log.append_strict(record("load")).await {
                acknowledged.fetch_max(seq + 1, Ordering::SeqCst);
                log.append(record("async")).await.ok();
            }
        })
    };
    for _ in 0..10 {
        let before = acknowledged.load(Ordering::SeqCst);
        let copy = snapshot(dir.path());
        assert_eq!(verify(copy.path(), &VerifyOptions::default()).unwrap().problems, []);
        Log::open(Options::new(copy.path()), Clock::System).unwrap().close().await;
        let lines = u64::try_from(texts(copy.path()).len()).unwrap();
        assert!(lines >= before, "{lines} of {before} acknowledged lines");
        assert_eq!(intact(copy.path()).unanchored, 0);
    }
    log.close().await;
    load.await.unwrap();
}
