//! The HTTP API, metrics and health.
