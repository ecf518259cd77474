//! What one statement costs in the rooms that never wait: framing, scanning, analysis, policy.
#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use holdgate::analysis::scan::{StringMode, mask};
use holdgate::analysis::{Cache, Context, analyze};
use holdgate::catalog::Catalog;
use holdgate::clock::Timestamp;
use holdgate::policy::{Policy, Request};
use holdgate::principal::Principal;
use holdgate::wire::frame;

const STATEMENT: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = 4711;";

fn statement(criterion: &mut Criterion) {
    let catalog = Catalog::empty();
    let path = ["public".to_owned()];
    let context = Context::new(&catalog, "bench", &path, "agent");
    let cache = Cache::new(16);
    let policy = Policy::shipped();
    let principal = Principal { name: "agent".into(), role: "agent".into(), ..Principal::default() };
    let facts = analyze(STATEMENT, &context).unwrap();
    let only = facts.statements.first().unwrap();
    let mut header = vec![b'Q'];
    header.extend(u32::try_from(STATEMENT.len() + 5).unwrap().to_be_bytes());

    criterion.bench_function("frame header", |bencher| bencher.iter(|| frame::frontend_header(black_box(&header))));
    criterion.bench_function("mask", |bencher| bencher.iter(|| mask(black_box(STATEMENT), StringMode::Standard)));
    criterion
        .bench_function("analysis, first sight", |bencher| bencher.iter(|| analyze(black_box(STATEMENT), &context)));
    criterion.bench_function("analysis, known text", |bencher| {
        bencher.iter(|| cache.analyze(black_box(STATEMENT), &context));
    });
    criterion.bench_function("policy", |bencher| {
        bencher.iter(|| {
            let request = Request {
                principal: &principal,
                database: "bench",
                client: None,
                environment: None,
                intent: None,
                facts: black_box(only),
                estimate: None,
                at: Timestamp::from_micros(0),
            };
            policy.evaluate(&request)
        });
    });
}

criterion_group!(benches, statement);
criterion_main!(benches);
