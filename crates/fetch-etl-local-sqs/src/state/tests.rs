use super::*;
use crate::error::ErrorKind;

const SECOND: Millis = 1000;
const HOUR: Millis = 3600 * SECOND;
/// The time at which every queue of these tests is created.
pub(super) const START: Millis = 1_700_000_000_000;

pub(super) fn queue() -> QueueState {
    queue_with(&[])
}

fn queue_with(attributes: &[(&str, &str)]) -> QueueState {
    let mut settings = Settings::default();
    settings.update(attributes.iter().copied()).unwrap();
    QueueState::new(settings, START, Rng::with_seed(3))
}

pub(super) fn redriving(max_receive_count: u32) -> QueueState {
    let policy =
        crate::settings::RedrivePolicy::text("arn:aws:sqs:us-east-1:000000000000:dead", max_receive_count);
    queue_with(&[("RedrivePolicy", &policy)])
}

pub(super) fn send(queue: &mut QueueState, now: Millis, body: &str) {
    queue.send(now, Draft::new(body)).unwrap();
}

fn send_delayed(queue: &mut QueueState, now: Millis, body: &str, delay_s: u32) {
    queue.send(now, Draft { delay_s: Some(delay_s), ..Draft::new(body) }).unwrap();
}

pub(super) fn receive(queue: &mut QueueState, now: Millis, max: usize) -> Vec<Received> {
    queue.receive(now, max, None, Redrive::Apply).unwrap().messages
}

pub(super) fn bodies(messages: &[Received]) -> Vec<&str> {
    messages.iter().map(|message| &*message.content.body).collect()
}

pub(super) fn kind<T>(result: Result<T, SqsError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

/// Ready, in flight, delayed.
fn places(queue: &mut QueueState, now: Millis) -> (usize, usize, usize) {
    let stats = queue.stats(now, 0);
    (stats.ready, stats.in_flight, stats.delayed)
}

#[test]
fn messages_come_in_the_order_of_sending_with_their_figures() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    send(&mut queue, START + 5, "b");
    let got = receive(&mut queue, START + 10, 10);
    assert_eq!(bodies(&got), ["a", "b"]);
    assert_eq!((got[1].sent_at, got[1].first_received_at, got[1].receive_count), (START + 5, START + 10, 1));
    assert!(receive(&mut queue, START + 10, 10).is_empty());
}

#[test]
fn a_message_comes_back_at_the_very_end_of_its_visibility_timeout() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    receive(&mut queue, START, 1);
    assert!(receive(&mut queue, START + 30 * SECOND - 1, 1).is_empty());
    let again = receive(&mut queue, START + 30 * SECOND, 1);
    assert_eq!((again[0].receive_count, again[0].first_received_at), (2, START));
}

#[test]
fn a_visibility_timeout_of_zero_leaves_the_message_ready_behind_the_others() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    send(&mut queue, START, "b");
    let got = queue.receive(START, 1, Some(0), Redrive::Apply).unwrap().messages;
    assert_eq!(bodies(&got), ["a"]);
    assert_eq!(places(&mut queue, START), (2, 0, 0));
    let got = queue.receive(START, 10, Some(0), Redrive::Apply).unwrap().messages;
    assert_eq!(bodies(&got), ["b", "a"], "each once, although both stay ready");
    assert_eq!(got[1].receive_count, 2);
}

#[test]
fn a_delay_hides_a_message_and_the_message_s_own_wins_over_the_queue_s() {
    let mut queue = queue_with(&[("DelaySeconds", "10")]);
    send(&mut queue, START, "queue's delay");
    send_delayed(&mut queue, START, "own delay", 5);
    send_delayed(&mut queue, START, "no delay", 0);
    assert_eq!(places(&mut queue, START), (1, 0, 2));
    assert_eq!(bodies(&receive(&mut queue, START, 10)), ["no delay"]);
    assert_eq!(bodies(&receive(&mut queue, START + 5 * SECOND, 10)), ["own delay"]);
    assert_eq!(bodies(&receive(&mut queue, START + 10 * SECOND, 10)), ["queue's delay"]);
}

