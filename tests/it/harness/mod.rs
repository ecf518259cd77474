//! Starts what a test needs: one Postgres for the whole run, a database for each test, a proxy in front of it.
//!
//! No fixed port and no sleep. Start reading at [`TestDb`] and [`Proxy`].

pub mod api;
pub mod certs;
pub mod conn;
pub mod http;
mod postgres;
mod proxy;
pub mod transcript;

pub use api::Api;
pub use postgres::{TestDb, bin, is_root, server_command};
pub use proxy::postgres_client::Client;
pub use proxy::postgres_client::fault as postgres_client_fault;
pub use proxy::{ALLOW_ALL, Options, Proxy, STDOUT};

use std::time::{Duration, Instant};

/// The longest that a test waits for anything.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Tries until something is there.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < end, "did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
