//! Whether the audit's rows are what was appended: their hashes, calculated here and not by the database.

use std::fmt;

use sha2::{Digest, Sha512};

use crate::{AuditHead, AuditRecord};

/// Begins every row's canonical form.
const VERSION: &str = "fetch-etl/audit/v1";

/// Findings that are kept; whoever finds more has seen enough.
const MAX_FINDINGS: usize = 100;

/// Something about the audit that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditFinding {
    /// The row is not what its hash says.
    Changed(i64),
    /// There are no rows with these numbers, the first and the last.
    Missing(i64, i64),
    /// The row does not continue the one before: either was replaced, or they changed places.
    Unlinked(i64),
    /// The row that stands for the chain's end is gone.
    NoHead,
    /// The chain's end is said to be this row, and there are rows behind it: they were not appended as all others.
    Beyond(i64),
    /// The last row is not the one that stands for the chain's end.
    OtherHead(i64),
    /// The row is not the one that was expected: the chain was forged from there or before.
    Unexpected(i64),
    /// This trigger, of this table, is missing, switched off, or another than it was: what came in or was changed meanwhile, nothing
    /// kept out.
    TriggerOff(String),
    /// This trigger or rule is none of ours.
    Added(String),
    /// This function is another than it was.
    FunctionReplaced(String),
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(seq) => write!(f, "row {seq} was changed: it does not fit its hash"),
            Self::Missing(first, last) if first == last => write!(f, "row {first} is missing"),
            Self::Missing(first, last) => write!(f, "rows {first} to {last} are missing"),
            Self::Unlinked(seq) => write!(
                f,
                "row {seq} does not continue the row before it: one of them was replaced, or they were reordered"
            ),
            Self::NoHead => {
                f.write_str("etl.audit_head is empty: whether rows are missing at the end is not known")
            }
            Self::Beyond(seq) => {
                write!(
                    f,
                    "the last row appended is row {seq} according to etl.audit_head: later ones are forged"
                )
            }
            Self::OtherHead(seq) => {
                write!(f, "row {seq}, the last, has another hash than etl.audit_head says")
            }
            Self::Unexpected(seq) => {
                write!(
                    f,
                    "row {seq} has another hash than expected: the rows up to it are not those of that time"
                )
            }
            Self::TriggerOff(trigger) => {
                write!(
                    f,
                    "the trigger {trigger} is missing, switched off or replaced: rows could be changed, or put in with a chain of \
                     their own"
                )
            }
            Self::Added(what) => {
                write!(
                    f,
                    "{what} is none of fetch-etl's: it could change rows before they are chained, or keep them out"
                )
            }
            Self::FunctionReplaced(function) => {
                write!(
                    f,
                    "the function {function} is not the one that fetch-etl made: rows could be put in with a chain of their own, or \
                     kept out"
                )
            }
        }
    }
}

/// What going over the whole audit gave.
#[derive(Debug, Clone)]
pub struct AuditVerdict {
    /// How many rows there are.
    pub rows: u64,
    /// The last of them.
    pub head: AuditHead,
    /// What does not fit, the first hundred.
    pub findings: Vec<AuditFinding>,
    /// How many findings there are besides.
    pub more: u64,
}

/// Follows the rows, in the order of their numbers.
pub(crate) struct Chain {
    verdict: AuditVerdict,
    expected: Option<AuditHead>,
}

impl Chain {
    pub(crate) fn new(expected: Option<AuditHead>) -> Self {
        let head = AuditHead { seq: 0, hash: [0; 64] };
        Self { verdict: AuditVerdict { rows: 0, head, findings: Vec::new(), more: 0 }, expected }
    }

