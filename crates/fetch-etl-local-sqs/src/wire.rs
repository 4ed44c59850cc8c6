//! AWS JSON protocol 1.0, as far as SQS uses it.

pub(crate) mod request;
pub(crate) mod response;
