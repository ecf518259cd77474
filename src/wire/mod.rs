//! The protocol as values: framer, start-up packets, borrowed views of messages, building of messages.
