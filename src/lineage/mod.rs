//! Records and their rendering: a statement's line in the log, masking, `OpenLineage` events.
//!
//! Must not: do I/O, read a clock, or let a literal through. Start reading at [`StatementRecord`].

mod encode;
mod filters;
mod likeness;
mod line;
mod literals;
mod mask;
pub mod openlineage;
mod record;
mod values;

pub use encode::{decode_line, encode_line};
pub use filters::{Field, Filters, Moment, Want, glob_matches, terms};
pub use likeness::Likeness;
pub use line::{Closing, Ending, Line, Sheet};
pub use literals::{Literals, ValueForm};
pub use mask::{LINE_MAX, TEXT_MAX, mask, reason};
pub use record::*;
