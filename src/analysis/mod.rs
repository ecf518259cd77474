//! SQL text and a catalog become [`Facts`].
mod facts;
pub use facts::*;
