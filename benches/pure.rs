//! What one statement costs in the rooms that never wait: framing, scanning, analysis, policy.
#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use holdgate::analysis::scan::{StringMode, mask};
use holdgate::analysis::{CACHE_ENTRIES_MAX, Cache, Context, analyze};
use holdgate::catalog::{Catalog, CatalogBuilder};
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

/// A catalog of the functions of the server that the shop's snapshot has, and of some tables.
fn catalog(tables: &[(&str, &str)]) -> Catalog {
    let shop: serde_json::Value = serde_json::from_str(include_str!("../fuzz/shop.json")).unwrap();
    let mut builder = CatalogBuilder::new();
    for query in ["schemas", "types", "functions"] {
        for row in shop.pointer(&format!("/rows/{query}")).unwrap().as_array().unwrap() {
            builder.add(query, row.as_str().unwrap()).unwrap();
        }
    }
    for (place, (name, columns)) in tables.iter().enumerate() {
        let columns: Vec<serde_json::Value> = columns
            .split_whitespace()
            .enumerate()
            .map(|(number, name)| {
                serde_json::json!({"number": number + 1, "name": name, "type": 23, "not_null": false,
                    "generated": false, "default": null, "comment": null})
            })
            .collect();
        let row = serde_json::json!({"oid": 50_000 + place, "schema": "public", "name": name, "kind": "r",
            "persistence": "p", "row_security": false, "parents": [], "columns": columns, "definition": null});
        builder.add("relations", &row.to_string()).unwrap();
    }
    builder.finish()
}

const TABLES: &[(&str, &str)] = &[
    ("pgbench_accounts", "aid bid abalance filler"),
    ("pgbench_tellers", "tid bid tbalance filler"),
    ("pgbench_history", "tid bid aid delta mtime filler"),
    ("sbtest1", "id k c pad"),
    (
        "auth_user",
        "id password last_login is_superuser username first_name last_name email is_staff is_active date_joined",
    ),
    (
        "store_sales",
        "ss_sold_date_sk ss_item_sk ss_customer_sk ss_store_sk ss_quantity ss_sales_price ss_ext_sales_price ss_net_profit",
    ),
    ("date_dim", "d_date_sk d_date d_year d_moy d_qoy d_day_name d_week_seq"),
    ("item", "i_item_sk i_item_id i_item_desc i_brand_id i_brand i_class i_category i_manufact_id i_current_price"),
    ("store", "s_store_sk s_store_id s_store_name s_state s_county s_zip"),
    ("customer", "c_customer_sk c_customer_id c_current_addr_sk c_first_name c_last_name c_birth_year"),
    ("customer_address", "ca_address_sk ca_city ca_county ca_state ca_zip ca_country"),
];

/// Statements of pgbench, of sysbench and of an ORM, each with other values in its second form.
const OLTP: &[(&str, &str, &str)] = &[
    (
        "pgbench select",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12;",
    ),
    (
        "pgbench update",
        "UPDATE pgbench_accounts SET abalance = abalance + -311 WHERE aid = 4711;",
        "UPDATE pgbench_accounts SET abalance = abalance + -17 WHERE aid = 12;",
    ),
    (
        "sysbench range",
        "SELECT c FROM sbtest1 WHERE id BETWEEN 100 AND 199 ORDER BY c",
        "SELECT c FROM sbtest1 WHERE id BETWEEN 1 AND 99 ORDER BY c",
    ),
    (
        "ORM",
        "SELECT \"auth_user\".\"id\", \"auth_user\".\"password\", \"auth_user\".\"last_login\", \"auth_user\".\"is_superuser\", \
         \"auth_user\".\"username\", \"auth_user\".\"first_name\", \"auth_user\".\"last_name\", \"auth_user\".\"email\", \
         \"auth_user\".\"is_staff\", \"auth_user\".\"is_active\", \"auth_user\".\"date_joined\" FROM \"auth_user\" WHERE \"auth_user\".\"id\" = 7",
        "SELECT \"auth_user\".\"id\", \"auth_user\".\"password\", \"auth_user\".\"last_login\", \"auth_user\".\"is_superuser\", \
         \"auth_user\".\"username\", \"auth_user\".\"first_name\", \"auth_user\".\"last_name\", \"auth_user\".\"email\", \
         \"auth_user\".\"is_staff\", \"auth_user\".\"is_active\", \"auth_user\".\"date_joined\" FROM \"auth_user\" WHERE \"auth_user\".\"id\" = 4711",
    ),
];

