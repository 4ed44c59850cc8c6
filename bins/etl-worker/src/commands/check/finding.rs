//! What was found.

use serde::Serialize;

use super::code::{About, Code};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: &'static Code,
    /// What is so, in one sentence, with no secret and no value of a message.
    pub(super) what: String,
    /// The command or setting that changes it.
    pub(super) fix: String,
}

pub(super) fn finding(code: &'static Code, what: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { code, what: what.into(), fix: fix.into() }
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NotChecked {
    pub(super) about: About,
    pub(super) why: String,
}
