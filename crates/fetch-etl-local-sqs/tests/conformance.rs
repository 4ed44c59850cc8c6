//! What SQS does, as a list of checks that any server can be put to: this one, and moto's as a second opinion.
//!
//! Each check says where AWS documents what it asks for. Where moto does something else, the documentation wins and
//! [`MOTO_DEVIATES`] says so; a deviation that is gone, or a new one, fails the test.

mod batches;
mod messages;
mod moto;
mod queues;
mod redrive;
mod subject;
mod visibility;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;

use fetch_etl_local_sqs::LocalSqs;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::subject::Subject;
use crate::support::PATIENCE;

/// Nothing, or how the server differs from the documentation.
type Verdict = Result<(), Difference>;

struct Difference(String);

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Check {
    name: &'static str,
    run: fn(Subject) -> Pin<Box<dyn Future<Output = Verdict> + Send>>,
}

macro_rules! checks {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($(Check { name: stringify!($name), run: |subject| Box::pin($module::$name(subject)) }),+),+]
    };
}

const CHECKS: &[Check] = checks! {
    messages:
        a_message_comes_back_as_it_was_sent,
        every_allowed_character_survives,
        forbidden_characters_are_refused,
        an_empty_body_is_refused,
        a_message_can_have_one_mebibyte,
        a_message_cannot_have_more_than_one_mebibyte,
        a_receive_brings_one_message_unless_it_asks_for_more,
        a_receive_brings_at_most_ten_messages,
        a_receive_within_limits_only,
        message_attributes_come_only_if_asked_for,
        system_attributes_come_only_if_asked_for,
        the_trace_header_comes_back,
        a_delayed_message_comes_after_its_delay,
        a_delay_of_the_queue_holds_for_its_messages,
        a_delay_has_a_limit;
    visibility:
        a_received_message_is_hidden_and_comes_again,
        a_receive_can_have_a_visibility_timeout_of_its_own,
        a_visibility_timeout_of_zero_hides_nothing,
        a_changed_visibility_counts_from_the_change,
        giving_back_makes_visible_at_once,
        a_visibility_beyond_twelve_hours_is_refused,
        a_made_up_receipt_is_malformed,
        a_deleted_message_cannot_be_extended,
        a_visible_message_cannot_be_extended,
        deleting_twice_succeeds,
        an_old_receipt_deletes_with_success,
        a_long_poll_wakes_for_a_message,
        a_long_poll_ends_empty_after_its_time,
        a_receive_waits_as_long_as_its_queue_says;
    batches:
        a_batch_fails_by_entry,
        a_batch_of_deletes_fails_by_entry,
        a_batch_of_changes_fails_by_entry,
        a_batch_has_entries,
        a_batch_has_at_most_ten_entries,
        a_batch_has_distinct_ids,
        a_batch_has_well_formed_ids,
        a_batch_has_one_mebibyte_in_all;
    redrive:
        a_message_moves_after_its_last_receive_with_its_id_and_time,
        a_moved_message_names_its_source,
        a_dead_letter_queue_must_exist;
    queues:
        creating_a_queue_again_gives_the_same,
        creating_a_queue_otherwise_is_refused,
        a_queue_has_a_well_formed_name,
        an_attribute_has_a_range,
        an_attribute_has_a_known_name,
        a_queue_begins_with_the_defaults,
        new_attributes_hold,
        the_three_numbers_follow_the_messages,
        a_purge_empties_the_queue,
        queues_are_listed_by_prefix_in_pages,
        a_queue_that_does_not_exist_is_said_so,
        a_deleted_queue_does_not_exist;
};

/// What moto 5.2 does otherwise. The reasons stand in docs/CONFORMANCE.md, in this order.
const MOTO_DEVIATES: &[&str] = &[
    "forbidden_characters_are_refused",
    "an_empty_body_is_refused",
    "a_receive_within_limits_only",
    "a_delay_has_a_limit",
    "a_visible_message_cannot_be_extended",
    "a_batch_fails_by_entry",
    "a_moved_message_names_its_source",
    "an_attribute_has_a_range",
    "an_attribute_has_a_known_name",
    "queues_are_listed_by_prefix_in_pages",
];

const TABLE: &str = include_str!("../docs/CONFORMANCE.md");

/// Puts a server to all checks at once: most of their time is waiting.
async fn differences(endpoint: &str) -> BTreeMap<&'static str, Difference> {
    let mut running = JoinSet::new();
    for check in CHECKS {
        let subject = Subject::new(endpoint, check.name);
        running.spawn(async move {
            let verdict = timeout(PATIENCE, (check.run)(subject)).await;
            (check.name, verdict.unwrap_or_else(|_| Err(Difference("no end".to_owned()))))
        });
    }
    let verdicts = running.join_all().await;
    verdicts.into_iter().filter_map(|(name, verdict)| Some((name, verdict.err()?))).collect()
}

#[tokio::test]
async fn local_sqs_does_what_sqs_does() {
    let server = LocalSqs::builder().bind("127.0.0.1:0").await.unwrap();
    let differences = differences(&server.url()).await;
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test]
async fn moto_does_what_sqs_does_but_for_what_is_known() {
    let moto = match moto::Server::start().await {
        Ok(moto) => moto,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "NOT RUN: conformance against moto: {reason}");
            return;
        }
    };
    let differences = differences(&moto.endpoint).await;
    let mut expected = MOTO_DEVIATES.to_vec();
    expected.sort_unstable();
    let found: Vec<&str> = differences.keys().copied().collect();
    assert_eq!(found, expected, "moto deviates otherwise than known: {differences:#?}");
}

#[test]
fn the_table_names_the_known_deviations_and_no_others() {
    let rows: Vec<&str> = TABLE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| CHECKS.iter().any(|check| check.name == *name))
        .collect();
    assert_eq!(rows, MOTO_DEVIATES);
    let mut names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CHECKS.len(), "each check has a name of its own");
}
