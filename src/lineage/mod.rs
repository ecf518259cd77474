//! Records and their rendering: a statement's line in the log, masking, `OpenLineage` events.
//!
//! Must not: do I/O, read a clock, or let a literal through. Start reading at [`StatementRecord`].

mod encode;
mod filters;
mod line;
mod mask;
pub mod openlineage;
mod record;

pub use encode::{decode_line, encode_line};
pub use filters::{Filters, Moment, glob_matches};
pub use line::{Closing, Ending, Line, Sheet};
pub use mask::{LINE_MAX, TEXT_MAX, mask};
pub use record::*;
