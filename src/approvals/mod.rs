//! The hold store.
mod hold;
pub use hold::*;
