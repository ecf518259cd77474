//! Connections as byte streams: TCP, Unix sockets and TLS on either side, with the socket options that a proxy wants.
//!
//! Knows no session and no message beyond "so many bytes". Start reading at [`Stream`].

mod end_point;
mod stream;
pub mod tls;

pub use end_point::end_point;
pub use stream::{Stream, configure};
