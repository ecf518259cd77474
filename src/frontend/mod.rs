//! Client start-up.
