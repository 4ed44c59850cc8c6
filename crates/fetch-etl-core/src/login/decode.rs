use std::net::IpAddr;

use super::fields::{Fields, Message, Value};
use super::{AppVersion, LoginRow};
use crate::{Decoded, EventSchema, MaskedValue, Masker, Pii, Reject, RejectReason};

/// The schema of login events.
///
/// All six fields must be present; `user_id` must be a non-empty string, the others a string or null. Unknown fields are dropped
/// and counted. An `ip` that is no address is masked as text and counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoginSchema;

impl EventSchema for LoginSchema {
    type Row = LoginRow;

    fn decode_and_mask(&self, body: &Pii<[u8]>, masker: &dyn Masker) -> Result<Decoded<LoginRow>, Reject> {
        let fields = match parse(body.expose()) {
            Ok(Message::Object(fields)) => fields,
            Ok(Message::NotAnObject) => return Err(Reject::of_message(RejectReason::NotAnObject)),
            Err(error) => return Err(invalid_json(&error, body)),
        };
        if let Some(field) = fields.duplicate {
            return Err(Reject::of_field(RejectReason::DuplicateField, field));
        }
        require_all(&fields)?;
        build_row(fields, masker)
    }
}

/// Whether all is UTF-8 is checked once for the whole body: for each of its texts it takes longer.
fn parse(body: &[u8]) -> serde_json::Result<Message<'_>> {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        // It fails, and says where.
        Err(_) => serde_json::from_slice(body),
    }
}

/// Only the place of the error is kept: its text may quote the message.
fn invalid_json(error: &serde_json::Error, body: &Pii<[u8]>) -> Reject {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut reject = Reject::of_message(RejectReason::InvalidJson).with_length(body.expose().len());
    reject.position = Some((number(error.line()), number(error.column())));
    reject
}

fn require_all(fields: &Fields<'_>) -> Result<(), Reject> {
    let all = [
        ("user_id", &fields.user_id),
        ("app_version", &fields.app_version),
        ("device_type", &fields.device_type),
        ("ip", &fields.ip),
        ("locale", &fields.locale),
        ("device_id", &fields.device_id),
    ];
    match all.iter().find(|(_, value)| matches!(value, Value::Missing)) {
        Some((field, _)) => Err(Reject::of_field(RejectReason::MissingField, field)),
        None => Ok(()),
    }
}

fn build_row(fields: Fields<'_>, masker: &dyn Masker) -> Result<Decoded<LoginRow>, Reject> {
    let user_id = stored("user_id", &fields.user_id, LoginRow::USER_ID_CHARS)?
        .ok_or(Reject::of_field(RejectReason::NullField, "user_id"))?;
    if user_id.is_empty() {
        return Err(Reject::of_field(RejectReason::EmptyField, "user_id"));
    }
    let app_version_text = stored("app_version", &fields.app_version, LoginRow::APP_VERSION_CHARS)?;
    let app_version = app_version_text.map(AppVersion::parse).transpose().map_err(|_| {
        Reject::of_field(RejectReason::InvalidVersion, "app_version")
            .with_length(app_version_text.map_or(0, |text| text.chars().count()))
    })?;
    let device_type = stored("device_type", &fields.device_type, LoginRow::DEVICE_TYPE_CHARS)?;
    let ip = text("ip", &fields.ip)?;
    let locale = stored("locale", &fields.locale, LoginRow::LOCALE_CHARS)?;
    let device_id = text("device_id", &fields.device_id)?;
    let mask = |field, value: Option<&Pii<str>>| -> Option<MaskedValue> {
        value.and_then(|v| masker.mask(field, v))
    };
    let row = LoginRow {
        user_id: user_id.to_owned(),
        device_type: device_type.map(str::to_owned),
        masked_ip: mask("ip", ip),
        masked_device_id: mask("device_id", device_id),
        locale: locale.map(str::to_owned),
        app_version: app_version.and_then(AppVersion::number),
        app_version_text: app_version_text.map(str::to_owned),
        mask_key_id: masker.key_id(),
    };
    let is_no_address = ip.is_some_and(|ip| ip.expose().parse::<IpAddr>().is_err());
    Ok(Decoded { row, unknown_fields: fields.unknown, non_canonical: u32::from(is_no_address) })
}

/// The text of a field, `None` for null.
fn text<'v>(field: &'static str, value: &'v Value<'_>) -> Result<Option<&'v Pii<str>>, Reject> {
    match value {
        Value::Null => Ok(None),
        Value::Borrowed(text) => Ok(Some(text)),
        Value::Unescaped(text) => Ok(Some(text.as_text())),
        Value::NotText => Err(Reject::of_field(RejectReason::WrongType, field)),
        Value::Missing => Err(Reject::of_field(RejectReason::MissingField, field)),
    }
}

/// The text of a field that is stored as it is: it must fit its column.
fn stored<'v>(
    field: &'static str,
    value: &'v Value<'_>,
    max_chars: usize,
) -> Result<Option<&'v str>, Reject> {
    let Some(text) = text(field, value)?.map(Pii::expose) else { return Ok(None) };
    if text.contains('\0') {
        return Err(Reject::of_field(RejectReason::NulCharacter, field));
    }
    // A text never has more characters than bytes, so most need no counting.
    if text.len() > max_chars {
        let chars = text.chars().count();
        if chars > max_chars {
            return Err(Reject::of_field(RejectReason::TooLong, field).with_length(chars));
        }
    }
    Ok(Some(text))
}