#[test]
fn only_the_latest_receipt_deletes() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    let first = receive(&mut queue, START, 1)[0].receipt;
    let second = receive(&mut queue, START + 31 * SECOND, 1)[0].receipt;
    queue.delete(START + 31 * SECOND, first);
    assert_eq!(places(&mut queue, START + 31 * SECOND), (0, 1, 0));
    queue.delete(START + 31 * SECOND, second);
    queue.delete(START + 31 * SECOND, second);
    let stats = queue.stats(START + 31 * SECOND, 0);
    assert_eq!((stats.messages(), stats.deleted, stats.stale_deletes), (0, 1, 2));
}

#[test]
fn a_receipt_is_void_for_the_message_that_got_the_slot_afterwards() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    let old = receive(&mut queue, START, 1)[0].receipt;
    queue.delete(START, old);
    send(&mut queue, START, "b");
    let new = receive(&mut queue, START, 1)[0].receipt;
    assert_eq!(new.slot, old.slot, "the test is about a slot that is used again");
    queue.delete(START, old);
    assert_eq!(kind(queue.change_visibility(START, old, 0)), Some(ErrorKind::InvalidParameterValue));
    assert_eq!(places(&mut queue, START), (0, 1, 0));
}

#[test]
fn a_message_can_be_deleted_after_its_timeout_until_it_is_received_again() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    send(&mut queue, START, "b");
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    queue.delete(START + HOUR, receipt);
    assert_eq!(bodies(&receive(&mut queue, START + HOUR, 10)), ["b"]);
    assert_eq!(queue.stats(START + HOUR, 0).deleted, 1);
}

#[test]
fn visibility_can_be_changed_in_flight_only_and_with_the_latest_receipt_only() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    let first = receive(&mut queue, START, 1)[0].receipt;
    queue.change_visibility(START + SECOND, first, 60).unwrap();
    assert!(receive(&mut queue, START + 60 * SECOND, 1).is_empty(), "counted from the change");
    let over = START + 61 * SECOND;
    assert_eq!(kind(queue.change_visibility(over, first, 60)), Some(ErrorKind::MessageNotInflight));
    let second = receive(&mut queue, over, 1)[0].receipt;
    assert_eq!(kind(queue.change_visibility(over, first, 60)), Some(ErrorKind::InvalidParameterValue));
    queue.delete(over, second);
    assert_eq!(kind(queue.change_visibility(over, second, 60)), Some(ErrorKind::InvalidParameterValue));
}

#[test]
fn changing_the_visibility_to_zero_makes_the_message_ready_at_once() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    queue.change_visibility(START, receipt, 0).unwrap();
    assert_eq!(places(&mut queue, START), (1, 0, 0));
    assert_eq!(receive(&mut queue, START, 1)[0].receive_count, 2);
}

#[test]
fn a_delivery_lasts_twelve_hours_in_all_and_not_longer() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    assert_eq!(queue.change_visibility(START, receipt, 43_200), Ok(()));
    assert_eq!(
        kind(queue.change_visibility(START + 1, receipt, 43_200)),
        Some(ErrorKind::InvalidParameterValue)
    );
    let late = START + 11 * HOUR;
    assert_eq!(queue.change_visibility(late, receipt, 3_600), Ok(()));
    assert_eq!(kind(queue.change_visibility(late, receipt, 3_601)), Some(ErrorKind::InvalidParameterValue));
    assert_eq!(receive(&mut queue, START + 12 * HOUR, 1)[0].receive_count, 2);
    let again = START + 12 * HOUR;
    let receipt = Receipt { delivery: 2, ..receipt };
    assert_eq!(
        queue.change_visibility(again, receipt, 43_200),
        Ok(()),
        "a new delivery has its own twelve hours"
    );
}

