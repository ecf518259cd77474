//! A file of SQL as psql reads it.
