//! The upstream's side: connecting, cancelling, reading what a database holds, remembering which tags came where.
//!
//! Must not: know clients or judge statements. Start reading at [`connect::Upstream`] and [`databases::Databases`].

pub mod catalog;
pub mod connect;
pub mod databases;
mod driver;
pub mod locks;
mod look;
pub mod memory;
pub mod planner;
pub mod presence;
mod publications;
