//! Records and their rendering.
mod record;
pub use record::*;
