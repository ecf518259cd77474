//! Framed connections, listeners, TLS.
