//! A batch turned by a quarter: the arrays that one statement stores.

use std::collections::HashSet;
use std::ops::Range;

use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{Batch, KeyOrigin, Masked, MaskedValue, Rejected, SealedBody, UnixMillis};

/// The first and the last day that a date may be, counted from 1970-01-01: 0001-01-01 and 9999-12-31.
const DAYS: (i64, i64) = (-719_162, 2_932_896);
const MILLIS_PER_DAY: i64 = 86_400_000;

/// The UTC day, counted from 1970-01-01. A time outside of the years 1 to 9999, which no queue states, counts as the nearest day.
fn day_of(sent_at: UnixMillis) -> i32 {
    let day = sent_at.utc_day().clamp(DAYS.0, DAYS.1);
    // The bounds are within 32 bits.
    i32::try_from(day).unwrap_or_default()
}

/// Milliseconds since 1970, bounded like the day.
pub(crate) fn millis_of(sent_at: UnixMillis) -> i64 {
    sent_at.get().clamp(DAYS.0 * MILLIS_PER_DAY, (DAYS.1 + 1) * MILLIS_PER_DAY - 1)
}

/// The columns of a batch's rows: in the order of the ledger, each key once.
///
/// Texts are borrowed from the batch.
#[derive(Default)]
pub(crate) struct RowColumns<'a> {
    pub(crate) keys: Vec<&'a str>,
    /// When the queue says that they were sent, in milliseconds since 1970, where the ledger may have them under that time.
    pub(crate) queued_at_millis: Vec<Option<i64>>,
    pub(crate) days: Vec<i32>,
    pub(crate) user_ids: Vec<&'a str>,
    pub(crate) device_types: Vec<Option<&'a str>>,
    pub(crate) masked_ips: MaskColumn,
    pub(crate) masked_device_ids: MaskColumn,
    pub(crate) locales: Vec<Option<&'a str>>,
    pub(crate) app_versions: Vec<Option<i32>>,
    pub(crate) app_version_texts: Vec<Option<&'a str>>,
    pub(crate) mask_key_ids: Vec<i32>,
}

impl<'a> RowColumns<'a> {
    pub(crate) fn of(rows: &'a [Masked<LoginRow>]) -> Self {
        let mut rows: Vec<_> = rows.iter().collect();
        // Of equal keys the first in the batch is kept.
        let mut keys = HashSet::with_capacity(rows.len());
        rows.retain(|row| keys.insert(row.key().as_str()));
        // Writers that take the same keys in the same order wait for each other; in any other order they deadlock. And in the
        // ledger's order they find the same pages again.
        rows.sort_unstable_by_key(|row| (row.queued_at(), row.key().as_str()));
        let mut columns = Self::with_capacity(rows.len());
        rows.into_iter().for_each(|row| columns.push(row));
        columns
    }

    fn with_capacity(rows: usize) -> Self {
        Self {
            keys: Vec::with_capacity(rows),
            queued_at_millis: Vec::with_capacity(rows),
            days: Vec::with_capacity(rows),
            user_ids: Vec::with_capacity(rows),
            device_types: Vec::with_capacity(rows),
            masked_ips: MaskColumn::with_capacity(rows),
            masked_device_ids: MaskColumn::with_capacity(rows),
            locales: Vec::with_capacity(rows),
            app_versions: Vec::with_capacity(rows),
            app_version_texts: Vec::with_capacity(rows),
            mask_key_ids: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, masked: &'a Masked<LoginRow>) {
        let LoginRow {
            user_id,
            device_type,
            masked_ip,
            masked_device_id,
            locale,
            app_version,
            app_version_text,
            mask_key_id,
        } = masked.row();
        self.keys.push(masked.key().as_str());
        self.queued_at_millis.push(masked.queued_at().map(millis_of));
        self.days.push(day_of(masked.sent_at()));
        self.user_ids.push(user_id);
        self.device_types.push(device_type.as_deref());
        self.masked_ips.push(masked_ip.as_ref());
        self.masked_device_ids.push(masked_device_id.as_ref());
        self.locales.push(locale.as_deref());
        self.app_versions.push(*app_version);
        self.app_version_texts.push(app_version_text.as_deref());
        self.mask_key_ids.push(mask_key_id.get());
    }

    /// The days whose partitions the ledger needs, with repeats.
    pub(crate) fn ledger_days(&self) -> impl Iterator<Item = i32> {
        let rows = self.days.iter().zip(&self.queued_at_millis);
        rows.filter(|(_, queued_at)| queued_at.is_some()).map(|(day, _)| *day)
    }
}

/// Masks as text, one behind the other in one buffer.
#[derive(Default)]
pub(crate) struct MaskColumn {
    text: String,
    places: Vec<Option<Range<usize>>>,
}

impl MaskColumn {
    fn with_capacity(masks: usize) -> Self {
        Self { text: String::with_capacity(masks * 128), places: Vec::with_capacity(masks) }
    }