    pub(crate) fn follow(&mut self, record: &AuditRecord) {
        let before = self.verdict.head;
        let gap = record.seq.saturating_sub(before.seq);
        if gap > 1 {
            self.found(AuditFinding::Missing(before.seq + 1, record.seq - 1));
        } else if gap < 1 || record.prev_hash != before.hash {
            self.found(AuditFinding::Unlinked(record.seq));
        }
        let hash = hash(record);
        if record.hash != hash {
            self.found(AuditFinding::Changed(record.seq));
        }
        // What follows is judged by what stands there, so that one changed row is one finding.
        let stated = record.hash.as_slice().try_into().unwrap_or(hash);
        self.verdict.head = AuditHead { seq: record.seq, hash: stated };
        self.verdict.rows += 1;
        if self.expected.is_some_and(|expected| expected.seq == record.seq && expected.hash != stated) {
            self.found(AuditFinding::Unexpected(record.seq));
        }
    }

    /// The verdict, with what the database says is the last row.
    pub(crate) fn end(mut self, stated: Option<(i64, Vec<u8>)>) -> AuditVerdict {
        let last = self.verdict.head;
        match &stated {
            None => self.found(AuditFinding::NoHead),
            Some((seq, _)) if *seq > last.seq => self.found(AuditFinding::Missing(last.seq + 1, *seq)),
            Some((seq, _)) if *seq < last.seq => self.found(AuditFinding::Beyond(*seq)),
            Some((_, hash)) if *hash != last.hash => self.found(AuditFinding::OtherHead(last.seq)),
            Some(_) => {}
        }
        let known = stated.map_or(last.seq, |(seq, _)| seq.max(last.seq));
        if let Some(expected) = self.expected {
            if expected.seq > known {
                self.found(AuditFinding::Missing(known + 1, expected.seq));
            } else if expected.seq == 0 && expected.hash != [0; 64] {
                self.found(AuditFinding::Unexpected(0));
            }
        }
        self.verdict
    }

    pub(crate) fn found(&mut self, finding: AuditFinding) {
        if self.verdict.findings.len() < MAX_FINDINGS {
            self.verdict.findings.push(finding);
        } else {
            self.verdict.more += 1;
        }
    }
}

