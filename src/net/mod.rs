//! Connections as byte streams: TCP, Unix sockets and TLS on either side, with the socket options that a proxy wants.
//!
//! Knows no session and no message beyond "so many bytes". Start reading at [`Stream`].

mod end_point;
mod stream;
pub mod tls;

pub use end_point::end_point;
pub use stream::{Stream, configure, configure_client};

/// The beginning of every HTTP client of ours: TLS of the same library as everywhere.
pub fn http_client() -> reqwest::ClientBuilder {
    // An error means that it was done before.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
