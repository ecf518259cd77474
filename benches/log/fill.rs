//! Fills a log with many records through the real writer, and times what is asked of it then.
//!
//! ```text
//! cargo run --release --example log_fill -- DIR fill 10000000          # or: plain, for untagged statements alone
//! cargo run --release --example log_fill -- DIR ask
//! ```
//! `ask` wants an index (`holdgate log index --dir DIR`). Prints figures; asserts nothing about them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(clippy::print_stdout, clippy::as_conversions, clippy::disallowed_methods, reason = "a bench")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use holdgate::analysis::scan::StringMode;
use holdgate::analysis::{Access, Kind};
use holdgate::clock::Clock;
use holdgate::ids::{HoldId, SessionId, StatementId};
use holdgate::lineage::{
    Closing, Ending, Event, Filters, Line, Outcome, RecordApproval, RecordColumn, Sheet, StatementRecord,
};
use holdgate::log::{Log, Options, query};
use holdgate::policy::{Sensitivity, Verdict};
use holdgate::principal::Principal;

const PRINCIPALS: u64 = 40;
const TABLES: u64 = 120;
const SHAPES: u64 = 2_000;
/// Statements of one session.
const SESSION: u64 = 5_000;
const TAGS: [&str; 5] = ["user.name", "user.contact.email", "user.contact.phone", "user.health", "user.financial"];

/// Numbers without a pattern, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn place(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap()
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.get(2).map_or(1_000_000, |count| count.parse().unwrap());
    match (arguments.first(), arguments.get(1).map(String::as_str)) {
        (Some(dir), Some("fill")) => fill(Path::new(dir), count, 50).await,
        (Some(dir), Some("plain")) => fill(Path::new(dir), count, u64::MAX).await,
        (Some(dir), Some("ask")) => ask(Path::new(dir)),
        _ => println!("DIR fill COUNT | DIR plain COUNT | DIR ask"),
    }
}

/// What is said of statement number `shape` by one session.
fn record(random: &mut Random, shape: u64, session: SessionId, event: Event) -> StatementRecord {
    let (table, principal) = (shape % TABLES, random.below(PRINCIPALS));
    let text = format!(
        "SELECT o.id, o.total_{shape}, o.status FROM table_{table} o WHERE o.customer_id = 7 AND o.created_at > '2026-01-01' \
         ORDER BY o.created_at DESC LIMIT 50 /* {shape} */"
    );
    let mut record = StatementRecord::new(StatementId::new(), event).with_text(text, StringMode::Standard);
    record.session = Some(session);
    record.application_name = Some("psycopg".into());
    record.client = Some(format!("10.0.{}.{}:{}", principal % 7, principal, 30_000 + random.below(20_000)));
    let human = (principal % 2 == 0).then(|| format!("human{}", principal / 2));
    record.principal = Some(Principal { name: format!("agent{principal}"), human, ..Principal::default() });
    record.upstream = Some("db.internal:5432".into());
    record.database = Some("shop".into());
    record.kinds = vec![Kind::Read];
    "SELECT".clone_into(&mut record.command);
    record.relations = vec![format!("public.table_{table}")];
    for column in ["id", "total", "status", "customer_id", "created_at"] {
        let access = if column.ends_with("id") { vec![Access::Probe] } else { vec![Access::Reveal] };
        let name = format!("shop.public.table_{table}.{column}");
        record.columns.insert(name, RecordColumn { access, ..RecordColumn::default() });
    }
    record.verdict = Some(Verdict::Allow);
    "default".clone_into(&mut record.rule);
    record.policy = "f3ac7c6b0f1e4d2a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a".into();
    record
}

