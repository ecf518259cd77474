//! Everything that is tested against a real Postgres.

mod analysis_corpus;
mod analysis_truth;
