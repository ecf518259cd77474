//! Thousands of statements that nobody thought of, each analysed and held against Postgres's own tree.
//!
//! `HOLDGATE_GENERATOR_SEED` and `HOLDGATE_GENERATOR_COUNT` choose one run. Start reading at
//! [`no_column_of_a_generated_statement_is_missed`].

mod doc;
mod expr;
mod from;
mod judge;
mod lexis;
mod maker;
mod query;
pub mod random;
mod schema;
mod scope;
mod write;

use judge::Judge;

/// Statements of a run.
const COUNT: usize = 2500;
/// The seed of the run that is always made.
const SEED: u64 = 20_261_121;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_column_of_a_generated_statement_is_missed() {
    let seed = setting("HOLDGATE_GENERATOR_SEED").unwrap_or(SEED);
    let count = setting("HOLDGATE_GENERATOR_COUNT").map_or(COUNT, |count| usize::try_from(count).unwrap());
    let judge = Judge::start().await;
    let total = judge.run(seed, count).await;
    println!("seed {seed}: {total}");
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n\n"));
    assert!(total.refused * 10 < total.made * 3, "Postgres refuses too many statements: {total}");
    assert!(total.beyond * 100 <= total.said, "too many columns are beyond the tree: {total}");
    assert!(total.outputs_wrong * 100 <= total.outputs, "too many result columns have other sources: {total}");
}
