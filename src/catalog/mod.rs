//! An immutable snapshot of what a database holds, and how names resolve in it.
pub mod tags;
