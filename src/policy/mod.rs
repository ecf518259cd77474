//! Rules over facts.
mod decision;
pub use decision::*;
