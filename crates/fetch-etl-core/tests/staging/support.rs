use std::sync::{Arc, Mutex};

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::{
    Delivery, KeyId, MaskedValue, Masker, Pii, Receipt, Reject, RejectReason, Staged, Stager, UnixMillis,
};
use serde_json::Value;

/// A masker whose masks can be told from everything else, and traced back to what they were made of.
#[derive(Default)]
pub(super) struct Recorder {
    calls: Mutex<Vec<(String, String)>>,
}

impl Masker for Recorder {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        let mut calls = self.calls.lock().unwrap();
        calls.push((field.to_owned(), value.expose().to_owned()));
        Some(MaskedValue::from_masked_text(format!("⟨mask {}⟩", calls.len() - 1)))
    }

    fn key_id(&self) -> KeyId {
        KeyId::new(42)
    }
}

/// What became of one message, and what the masker was asked on the way.
pub(super) struct Outcome {
    pub(super) result: Result<LoginRow, Reject>,
    pub(super) unknown_fields: u64,
    pub(super) non_canonical: u64,
    calls: Vec<(String, String)>,
}

impl Outcome {
    /// Field and value that a mask was made of; `None` where the row has none.
    pub(super) fn made_of(&self, mask: Option<&MaskedValue>) -> Option<(&str, &str)> {
        let text = mask?.to_text();
        let (index, _) = self
            .calls
            .iter()
            .enumerate()
            .find(|(index, _)| text == format!("⟨mask {index}⟩"))
            .unwrap_or_else(|| panic!("{text:?} in a masked column did not come from the masker"));
        let (field, value) = &self.calls[index];
        Some((field, value))
    }

    pub(super) fn reason(&self) -> Option<RejectReason> {
        self.result.as_ref().err().map(|reject| reject.reason)
    }
}

pub(super) fn delivery(body: impl Into<Vec<u8>>) -> Delivery {
    Delivery {
        id: "id-1".into(),
        key: None,
        attempt: 1,
        sent_at: Some(UnixMillis::new(0)),
        trace: None,
        body: Pii::new(body.into()),
        receipt: Receipt::new("receipt-1"),
    }
}

pub(super) fn stage(delivery: Delivery, masker: Arc<dyn Masker>) -> Staged<LoginRow> {
    Stager::new(LoginSchema, masker).stage(vec![delivery])
}

/// Stages one message.
pub(super) fn outcome(body: impl Into<Vec<u8>>) -> Outcome {
    let recorder = Arc::new(Recorder::default());
    let staged = stage(delivery(body), recorder.clone());
    let (rows, rejects) = (staged.batch.rows(), staged.batch.rejects());
    assert_eq!(rows.len() + rejects.len(), 1, "a message becomes one row or one reject");
    Outcome {
        result: rows.first().map(|row| row.row().clone()).ok_or_else(|| rejects[0].reject().clone()),
        unknown_fields: staged.unknown_fields,
        non_canonical: staged.non_canonical,
        calls: recorder.calls.lock().unwrap().clone(),
    }
}

/// Checks a row against the message, read by another parser: every stored text as sent, every personal one a mask of it.
pub(super) fn assert_row_of(body: &[u8], outcome: &Outcome) {
    let Ok(row) = &outcome.result else { panic!("no row") };
    let message: Value = serde_json::from_slice(body).expect("a row of what is no JSON");
    let text = |field: &str| match &message[field] {
        Value::String(text) => Some(text.as_str()),
        Value::Null => None,
        _ => panic!("a row of a message whose {field} is no text"),
    };
    assert_eq!(Some(row.user_id.as_str()), text("user_id"));
    assert_eq!(row.device_type.as_deref(), text("device_type"));
    assert_eq!(row.locale.as_deref(), text("locale"));
    assert_eq!(row.app_version_text.as_deref(), text("app_version"));
    assert_eq!(row.mask_key_id, KeyId::new(42));
    assert_eq!(outcome.made_of(row.masked_ip.as_ref()), text("ip").map(|value| ("ip", value)));
    let device_id = outcome.made_of(row.masked_device_id.as_ref());
    assert_eq!(device_id, text("device_id").map(|value| ("device_id", value)));
}
