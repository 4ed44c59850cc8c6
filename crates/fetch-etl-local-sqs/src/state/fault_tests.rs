//! The faults of messages, one by one, and that none of them upsets the books.

use proptest::prelude::*;

use super::model_tests::assert_indexes_agree;
use super::tests::{START, bodies, kind, queue, receive, redriving, send};
use super::*;
use crate::fault::{FaultKind, FaultPlan};

const SECOND: Millis = 1000;

fn with_faults(mut queue: QueueState, plan: &str) -> QueueState {
    queue.set_faults(plan.parse().unwrap(), "logins");
    queue
}

fn faults(queue: &mut QueueState, kind: FaultKind) -> u64 {
    queue.stats(START, 0).faults.of(kind)
}

#[test]
fn a_message_in_flight_comes_again_with_a_new_receipt_and_the_old_one_deletes_nothing() {
    let mut queue = with_faults(queue(), "redeliver=1x1");
    send(&mut queue, START, "a");
    let first = receive(&mut queue, START, 10);
    assert_eq!(bodies(&first), ["a"], "not twice in one answer");
    assert!(queue.has_ready(), "a long poll is to be woken for it");
    let again = receive(&mut queue, START + SECOND, 10);
    assert_eq!((bodies(&again), again[0].receive_count), (vec!["a"], 2));
    queue.delete(START + SECOND, first[0].receipt);
    assert_eq!(queue.stats(START, 0).stale_deletes, 1);
    queue.delete(START + SECOND, again[0].receipt);
    let stats = queue.stats(START + SECOND, 0);
    assert_eq!((stats.messages(), stats.deleted, stats.in_flight), (0, 1, 0));
    assert_eq!(faults(&mut queue, FaultKind::Redeliver), 1);
}

#[test]
fn what_is_no_longer_in_flight_is_not_delivered_again() {
    let mut queue = with_faults(queue(), "redeliver=1");
    for body in ["deleted", "given back", "purged"] {
        send(&mut queue, START, body);
    }
    let got = receive(&mut queue, START, 10);
    queue.delete(START, got[0].receipt);
    queue.change_visibility(START, got[1].receipt, 0).unwrap();
    assert_eq!(bodies(&receive(&mut queue, START, 1)), ["purged"], "the only one that is in flight");
    drop(queue.purge());
    assert!(receive(&mut queue, START, 10).is_empty());
    assert!(!queue.has_ready());
    assert_eq!(faults(&mut queue, FaultKind::Redeliver), 1);
}

#[test]
fn no_message_is_delivered_again_more_often_than_its_policy_allows() {
    let mut queue = with_faults(redriving(3), "redeliver=1");
    send(&mut queue, START, "a");
    for count in 1..=3 {
        assert_eq!(receive(&mut queue, START, 10)[0].receive_count, count);
    }
    let taken = queue.receive(START, 10, None, Redrive::Apply).unwrap();
    assert!(taken.messages.is_empty() && taken.dead.is_empty(), "it is in flight, not dead");
    assert_eq!(faults(&mut queue, FaultKind::Redeliver), 2);
}

#[test]
fn a_deleted_message_comes_back_and_is_the_same() {
    let mut queue = with_faults(queue(), "redeliver-deleted=1x1");
    send(&mut queue, START, "a");
    let first = receive(&mut queue, START, 10).remove(0);
    queue.delete(START, first.receipt);
    let again = receive(&mut queue, START + SECOND, 10).remove(0);
    assert_eq!((again.content.id, again.receive_count), (first.content.id, 2));
    assert_eq!((again.sent_at, again.first_received_at), (first.sent_at, first.first_received_at));
    queue.delete(START + SECOND, again.receipt);
    let stats = queue.stats(START + SECOND, 0);
    assert_eq!((stats.sent, stats.revived, stats.deleted, stats.messages()), (1, 1, 2, 0));
    assert!(stats.is_conserved());
}

#[test]
fn a_kept_message_stays_in_flight_until_its_timeout() {
    let mut queue = with_faults(queue(), "keep=1x1");
    send(&mut queue, START, "a");
    let first = receive(&mut queue, START, 10).remove(0);
    queue.delete(START, first.receipt);
    assert_eq!((queue.stats(START, 0).in_flight, queue.stats(START, 0).deleted), (1, 0));
    assert!(receive(&mut queue, START + 29 * SECOND, 10).is_empty());
    let again = receive(&mut queue, START + 30 * SECOND, 10).remove(0);
    queue.delete(START + 30 * SECOND, again.receipt);
    assert_eq!(queue.stats(START + 30 * SECOND, 0).messages(), 0);
    assert_eq!(faults(&mut queue, FaultKind::Keep), 1);
}

#[test]
fn an_old_receipt_deletes_and_changes_nothing() {
    let mut queue = with_faults(queue(), "stale-handle=1x1");
    send(&mut queue, START, "a");
    let stale = receive(&mut queue, START, 10).remove(0);
    queue.delete(START, stale.receipt);
    assert_eq!(
        kind(queue.change_visibility(START, stale.receipt, 5)),
        Some(ErrorKind::InvalidParameterValue)
    );
    let stats = queue.stats(START, 0);
    assert_eq!((stats.in_flight, stats.deleted, stats.stale_deletes), (1, 0, 1));
    let again = receive(&mut queue, START + 30 * SECOND, 10).remove(0);
    assert_eq!(again.receive_count, 2, "the count is what it would be anyway");
    queue.delete(START + 30 * SECOND, again.receipt);
    assert_eq!(queue.stats(START + 30 * SECOND, 0).messages(), 0);
}