    fn push(&mut self, mask: Option<&MaskedValue>) {
        let place = mask.map(|mask| {
            let start = self.text.len();
            mask.push_to(&mut self.text);
            start..self.text.len()
        });
        self.places.push(place);
    }

    pub(crate) fn texts(&self) -> Vec<Option<&str>> {
        self.places.iter().map(|place| self.text.get(place.clone()?)).collect()
    }
}

/// The columns of a batch's rejects: in the order of their keys, each key once.
#[derive(Default)]
pub(crate) struct RejectColumns<'a> {
    pub(crate) keys: Vec<&'a str>,
    pub(crate) reasons: Vec<&'static str>,
    pub(crate) fields: Vec<Option<&'a str>>,
    pub(crate) lines: Vec<Option<i64>>,
    pub(crate) column_numbers: Vec<Option<i64>>,
    pub(crate) lengths: Vec<Option<i64>>,
    pub(crate) sink_codes: Vec<Option<String>>,
    pub(crate) body_bytes: Vec<i64>,
    pub(crate) receive_counts: Vec<i64>,
    pub(crate) recipient_ids: Vec<Option<&'a str>>,
    pub(crate) sealed_bodies: Vec<Option<&'a [u8]>>,
    pub(crate) sent_at_millis: Vec<i64>,
    pub(crate) by_producer: Vec<bool>,
    pub(crate) queued_at_millis: Vec<Option<i64>>,
}

impl<'a> RejectColumns<'a> {
    pub(crate) fn of(batch: &'a Batch<LoginRow>) -> Self {
        let mut columns = Self::default();
        batch.rejects_by_key().into_iter().for_each(|rejected| columns.push(rejected));
        columns
    }

    fn push(&mut self, rejected: &'a Rejected) {
        let reject = rejected.reject();
        self.keys.push(rejected.key().as_str());
        self.reasons.push(reject.reason.as_str());
        self.fields.push(reject.field.as_deref());
        self.lines.push(reject.position.map(|(line, _)| line.into()));
        self.column_numbers.push(reject.position.map(|(_, column)| column.into()));
        self.lengths.push(reject.length.map(Into::into));
        self.sink_codes.push(rejected.code().map(|code| code.as_str().to_owned()));
        self.body_bytes.push(rejected.body_bytes().into());
        self.receive_counts.push(rejected.attempt().into());
        self.recipient_ids.push(rejected.sealed().map(SealedBody::recipient_id));
        self.sealed_bodies.push(rejected.sealed().map(SealedBody::bytes));
        self.sent_at_millis.push(millis_of(rejected.sent_at()));
        self.by_producer.push(rejected.key().origin() == KeyOrigin::Attribute);
        self.queued_at_millis.push(rejected.queued_at().map(millis_of));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_times_count_as_the_nearest_day() {
        for (millis, day) in [(i64::MIN, -719_162), (-1, -1), (0, 0), (86_400_000, 1), (i64::MAX, 2_932_896)]
        {
            let sent_at = UnixMillis::new(millis);
            assert_eq!(day_of(sent_at), day, "{millis}");
            assert_eq!(UnixMillis::new(millis_of(sent_at)).utc_day(), i64::from(day), "{millis}");
        }
    }
}