/// The same, of tagged columns; one in forty was held and approved.
fn tagged(random: &mut Random, shape: u64, session: SessionId) -> StatementRecord {
    let mut record = record(random, shape, session, Event::Closed);
    let tag = TAGS[random.place(5)].to_owned();
    let column = format!("shop.public.table_{}.{}", shape % TABLES, tag.rsplit('.').next().unwrap());
    let access = vec![Access::Reveal];
    record.columns.insert(column, RecordColumn { tags: vec![tag.clone()], access, ..RecordColumn::default() });
    record.tags = vec![tag];
    record.sensitivity = if random.below(10) == 0 { Sensitivity::Critical } else { Sensitivity::High };
    if random.below(40) == 0 {
        record.verdict = Some(Verdict::Hold);
        "large-personal-extract".clone_into(&mut record.rule);
        record.hold = Some(HoldId::new());
        let by = format!("operator{}", random.below(6));
        record.approval = Some(RecordApproval { by, verdict: "approve".into(), ..RecordApproval::default() });
    }
    record
}

fn ending(random: &mut Random) -> Ending {
    let failed = random.below(200) == 0;
    Ending {
        outcome: if failed { Outcome::Failed } else { Outcome::Complete },
        sqlstate: failed.then(|| "22012".to_owned()),
        rows: Some(random.below(50)),
        bytes: Some(random.below(9_000)),
        duration_us: 300 + random.below(40_000),
    }
}

/// One statement in `tagged_every` is tagged.
async fn fill(dir: &Path, count: u64, tagged_every: u64) {
    let log = Log::open(Options::new(dir), Clock::System).unwrap();
    let (mut random, since) = (Random(7), Instant::now());
    let mut sheets: Vec<Arc<Sheet>> = Vec::new();
    for number in 0..count {
        if number % SESSION == 0 {
            let session = SessionId::new();
            let of = |random: &mut Random| {
                let shape = random.below(SHAPES);
                Arc::new(Sheet::of(&record(random, shape, session, Event::Closed)).unwrap())
            };
            sheets = (0..40).map(|_| of(&mut random)).collect();
        }
        let line = if number % tagged_every == tagged_every - 1 {
            let shape = random.below(SHAPES);
            let mut record = tagged(&mut random, shape, SessionId::new());
            ending(&mut random).apply(&mut record);
            Line::from(record)
        } else {
            let sheet = Arc::clone(&sheets[random.place(40)]);
            Closing { id: StatementId::new(), ending: ending(&mut random), sheet }.into()
        };
        log.append(line).await.unwrap();
        if number % 1_000_000 == 999_999 {
            println!("{} records after {:?}", number + 1, since.elapsed());
        }
    }
    log.close().await;
    let bytes: u64 = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    println!("{count} records in {:?}; {:.1} bytes each on disk", since.elapsed(), bytes as f64 / count as f64);
}

/// Times a page of each filter, and of some together.
fn ask(dir: &Path) {
    let newest = query(dir, &Filters { limit: Some(1), ..Filters::default() }).unwrap().next().unwrap().unwrap();
    let earlier = newest.at.before(std::time::Duration::from_secs(20)).to_string();
    for pairs in [
        &[("since", earlier.as_str())][..],
        &[("principal", "agent7")],
        &[("principal", "agent*")],
        &[("human", "human3")],
        &[("column", "table_7.email")],
        &[("column", "table_7.total")],
        &[("tag", "user.health")],
        &[("tag", "user.**")],
        &[("relation", "table_7")],
        &[("verdict", "hold")],
        &[("approver", "operator3")],
        &[("shape", newest.shape.as_str())],
        &[("sensitivity", "critical")],
        &[("text", "total_17 ")],
        &[("text", "nowhere in it")],
        &[("outcome", "failed")],
        &[("principal", "agent7"), ("tag", "user.contact.email"), ("approver", "operator3")],
        &[("column", "table_7.email"), ("access", "reveal"), ("human", "human3")],
        &[("text", "created_at desc"), ("outcome", "failed"), ("principal", "agent9")],
    ] {
        let owned: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let filters = Filters::from_pairs(&owned, Clock::System.now()).unwrap();
        for limit in [100, 1000] {
            let since = Instant::now();
            let found =
                query(dir, &Filters { limit: Some(limit), ..filters.clone() }).unwrap().map(Result::unwrap).count();
            println!("{:>9.1?} {found:>6} records of at most {limit}: {pairs:?}", since.elapsed());
        }
    }
}