#[test]
fn messages_expire_by_the_time_of_sending_wherever_they_are() {
    let mut queue = queue_with(&[("MessageRetentionPeriod", "60")]);
    send(&mut queue, START, "in flight");
    let got = queue.receive(START, 1, Some(600), Redrive::Apply).unwrap().messages;
    send(&mut queue, START, "ready");
    send_delayed(&mut queue, START, "delayed", 900);
    send(&mut queue, START + 1, "younger");
    assert_eq!(places(&mut queue, START + 60 * SECOND - 1), (2, 1, 1));
    assert_eq!(places(&mut queue, START + 60 * SECOND), (1, 0, 0));
    assert_eq!(queue.stats(START + 60 * SECOND, 0).expired, 3);
    queue.delete(START + 60 * SECOND, got[0].receipt);
    assert_eq!(bodies(&receive(&mut queue, START + 60 * SECOND, 10)), ["younger"]);
}

#[test]
fn a_shorter_retention_holds_for_the_messages_that_are_there() {
    let mut queue = queue();
    send(&mut queue, START, "a");
    queue.settings.update([("MessageRetentionPeriod", "60")]).unwrap();
    assert_eq!(places(&mut queue, START + 60 * SECOND), (0, 0, 0));
}

#[test]
fn a_message_moves_when_it_would_be_received_once_too_often() {
    let mut queue = redriving(2);
    send(&mut queue, START, "a");
    for minute in 0..2 {
        assert_eq!(receive(&mut queue, START + minute * 60 * SECOND, 10).len(), 1);
    }
    assert_eq!(places(&mut queue, START + 120 * SECOND), (1, 0, 0), "not before the next receive");
    let taken = queue.receive(START + 120 * SECOND, 10, None, Redrive::Apply).unwrap();
    assert_eq!((taken.messages.len(), taken.dead.len()), (0, 1));
    assert_eq!((queue.stats(START, 0).messages(), queue.stats(START, 0).moved_out), (0, 1));
}

#[test]
fn a_moved_message_keeps_its_id_its_time_and_its_count() {
    let mut queue = redriving(1);
    send(&mut queue, START, "a");
    let id = receive(&mut queue, START + SECOND, 1)[0].content.id;
    let taken = queue.receive(START + 60 * SECOND, 1, None, Redrive::Apply).unwrap();
    let mut dead_letters = redriving(1);
    let source: Arc<str> = "arn:source".into();
    taken.dead.into_iter().for_each(|parcel| dead_letters.accept(&source, parcel));
    let moved = receive(&mut dead_letters, START + 61 * SECOND, 1);
    assert_eq!(moved[0].content.id, id);
    assert_eq!((moved[0].sent_at, moved[0].first_received_at), (START, START + SECOND));
    assert_eq!(moved[0].receive_count, 2, "across all queues");
    assert_eq!(moved[0].dead_letter_source.as_deref(), Some("arn:source"));
    let next = dead_letters.receive(START + 120 * SECOND, 1, None, Redrive::Apply).unwrap();
    assert_eq!(next.dead.len(), 1, "the dead-letter queue's own policy counts its own receives");
}

#[test]
fn dead_messages_do_not_count_against_what_a_receive_asked_for() {
    let mut queue = redriving(1);
    for body in ["dead 1", "dead 2"] {
        send(&mut queue, START, body);
    }
    queue.receive(START, 10, Some(0), Redrive::Apply).unwrap();
    send(&mut queue, START, "alive");
    let taken = queue.receive(START, 1, None, Redrive::Apply).unwrap();
    assert_eq!((bodies(&taken.messages), taken.dead.len()), (vec!["alive"], 2));
}

