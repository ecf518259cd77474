//! Upstream connections and what is read from them.
pub mod catalog;
