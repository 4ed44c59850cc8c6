//! Login events: `{"user_id","app_version","device_type","ip","locale","device_id"}` → a row of `user_logins`.

mod decode;
mod fields;
mod row;
mod version;

pub use decode::LoginSchema;
pub use row::LoginRow;
pub use version::{AppVersion, InvalidVersion};
