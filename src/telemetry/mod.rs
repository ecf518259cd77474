//! Every metric family and the tracing set-up, in one place.
