//! The psql database `holdgate`.