/// The order in which fifty messages are received.
fn order(plan: &str) -> (Vec<String>, u64) {
    let mut queue = with_faults(queue(), plan);
    (0..50).for_each(|i| send(&mut queue, START, &i.to_string()));
    let got: Vec<_> = (0..5).flat_map(|_| receive(&mut queue, START, 10)).collect();
    (bodies(&got).into_iter().map(str::to_owned).collect(), faults(&mut queue, FaultKind::Reorder))
}

#[test]
fn another_order_is_still_of_the_same_messages() {
    let straight: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    assert_eq!(order("reorder=0"), (straight.clone(), 0));
    let (mut shuffled, count) = order("reorder=1");
    assert_eq!(count, 49, "the last one has no other to change places with");
    assert_ne!(shuffled, straight);
    assert_eq!(order("reorder=1").0, shuffled, "a seed repeats");
    assert_ne!(order("reorder=1,seed=1").0, shuffled);
    shuffled.sort_by_key(|body| body.parse::<u32>().ok());
    assert_eq!(shuffled, straight);
}

#[test]
fn entries_fail_by_either_fault_and_sent_ones_only_if_the_plan_says_so() {
    let mut queue = with_faults(queue(), "entry-sender-fault=1x1,entry-service-fault=1");
    assert_eq!(queue.sent_entry_fault(), None);
    assert_eq!(queue.entry_fault(), Some(EntryFault::Sender));
    assert_eq!(queue.entry_fault(), Some(EntryFault::Service));
    queue.set_faults("entry-service-fault=1,sends=true".parse().unwrap(), "logins");
    assert_eq!(queue.sent_entry_fault(), Some(EntryFault::Service));
    let counts = queue.stats(START, 0).faults;
    let counted = (counts.of(FaultKind::EntrySenderFault), counts.of(FaultKind::EntryServiceFault));
    assert_eq!(counted, (1, 2), "a new plan begins afresh, the counts go on");
}

#[derive(Clone, Debug)]
enum Action {
    Send,
    Receive(usize, u32),
    Delete(prop::sample::Index),
    Change(prop::sample::Index, u32),
    Wait(Millis),
    Purge,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        5 => Just(Action::Send),
        5 => (1_usize..=10, 0_u32..30).prop_map(|(max, s)| Action::Receive(max, s)),
        5 => any::<prop::sample::Index>().prop_map(Action::Delete),
        2 => (any::<prop::sample::Index>(), 0_u32..30).prop_map(|(index, s)| Action::Change(index, s)),
        3 => (1_u64..20_000).prop_map(Action::Wait),
        1 => Just(Action::Purge),
    ]
}

fn run(queue: &mut QueueState, now: &mut Millis, receipts: &mut Vec<Receipt>, action: &Action) {
    match action {
        Action::Send => send(queue, *now, "a"),
        Action::Receive(max, visibility_s) => {
            let taken = queue.receive(*now, *max, Some(*visibility_s), Redrive::Apply);
            let messages = taken.map(|taken| taken.messages).unwrap_or_default();
            let mut serials: Vec<_> = messages.iter().map(|message| message.receipt.slot).collect();
            serials.sort_unstable();
            serials.dedup();
            assert_eq!(serials.len(), messages.len(), "no message twice in one answer");
            receipts.extend(messages.iter().map(|message| message.receipt));
        }
        Action::Delete(index) if !receipts.is_empty() => queue.delete(*now, *index.get(receipts)),
        Action::Change(index, visibility_s) if !receipts.is_empty() => {
            // Refused as often as not: what counts is what it leaves behind.
            let _ = queue.change_visibility(*now, *index.get(receipts), *visibility_s);
        }
        Action::Delete(_) | Action::Change(..) => {}
        Action::Wait(millis) => *now += millis,
        Action::Purge => drop(queue.purge()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_goes_wrong_nothing_is_lost_and_nothing_made_of_nothing(
        actions in prop::collection::vec(action(), 1..150),
        seed: u64,
    ) {
        let plan = "redeliver=0.3,redeliver-deleted=0.2,reorder=0.5,keep=0.3,stale-handle=0.2";
        let mut queue = with_faults(redriving(4), &format!("{plan},seed={seed}"));
        let (mut now, mut receipts) = (START, Vec::new());
        for action in &actions {
            run(&mut queue, &mut now, &mut receipts, action);
            prop_assert!(queue.stats(now, 0).is_conserved());
            assert_indexes_agree(&queue);
        }
        // Once nothing goes wrong any more, everything can be received and deleted.
        queue.set_faults(FaultPlan::default(), "logins");
        now += 43_200 * SECOND;
        loop {
            let taken = queue.receive(now, 10, None, Redrive::Ignore).unwrap();
            if taken.messages.is_empty() {
                break;
            }
            taken.messages.iter().for_each(|message| queue.delete(now, message.receipt));
        }
        let stats = queue.stats(now, 0);
        prop_assert!(stats.is_conserved());
        prop_assert_eq!(stats.messages(), 0);
    }
}
