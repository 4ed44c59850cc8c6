//! What the crate tells, from the outside.
