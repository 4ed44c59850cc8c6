//! The fault proxy in front of the real Postgres.

mod bench;
mod commits;
mod connections;
mod holds;
