use std::fmt;

use crate::{KeyId, MaskedValue};

/// One row of `user_logins`, without what the message's envelope gives (key, date).
///
/// The columns' lengths are checked already. Its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginRow {
    /// Who logged in; not empty, at most 128 characters.
    pub user_id: String,
    /// At most 32 characters.
    pub device_type: Option<String>,
    /// `mask("ip", ip)`.
    pub masked_ip: Option<MaskedValue>,
    /// `mask("device_id", device_id)`.
    pub masked_device_id: Option<MaskedValue>,
    /// At most 32 characters.
    pub locale: Option<String>,
    /// The version as one number, where it can hold it; see [`AppVersion`](super::AppVersion).
    pub app_version: Option<i32>,
    /// The version as sent; at most 64 characters.
    pub app_version_text: Option<String>,
    /// The key of the masks.
    pub mask_key_id: KeyId,
}

impl LoginRow {
    /// Most characters of `user_id`.
    pub const USER_ID_CHARS: usize = 128;
    /// Most characters of `device_type`.
    pub const DEVICE_TYPE_CHARS: usize = 32;
    /// Most characters of `locale`.
    pub const LOCALE_CHARS: usize = 32;
    /// Most characters of `app_version`.
    pub const APP_VERSION_CHARS: usize = 64;
}

impl fmt::Debug for LoginRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRow").field("mask_key_id", &self.mask_key_id).finish_non_exhaustive()
    }
}
