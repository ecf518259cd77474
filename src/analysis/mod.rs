//! SQL text and a catalog become [`Facts`].
mod facts;
pub mod scan;
pub use facts::*;