#[test]
fn the_number_in_flight_is_limited() {
    let mut queue = queue();
    queue.settings.in_flight_limit = 3;
    (0..5).for_each(|i| send(&mut queue, START, &i.to_string()));
    assert_eq!(receive(&mut queue, START, 2).len(), 2);
    let got = receive(&mut queue, START, 10);
    assert_eq!(got.len(), 1, "as many as fit");
    assert_eq!(kind(queue.receive(START, 1, None, Redrive::Apply)), Some(ErrorKind::OverLimit));
    queue.delete(START, got[0].receipt);
    assert_eq!(receive(&mut queue, START, 10).len(), 1);
}

#[test]
fn a_message_over_the_queue_s_limit_is_refused_and_one_at_the_limit_is_not() {
    let mut queue = queue_with(&[("MaximumMessageSize", "1024")]);
    assert!(queue.send(START, Draft::new("b".repeat(1024))).is_ok());
    assert_eq!(kind(queue.send(START, Draft::new("b".repeat(1025)))), Some(ErrorKind::InvalidParameterValue));
    assert_eq!(queue.stats(START, 0).sent, 1);
}

#[test]
fn a_purge_takes_everything_and_old_receipts_are_void_after_it() {
    let mut queue = queue();
    (0..3).for_each(|i| send(&mut queue, START, &i.to_string()));
    send_delayed(&mut queue, START, "delayed", 5);
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    drop(queue.purge());
    assert_eq!((places(&mut queue, START), queue.stats(START, 0).purged), ((0, 0, 0), 4));
    send(&mut queue, START, "new");
    queue.delete(START, receipt);
    assert_eq!(bodies(&receive(&mut queue, START + 10 * SECOND, 10)), ["new"]);
}

/// The work of a fixed series of operations, in steps, on a queue that already holds `backlog` messages.
fn steps_of_a_working_day(backlog: usize) -> u64 {
    let mut queue = queue();
    (0..backlog).for_each(|_| send(&mut queue, START, "x"));
    let mut now = START;
    let before = queue.counters.steps;
    for round in 0..200 {
        now += SECOND;
        send(&mut queue, now, "new");
        send_delayed(&mut queue, now, "later", 5);
        for (position, message) in receive(&mut queue, now, 10).into_iter().enumerate() {
            match position {
                0 => queue.change_visibility(now, message.receipt, 0).unwrap(),
                1 => queue.change_visibility(now, message.receipt, 3 + round % 7).unwrap(),
                2 => {} // times out
                _ => queue.delete(now, message.receipt),
            }
        }
        queue.stats(now, 0);
    }
    queue.counters.steps - before
}

#[test]
fn the_work_of_an_operation_does_not_grow_with_the_queue() {
    // Large enough that neither queue runs empty.
    let small = steps_of_a_working_day(5_000);
    let large = steps_of_a_working_day(1_000_000);
    assert!(large <= small + small / 10, "{small} steps with 5,000 messages, {large} with 1,000,000");
    assert!(small < 200 * 10 * 12, "{small} steps for 200 rounds of about 25 operations");
}

#[test]
fn deleting_ready_messages_costs_a_fixed_number_of_steps_each() {
    const MESSAGES: usize = 200_000;
    let mut queue = queue();
    queue.settings.in_flight_limit = usize::MAX;
    (0..MESSAGES).for_each(|_| send(&mut queue, START, "x"));
    let receipts: Vec<Receipt> =
        receive(&mut queue, START, MESSAGES).into_iter().map(|message| message.receipt).collect();
    let timed_out = START + 31 * SECOND;
    assert_eq!(places(&mut queue, timed_out), (MESSAGES, 0, 0));
    let before = queue.counters.steps;
    // The order that leaves the most void entries in the ready list: the oldest last.
    for receipt in receipts.iter().rev() {
        queue.delete(timed_out, *receipt);
    }
    let per_delete = (queue.counters.steps - before) as f64 / MESSAGES as f64;
    assert!(per_delete < 6.0, "{per_delete} steps");
    assert!(queue.ready.len() <= 65, "void entries are dropped");
}
