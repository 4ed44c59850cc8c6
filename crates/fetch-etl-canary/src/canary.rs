use std::fmt;

/// One value that is looked for. Its `Debug` shows where it belongs, and not the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Canary {
    pub(crate) number: u32,
    pub(crate) message: u32,
    pub(crate) field: Field,
    pub(crate) right: Right,
    pub(crate) value: String,
}

impl Canary {
    /// Its place among the canaries of its set, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The message that it is in, from 0.
    pub fn message(&self) -> u32 {
        self.message
    }

    /// Where in the message it stands.
    pub fn field(&self) -> Field {
        self.field
    }

    /// Where it may be found.
    pub fn right(&self) -> Right {
        self.right
    }

    /// The value as sent, before JSON. For tests: whoever prints it has made a leak.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "canary {} ({} of message {})", self.number, self.field, self.message)
    }
}

/// Where in a message a canary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `user_id`.
    UserId,
    /// `app_version`.
    AppVersion,
    /// `device_type`.
    DeviceType,
    /// `ip`.
    Ip,
    /// `locale`.
    Locale,
    /// `device_id`.
    DeviceId,
    /// The name of a field that the schema does not know.
    UnknownName,
    /// The value of a field that the schema does not know.
    UnknownValue,
    /// The body, outside of any field.
    Body,
    /// The value of a message attribute.
    Attribute,
}

impl Field {
    /// The name in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::AppVersion => "app_version",
            Self::DeviceType => "device_type",
            Self::Ip => "ip",
            Self::Locale => "locale",
            Self::DeviceId => "device_id",
            Self::UnknownName => "an unknown field's name",
            Self::UnknownValue => "an unknown field's value",
            Self::Body => "the body outside of fields",
            Self::Attribute => "a message attribute",
        }
    }

    /// Whether a row stores it as it is.
    pub(crate) const fn is_stored(self) -> bool {
        matches!(self, Self::UserId | Self::AppVersion | Self::DeviceType | Self::Locale)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a canary may be found without that being a leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nowhere: personal fields, unknown fields, attributes, and everything of a message that becomes no row.
    Nowhere,
    /// In the rows of `user_logins`, as it was sent, and so in the files and dumps of the database that holds them.
    Rows,
}
