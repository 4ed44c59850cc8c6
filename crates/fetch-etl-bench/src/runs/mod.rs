//! One measurement each, seen from outside.

pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod limits;
pub(crate) mod pace;
pub(crate) mod peer;
pub(crate) mod prune;
pub(crate) mod soak;
pub(crate) mod worker;
