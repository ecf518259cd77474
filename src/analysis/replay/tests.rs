//! One text, several statements.
