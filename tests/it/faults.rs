//! A log that cannot be written: nothing is forwarded, everybody is told, and it goes on by itself once it can.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use holdgate::config::{Config, Environment, ServeFlags};
use holdgate::log::{Disk, File, OsDisk, VerifyOptions, read, verify};
use holdgate::server::{Options, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::harness::{Api, Client, Options as ProxyOptions, Proxy, TestDb, eventually};

const POLICY: &str = "version: 1\nerrors: pass\ntags:\n  - { columns: [email], tag: user.contact.email }\n  - { columns: \
                      [last_name], tag: user.name }\nrules:\n  - { name: never, match: { tag: user.name }, effect: deny }\n  \
                      - { name: ask, match: { kind: ddl }, effect: hold, approve: { from: [dba], quorum: 1, expires: 30m } \
                      }\ndefault: allow\n";

/// Tagged; the sequence tells how often it was run.
const TAGGED: &str = "SELECT c.email, nextval('reached') FROM customers c WHERE c.id = 7";
const UNTAGGED: &str = "SELECT nextval('reached')";
const DENIED: &str = "SELECT c.last_name FROM customers c WHERE c.id = 7";

/// In what way the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Fault {
    None,
    /// ENOSPC in the middle of a write.
    Full,
    /// EIO at a write.
    Broken,
    /// EIO at a sync, once; what was written before it is anybody's guess.
    Sync,
    /// EROFS at everything.
    ReadOnly,
    /// A sync that does not come back.
    Hang,
}

#[derive(Clone, Debug, Default)]
struct FaultyDisk(Arc<AtomicU8>);

impl FaultyDisk {
    fn set(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    fn is(&self, fault: Fault) -> bool {
        self.0.load(Ordering::SeqCst) == fault as u8
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        if self.is(Fault::ReadOnly) {
            return Err(io::Error::from_raw_os_error(30));
        }
        Ok(Box::new(FaultyFile(OsDisk.open(path)?, self.clone())))
    }
}

struct FaultyFile(Box<dyn File>, FaultyDisk);

impl File for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.1.is(Fault::Full) {
            self.0.append(&bytes[..bytes.len() / 2])?;
            return Err(io::Error::from_raw_os_error(28));
        }
        if self.1.is(Fault::Broken) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.1.is(Fault::ReadOnly) {
            return Err(io::Error::from_raw_os_error(30));
        }
        self.0.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        while self.1.is(Fault::Hang) {
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        if self.1.is(Fault::Sync) { Err(io::Error::from_raw_os_error(5)) } else { self.0.sync() }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.1.is(Fault::ReadOnly) { Err(io::Error::from_raw_os_error(30)) } else { self.0.truncate(length) }
    }
}

/// A server in this process over a disk that fails when a test says so.
struct Room {
    runtime: Runtime,
    server: Option<Server>,
    disk: FaultyDisk,
    db: TestDb,
    state: TempDir,
    api: Api,
    dsn: String,
}

impl Room {
    fn start(label: &str) -> Self {
        Self::start_with(label, holdgate::log::SYNC_TIMEOUT)
    }

    fn start_with(label: &str, sync_timeout: std::time::Duration) -> Self {
        let db = TestDb::new(label);
        db.direct("CREATE SEQUENCE reached");
        let state = TempDir::new().unwrap();
        let policies = state.path().join("policy.yaml");
        fs::write(&policies, POLICY).unwrap();
        let flags = ServeFlags {
            upstream: Some(db.dsn()),
            listen: Some("127.0.0.1:0".into()),
            http: Some("127.0.0.1:0".into()),
            policies: Some(policies),
            state: Some(state.path().to_path_buf()),
            ..ServeFlags::default()
        };
        let mut options = Options::of(&Config::from_flags(&flags, &Environment::default()).unwrap()).unwrap();
        let disk = FaultyDisk::default();
        options.log.disk = Arc::new(disk.clone());
        options.log.sync_timeout = sync_timeout;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(options)).unwrap();
        let token = fs::read_to_string(state.path().join("operator.token")).unwrap();
        let api = Api::new(&server.http().unwrap().to_string(), token.trim());
        let dsn = format!("postgres://postgres@{}/{}", server.postgres(), db.name);
        Self { runtime, server: Some(server), disk, db, state, api, dsn }
    }

    fn reached(&self) -> String {
        self.db.direct("SELECT last_value, is_called FROM reached")
    }

    fn log(&self) -> PathBuf {
        self.state.path().join("log")
    }

    fn ready(&self) -> (u16, String) {
        self.api.request("GET", "/readyz", None)
    }

    /// The log breaks under sessions that are open, and is repaired.
    fn goes_through(mut self, break_it: impl FnOnce(&Self), repair: impl FnOnce(&Self)) {
        let (open, other) = (Client::connect(&self.dsn), Client::connect(&self.dsn));
        open.query(TAGGED).unwrap();
        let prepared = other.wait(other.inner.prepare(TAGGED)).unwrap();
        let before = self.reached();
        break_it(&self);
        // The first to meet the fault, in each of the ways in which a statement is written down first.
        let since = std::time::Instant::now();
        assert_eq!(open.fails(TAGGED).0, "58030");
        println!("refused after {:?}", since.elapsed());
        let bound = other.wait(other.inner.query(&prepared, &[])).unwrap_err();
        assert_eq!(bound.code().unwrap().code(), "58030");
        for sql in [UNTAGGED, DENIED, "CREATE TABLE never (id int)", TAGGED] {
            let (code, text) = open.fails(sql);
            assert_eq!(code, "58030", "{sql}: {text}");
            assert!(text.contains("Nothing was executed"), "{text}");
        }
        assert_eq!(self.reached(), before, "something was forwarded");
        let (status, body) = self.ready();
        assert_eq!(status, 503);
        assert!(body.contains("the lineage log cannot be written"), "{body}");
        assert!(self.api.get("/api/v1/holds?state=pending")["holds"].as_array().unwrap().is_empty());
        repair(&self);
        eventually("the log is written again", || open.query(TAGGED).ok());
        other.query(UNTAGGED).unwrap();
        eventually("the proxy is ready again", || (self.ready().0 == 200).then_some(()));
        drop((open, other));
        self.runtime.block_on(self.server.take().unwrap().drain());
        self.check_log();
    }

    fn check_log(&self) {
        let report = verify(&self.log(), &VerifyOptions::default()).unwrap();
        assert_eq!(report.problems, []);
        let records: Vec<_> = read(&self.log()).unwrap().map(Result::unwrap).collect();
        let gaps = records.iter().filter(|record| record.text.starts_with("log gap: ")).count();
        assert!(gaps >= 1, "no record of the gap");
        for record in &records {
            let same = |other: &&holdgate::lineage::StatementRecord| {
                other.id == record.id && other.event == holdgate::lineage::Event::Closed
            };
            let is_statement = record.verdict.is_some();
            assert!(!is_statement || records.iter().filter(same).count() == 1, "{record:?}");
        }
        let told = |code: &str| records.iter().filter(|record| record.sqlstate.as_deref() == Some(code)).count();
        assert!(told("58030") >= 6, "the refused statements have closing records too");
    }
}