/// The hash of a row's canonical form, as the migration that made the table describes it.
fn hash(record: &AuditRecord) -> [u8; 64] {
    let AuditRecord {
        seq,
        at: _,
        at_micros,
        db_role,
        os_user,
        host,
        action,
        reason,
        subject,
        level,
        entries,
        prev_hash,
        hash: _,
    } = record;
    let mut hasher = Sha512::new();
    let text = |hasher: &mut Sha512, text: Option<&str>| {
        // A text has less than a gigabyte.
        let length = text.map_or(-1, |text| i32::try_from(text.len()).unwrap_or(i32::MAX));
        hasher.update(length.to_be_bytes());
        hasher.update(text.unwrap_or_default());
    };
    text(&mut hasher, Some(VERSION));
    hasher.update(seq.to_be_bytes());
    hasher.update(at_micros.to_be_bytes());
    for field in [
        Some(db_role.as_str()),
        Some(os_user),
        host.as_deref(),
        Some(action),
        Some(reason),
        Some(subject),
        level.as_deref(),
    ] {
        text(&mut hasher, field);
    }
    hasher.update(entries.to_be_bytes());
    hasher.update(prev_hash);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: i64, prev_hash: [u8; 64]) -> AuditRecord {
        let mut record = AuditRecord {
            seq,
            at: String::new(),
            at_micros: 1_700_000_000_123_456 + seq,
            db_role: "admin".to_owned(),
            os_user: "ann".to_owned(),
            host: None,
            action: "reveal".to_owned(),
            reason: "ticket é".to_owned(),
            subject: "row 7".to_owned(),
            level: Some("full".to_owned()),
            entries: 2,
            prev_hash: prev_hash.to_vec(),
            hash: Vec::new(),
        };
        record.hash = hash(&record).to_vec();
        record
    }

    fn chain(rows: i64) -> Vec<AuditRecord> {
        let mut records: Vec<AuditRecord> = Vec::new();
        for seq in 1..=rows {
            let before = records.last().map_or([0; 64], |last| last.hash.as_slice().try_into().unwrap());
            records.push(record(seq, before));
        }
        records
    }

    fn judge(
        records: &[AuditRecord],
        head: Option<&AuditRecord>,
        expected: Option<AuditHead>,
    ) -> Vec<AuditFinding> {
        let mut chain = Chain::new(expected);
        records.iter().for_each(|record| chain.follow(record));
        let head = head.map(|head| (head.seq, head.hash.clone()));
        chain.end(head.or(Some((0, vec![0; 64])))).findings
    }

    #[test]
    fn an_untouched_chain_is_sound_and_leads_to_every_head_it_had() {
        assert_eq!(judge(&[], None, None), []);
        let records = chain(5);
        for record in &records {
            let expected = AuditHead { seq: record.seq, hash: record.hash.as_slice().try_into().unwrap() };
            assert_eq!(judge(&records, records.last(), Some(expected)), []);
        }
    }

    #[test]
    fn what_is_missing_at_either_end_or_between_is_named() {
        let records = chain(5);
        let head = records.last();
        assert_eq!(judge(&records[1..], head, None), [AuditFinding::Missing(1, 1)]);
        assert_eq!(judge(&records[..3], head, None), [AuditFinding::Missing(4, 5)]);
        assert_eq!(judge(&[], head, None), [AuditFinding::Missing(1, 5)]);
        let between = [&records[..1], &records[3..]].concat();
        assert_eq!(judge(&between, head, None), [AuditFinding::Missing(2, 3)]);
        // The head went along: only who noted it elsewhere knows.
        assert_eq!(judge(&records[..3], Some(&records[2]), None), []);
        let expected = AuditHead { seq: 5, hash: records[4].hash.as_slice().try_into().unwrap() };
        assert_eq!(judge(&records[..3], Some(&records[2]), Some(expected)), [AuditFinding::Missing(4, 5)]);
        assert_eq!(judge(&records, Some(&records[3]), None), [AuditFinding::Beyond(4)]);
    }

    #[test]
    fn a_row_that_was_forged_with_its_hash_breaks_the_link_behind_it() {
        let mut records = chain(3);
        let head = records[2].clone();
        records[1].reason = "another".to_owned();
        assert_eq!(judge(&records, Some(&head), None), [AuditFinding::Changed(2)]);
        records[1].hash = hash(&records[1]).to_vec();
        assert_eq!(judge(&records, Some(&head), None), [AuditFinding::Unlinked(3)]);
        records[2].prev_hash = records[1].hash.clone();
        records[2].hash = hash(&records[2]).to_vec();
        assert_eq!(judge(&records, Some(&head), None), [AuditFinding::OtherHead(3)]);
        let forged = records[2].clone();
        let expected = AuditHead { seq: 3, hash: head.hash.as_slice().try_into().unwrap() };
        assert_eq!(judge(&records, Some(&forged), Some(expected)), [AuditFinding::Unexpected(3)]);
    }

    #[test]
    fn texts_cannot_move_from_one_field_to_the_next() {
        let base = record(1, [0; 64]);
        let moved =
            AuditRecord { action: "reveal ".to_owned() + "t", reason: "icket é".to_owned(), ..base.clone() };
        assert_ne!(hash(&base), hash(&moved));
        let empty = AuditRecord { host: Some(String::new()), ..base.clone() };
        assert_ne!(hash(&base), hash(&empty));
    }

    #[test]
    fn findings_are_bounded() {
        let mut records = chain(150);
        records.iter_mut().for_each(|record| record.entries += 1);
        let mut chain = Chain::new(None);
        records.iter().for_each(|record| chain.follow(record));
        let verdict = chain.end(None);
        assert_eq!((verdict.findings.len(), verdict.more, verdict.rows), (MAX_FINDINGS, 51, 150));
    }
}
