//! Which calls the faults for whole calls can be kept to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PlanError;

/// What a call does, as far as [`FaultPlan::only_calls`](super::FaultPlan::only_calls) tells calls apart: an action by itself
/// and as a batch are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CallAction {
    /// ReceiveMessage.
    Receive,
    /// DeleteMessage and DeleteMessageBatch.
    Delete,
    /// ChangeMessageVisibility and ChangeMessageVisibilityBatch.
    ChangeVisibility,
    /// SendMessage and SendMessageBatch.
    Send,
    /// GetQueueUrl.
    GetUrl,
    /// GetQueueAttributes.
    GetAttributes,
    /// SetQueueAttributes.
    SetAttributes,
    /// PurgeQueue.
    Purge,
}

impl CallAction {
    /// All actions.
    pub const ALL: [Self; 8] = [
        Self::Receive,
        Self::Delete,
        Self::ChangeVisibility,
        Self::Send,
        Self::GetUrl,
        Self::GetAttributes,
        Self::SetAttributes,
        Self::Purge,
    ];

    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Delete => "delete",
            Self::ChangeVisibility => "change-visibility",
            Self::Send => "send",
            Self::GetUrl => "get-url",
            Self::GetAttributes => "get-attributes",
            Self::SetAttributes => "set-attributes",
            Self::Purge => "purge",
        }
    }

    /// What an operation does; `None` for those that make, list or delete queues, which never suffer.
    pub(crate) fn of(operation: &str) -> Option<Self> {
        match operation {
            "ReceiveMessage" => Some(Self::Receive),
            "DeleteMessage" | "DeleteMessageBatch" => Some(Self::Delete),
            "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => Some(Self::ChangeVisibility),
            "SendMessage" | "SendMessageBatch" => Some(Self::Send),
            "GetQueueUrl" => Some(Self::GetUrl),
            "GetQueueAttributes" => Some(Self::GetAttributes),
            "SetQueueAttributes" => Some(Self::SetAttributes),
            "PurgeQueue" => Some(Self::Purge),
            _ => None,
        }
    }
}

impl fmt::Display for CallAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CallAction {
    type Err = PlanError;

    fn from_str(name: &str) -> Result<Self, PlanError> {
        let known = Self::ALL.into_iter().find(|action| action.name() == name);
        known.ok_or_else(|| PlanError::UnknownCall(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_one_name_everywhere() {
        for action in CallAction::ALL {
            assert_eq!(action.name().parse(), Ok(action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.name());
        }
        assert_eq!("deletes".parse::<CallAction>(), Err(PlanError::UnknownCall("deletes".into())));
    }
}
