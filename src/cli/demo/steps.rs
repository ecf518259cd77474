//! The steps of the tour, by what they show. Each is a real check over a client's connection and the operators' API.

pub(super) mod log;
pub(super) mod reads;
pub(super) mod schema;
pub(super) mod streams;
pub(super) mod whose;
