//! Every operator action, once.