/// A report in the manner of a decision-support benchmark: two WITH queries, joins of five tables, a window, a subquery.
const REPORT: &str = "WITH sold AS (SELECT ss_customer_sk, ss_item_sk, d_year, sum(ss_ext_sales_price) AS amount, count(*) AS sales \
    FROM store_sales, date_dim, store WHERE ss_sold_date_sk = d_date_sk AND ss_store_sk = s_store_sk AND d_year IN (2000, 2001, 2002) \
    AND s_state IN ('TN', 'SD', 'AL') AND ss_quantity BETWEEN 1 AND 20 GROUP BY ss_customer_sk, ss_item_sk, d_year), \
    best AS (SELECT i_category, i_brand, i_class, d_year, sum(amount) AS amount, rank() OVER (PARTITION BY i_category, d_year \
    ORDER BY sum(amount) DESC) AS place FROM sold JOIN item ON ss_item_sk = i_item_sk WHERE i_current_price > 50 \
    GROUP BY ROLLUP (i_category, i_brand, i_class, d_year)) \
    SELECT c_last_name, c_first_name, ca_city, b.i_category, b.amount, CASE WHEN b.amount > 1000 THEN 'much' WHEN b.amount > 100 \
    THEN 'some' ELSE 'little' END AS size, CASE WHEN s.sales > 0 THEN s.amount / s.sales ELSE NULL END AS mean \
    FROM best b, sold s, customer c, customer_address a WHERE b.d_year = s.d_year AND s.ss_customer_sk = c.c_customer_sk \
    AND c.c_current_addr_sk = a.ca_address_sk AND b.place <= 100 AND s.amount > (SELECT max(x.amount) * 0.2 FROM sold x \
    WHERE x.d_year = s.d_year) AND EXISTS (SELECT 1 FROM store_sales, date_dim WHERE ss_customer_sk = c.c_customer_sk \
    AND ss_sold_date_sk = d_date_sk AND d_moy BETWEEN 1 AND 4) AND lower(a.ca_zip) <> '12345' \
    ORDER BY c_last_name, c_first_name, ca_city, b.amount DESC LIMIT 100";

/// What the facts of a text cost: known by text, known by shape, not known. Beside it a loop that any machine can run.
fn facts(criterion: &mut Criterion) {
    let catalog = catalog(TABLES);
    let path = ["public".to_owned()];
    let context = Context::new(&catalog, "bench", &path, "agent");
    let megabyte = vec![7_u8; 1 << 20];
    criterion.bench_function("calibration: SHA-256 of 1 MiB", |bencher| {
        bencher.iter(|| ring::digest::digest(&ring::digest::SHA256, black_box(&megabyte)));
    });
    for (name, one, other) in OLTP {
        let cache = Cache::new(CACHE_ENTRIES_MAX);
        let first = cache.analyze(one.as_bytes(), &context).unwrap();
        assert!(
            Arc::ptr_eq(&first, &cache.analyze(other.as_bytes(), &context).unwrap()),
            "{name} is not known by its shape"
        );
        criterion.bench_function(&format!("facts by shape: {name}"), |bencher| {
            bencher.iter(|| cache.analyze(black_box(other.as_bytes()), &context));
        });
        let parametric = one
            .replace("4711", "$1")
            .replace("= 7", "= $1")
            .replace("-311", "$2")
            .replace("100", "$1")
            .replace("199", "$2");
        cache.analyze(parametric.as_bytes(), &context).unwrap();
        criterion.bench_function(&format!("facts by text: {name}"), |bencher| {
            bencher.iter(|| cache.analyze(black_box(parametric.as_bytes()), &context));
        });
        criterion.bench_function(&format!("facts, first sight: {name}"), |bencher| {
            bencher.iter(|| analyze(black_box(one.as_bytes()), &context));
        });
    }
    let report = analyze(REPORT.as_bytes(), &context).unwrap();
    assert!(report.statements.iter().all(|statement| statement.opaque.is_empty()), "{:?}", report.statements);
    criterion.bench_function("facts, first sight: report", |bencher| {
        bencher.iter(|| analyze(black_box(REPORT.as_bytes()), &context));
    });
}

criterion_group!(benches, statement, facts);
criterion_main!(benches);
