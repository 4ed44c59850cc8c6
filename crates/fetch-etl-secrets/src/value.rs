//! A secret that is there already.

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::{SecretError, SecretSource, SecretText};

/// A secret that the configuration holds itself.
pub struct ValueSecret {
    name: String,
    value: Zeroizing<String>,
}

impl ValueSecret {
    /// A value, and the name of the setting that it is from. What the value is worth is looked at by
    /// [`fetch`](SecretSource::fetch).
    pub fn new(name: impl Into<String>, value: String) -> Self {
        Self { name: name.into(), value: Zeroizing::new(value) }
    }
}

impl fmt::Debug for ValueSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueSecret").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl SecretSource for ValueSecret {
    async fn fetch(&self) -> Result<SecretText, SecretError> {
        SecretText::new(&self.value).map_err(|fault| SecretError::of_text(fault, self.describe()))
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
