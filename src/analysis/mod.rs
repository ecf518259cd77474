//! SQL text and a catalog become [`Facts`].
mod context;
mod facts;
mod shim;
pub use shim::*;
pub use context::{Context, Encoding, Overlay, Rejected, STATEMENT_MAX};
pub mod scan;
pub use facts::*;