#[test]
fn a_disk_that_does_not_answer_is_waited_for_as_long_as_is_configured_and_lets_nothing_through() {
    let mut room = Room::start_with("hang", std::time::Duration::from_millis(500));
    let open = Client::connect(&room.dsn);
    eventually("the disk is quick enough at times", || open.query(TAGGED).ok());
    let before = room.reached();
    room.disk.set(Fault::Hang);
    let (code, text) = open.fails(TAGGED);
    assert!(code == "58030" && text.contains("did not answer in 500ms"), "{code}: {text}");
    for sql in [UNTAGGED, DENIED, TAGGED] {
        assert_eq!(open.fails(sql).0, "58030", "{sql}");
    }
    assert_eq!(room.reached(), before, "something was forwarded");
    assert_eq!(room.ready().0, 503);
    room.disk.set(Fault::None);
    eventually("the log is written again", || open.query(TAGGED).ok());
    drop(open);
    room.runtime.block_on(room.server.take().unwrap().drain());
    assert_eq!(verify(&room.log(), &VerifyOptions::default()).unwrap().problems, []);
}

#[test]
fn a_full_disk_lets_nothing_through() {
    let room = Room::start("full");
    room.goes_through(|room| room.disk.set(Fault::Full), |room| room.disk.set(Fault::None));
}

#[test]
fn an_error_of_the_disk_lets_nothing_through() {
    let room = Room::start("eio");
    room.goes_through(|room| room.disk.set(Fault::Broken), |room| room.disk.set(Fault::None));
}

#[test]
fn a_failed_sync_lets_nothing_through_and_its_segment_is_left() {
    let room = Room::start("sync");
    room.goes_through(
        |room| room.disk.set(Fault::Sync),
        |room| {
            room.disk.set(Fault::None);
            eventually("a new segment", || room.log().join("00000001.jsonl").exists().then_some(()));
        },
    );
}

#[test]
fn a_file_system_that_became_read_only_lets_nothing_through() {
    let room = Room::start("rofs");
    room.goes_through(|room| room.disk.set(Fault::ReadOnly), |room| room.disk.set(Fault::None));
}

#[test]
fn a_lost_log_directory_lets_nothing_through() {
    let room = Room::start("lost");
    room.goes_through(
        |room| fs::rename(room.log(), room.state.path().join("moved")).unwrap(),
        |room| fs::rename(room.state.path().join("moved"), room.log()).unwrap(),
    );
}

#[test]
fn a_real_file_system_without_space_lets_nothing_through() {
    let mount = TempDir::new().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(mount.path()).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("not run: only root may mount a file system");
        return;
    }
    let _unmount = Unmount(mount.path().to_path_buf());
    let db = TestDb::new("enospc");
    db.direct("CREATE SEQUENCE reached");
    let config = mount.path().join("holdgate.yaml");
    let log = mount.path().join("log");
    fs::write(&config, format!("log: {{ dir: {} }}\n", log.display())).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let options = ProxyOptions { policy: Some(POLICY), arguments: &arguments, ..ProxyOptions::default() };
    let mut proxy = Proxy::start(&db, options);
    let client = proxy.connect();
    client.query(TAGGED).unwrap();
    let filler = mount.path().join("filler");
    let full = fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    // What is left of the last page still takes a line or two.
    let refused = (0..50).find_map(|_| client.query(TAGGED).err()).expect("the disk is full");
    assert_eq!(refused.code().unwrap().code(), "58030");
    let before = db.direct("SELECT last_value FROM reached");
    assert_eq!(client.fails(TAGGED).0, "58030");
    assert_eq!(client.fails(UNTAGGED).0, "58030");
    assert_eq!(db.direct("SELECT last_value FROM reached"), before);
    fs::remove_file(&filler).unwrap();
    eventually("the log is written again", || client.query(TAGGED).ok());
    drop(client);
    proxy.signal("TERM");
    proxy.wait();
    assert_eq!(verify(&log, &VerifyOptions::default()).unwrap().problems, []);
    assert!(read(&log).unwrap().any(|record| record.unwrap().text.starts_with("log gap: ")));
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
