//! Each fault as a client meets it.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::delete_message_batch::{DeleteMessageBatchError, DeleteMessageBatchOutput};
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, QueueAttributeName, SendMessageBatchRequestEntry,
};
use fetch_etl_local_sqs::{FaultKind, FaultPlan, QueueConfig, QueueStats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, bodies, client_that, code, start, start_manual};

fn plan(text: &str) -> FaultPlan {
    text.parse().unwrap()
}

/// A server with a queue that holds these messages and does wrong what the plan says.
async fn start_faulty(messages: &[&str], faults: &str) -> Setup {
    let setup = start().await;
    setup.queue.send_many(messages.iter().copied()).unwrap();
    setup.queue.faults(plan(faults));
    setup
}

impl Setup {
    fn injected(&self, kind: FaultKind) -> u64 {
        self.queue.stats().faults.of(kind)
    }

    async fn delete_batch(&self, messages: &[Message]) -> DeleteMessageBatchOutput {
        self.try_delete_batch(messages).await.unwrap()
    }

    async fn try_delete_batch(
        &self,
        messages: &[Message],
    ) -> Result<DeleteMessageBatchOutput, SdkError<DeleteMessageBatchError>> {
        let entries = messages.iter().enumerate().map(|(id, message)| {
            let receipt = message.receipt_handle().unwrap();
            DeleteMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .receipt_handle(receipt)
                .build()
                .unwrap()
        });
        let request = self.client.delete_message_batch().queue_url(&self.url);
        request.set_entries(Some(entries.collect())).send().await
    }

    /// What the server sends back for a receive until it closes the connection, and how it closes it.
    async fn receive_raw(&self) -> (String, Result<(), ErrorKind>) {
        let body = format!(r#"{{"QueueUrl":"{}"}}"#, self.url);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: sqs.test\r\nConnection: close\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.server.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        (String::from_utf8(answer).unwrap(), closed.map(drop).map_err(|error| error.kind()))
    }
}

#[tokio::test]
async fn a_redelivery_wakes_a_long_poll() {
    let setup = start_faulty(&["a"], "redeliver=1x1").await;
    let poll = || setup.client.receive_message().queue_url(&setup.url).wait_time_seconds(20).send();
    let first = timeout(PATIENCE, poll()).await.unwrap().unwrap().messages.unwrap();
    let again = timeout(PATIENCE, poll()).await.unwrap().unwrap().messages.unwrap();
    assert_eq!(first[0].message_id(), again[0].message_id());
    assert_ne!(first[0].receipt_handle(), again[0].receipt_handle());
    setup.delete(&first[0]).await;
    assert_eq!(setup.queue.stats().messages(), 1, "the receipt of the first delivery is stale");
    setup.delete(&again[0]).await;
    assert_eq!(setup.queue.stats().messages(), 0);
}

#[tokio::test]
async fn deletes_that_succeed_do_not_always_delete() {
    for (faults, after, back) in [
        ("redeliver-deleted=1x1", Duration::ZERO, true),
        ("keep=1x1", Duration::from_secs(30), true),
        ("stale-handle=1x1", Duration::from_secs(30), true),
        ("keep=0", Duration::from_secs(30), false),
    ] {
        let (setup, hand) = start_manual(QueueConfig::new("logins")).await;
        setup.send("a").await;
        setup.queue.faults(plan(faults));
        let first = setup.receive().await;
        let deleted = setup.delete_batch(&first).await;
        assert_eq!((deleted.successful().len(), deleted.failed().len()), (1, 0), "{faults}");
        hand.advance(after);
        let again = setup.receive().await;
        assert_eq!(again.len(), usize::from(back), "{faults}");
        if back {
            assert_eq!(again[0].message_id(), first[0].message_id(), "{faults}");
            setup.delete(&again[0]).await;
        }
        let stats = setup.queue.stats();
        assert_eq!((stats.messages(), stats.faults.total()), (0, u64::from(back)), "{faults}");
        assert!(stats.is_conserved(), "{faults}");
    }
}

#[tokio::test]
async fn a_stale_handle_cannot_be_extended() {
    let setup = start_faulty(&["a"], "stale-handle=1").await;
    let message = setup.receive().await.remove(0);
    let change = setup.client.change_message_visibility().queue_url(&setup.url).visibility_timeout(5);
    let refused = change.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap_err();
    assert_eq!(code(&refused), "InvalidParameterValue");
}

#[tokio::test]
async fn messages_come_in_another_order_but_all_of_them() {
    let all: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let setup = start_faulty(&all, "reorder=1").await;
    let messages = setup.receive().await;
    let mut got = bodies(&messages);
    assert_ne!(got, all);
    got.sort_unstable();
    assert_eq!(got, all);
}

#[tokio::test]
async fn entries_fail_by_themselves_and_say_by_whose_fault() {
    for (faults, sender_fault, failed_code) in [
        ("entry-sender-fault=1x2", true, "InvalidParameterValue"),
        ("entry-service-fault=1x2", false, "InternalFailure"),
    ] {
        let setup = start_faulty(&["a", "b", "c"], faults).await;
        let deleted = setup.delete_batch(&setup.receive().await).await;
        let failed: Vec<_> =
            deleted.failed().iter().map(|entry| (entry.id(), entry.sender_fault(), entry.code())).collect();
        assert_eq!(failed, [("0", sender_fault, failed_code), ("1", sender_fault, failed_code)]);
        assert_eq!(deleted.successful()[0].id(), "2");
        let stats = setup.queue.stats();
        assert_eq!((stats.deleted, stats.in_flight), (1, 2), "{faults}");
    }
}

#[tokio::test]
async fn refused_calls_have_no_effect_and_say_why() {
    for (faults, codes) in [
        ("throttle=1x8", HashSet::from(["RequestThrottled", "ThrottlingException"])),
        ("internal-error=1x8", HashSet::from(["InternalFailure"])),
    ] {
        let setup = start_faulty(&["a"], faults).await;
        let mut seen = HashSet::new();
        for _ in 0..8 {
            let refused = setup.client.receive_message().queue_url(&setup.url).send().await.unwrap_err();
            let status = refused.raw_response().unwrap().status().as_u16();
            assert_eq!(status, if faults.starts_with("throttle") { 400 } else { 500 });
            seen.insert(code(&refused).to_owned());
        }
        assert_eq!(seen.iter().map(String::as_str).collect::<HashSet<_>>(), codes, "{faults}");
        assert_eq!(setup.queue.stats().deliveries, 0);
        assert_eq!(bodies(&setup.receive().await), ["a"], "the limit is reached");
    }
}

#[tokio::test]
async fn throttling_is_what_the_sdk_takes_for_it() {
    let setup = start_faulty(&["a"], "throttle=1x2").await;
    // Throttling is retried as such: it would be an error at once if the SDK did not know the codes.
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let client = client_that(retries, &setup.server.url());
    let received = client.receive_message().queue_url(&setup.url).send().await.unwrap();
    assert_eq!(bodies(&received.messages.unwrap()), ["a"]);
    assert_eq!(setup.injected(FaultKind::Throttle), 2);
}

#[tokio::test]
async fn an_error_after_the_effect_leaves_the_effect() {
    let setup = start_faulty(&["a"], "internal-error-after=1x1").await;
    let failed = setup.client.receive_message().queue_url(&setup.url).send().await.unwrap_err();
    assert_eq!(code(&failed), "InternalFailure");
    let stats = setup.queue.stats();
    assert_eq!((stats.in_flight, stats.deliveries), (1, 1), "it is in flight, and nobody has it");
}

#[tokio::test]
async fn cut_and_dropped_connections_end_as_they_are_told() {
    for (faults, kind, in_flight, closed) in [
        ("cut-before=1x1", FaultKind::CutBefore, 0, Ok(())),
        ("drop=1x1", FaultKind::Drop, 0, Err(ErrorKind::ConnectionReset)),
        ("cut-after=1x1", FaultKind::CutAfter, 1, Ok(())),
    ] {
        let setup = start_faulty(&["a"], faults).await;
        let (answer, end) = setup.receive_raw().await;
        assert_eq!(end, closed, "{faults}");
        assert_eq!((setup.queue.stats().in_flight, setup.injected(kind)), (in_flight, 1), "{faults}");
        if kind == FaultKind::CutAfter {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
        } else {
            assert_eq!(answer, "", "{faults}");
        }
    }
}

#[tokio::test]
async fn the_sdk_sees_lost_answers_as_lost_and_can_go_on() {
    for faults in ["cut-before=1x1", "drop=1x1", "cut-after=1x1"] {
        let setup = start_faulty(&["a", "b"], faults).await;
        // The pool has a connection, as that of a worker has, and it is that one which breaks.
        setup.client.list_queues().send().await.unwrap();
        let lost = setup.client.receive_message().queue_url(&setup.url).send().await.unwrap_err();
        assert!(
            matches!(lost, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)),
            "{faults}: {lost:?}"
        );
        assert_eq!(setup.receive().await.len(), if faults == "cut-after=1x1" { 1 } else { 2 }, "{faults}");
    }
}

#[tokio::test]
async fn a_slow_answer_comes_late_with_the_effect_done() {
    let (setup, hand) = start_manual(QueueConfig::new("logins")).await;
    setup.send("a").await;
    setup.queue.faults(plan("slow=1x1,slow-ms=5000"));
    let request = setup.client.receive_message().queue_url(&setup.url);
    let call = tokio::spawn(async move { request.send().await });
    timeout(PATIENCE, setup.queue.until(|stats| stats.in_flight == 1)).await.unwrap();
    // The lease runs while the answer is on its way. Whether this call is answered before or after the slow one is what
    // the test is about, and only the clock decides it.
    hand.advance(Duration::from_millis(4_999));
    setup.client.list_queues().send().await.unwrap();
    assert!(!call.is_finished());
    // The answer's delay may begin after the first step of the clock, but takes no longer than all of it from here.
    hand.advance(Duration::from_millis(5_000));
    let got = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    assert_eq!(bodies(&got.messages.unwrap()), ["a"]);
    assert_eq!(setup.injected(FaultKind::Slow), 1);
}

#[tokio::test]
async fn a_slow_answer_does_not_hold_up_the_end() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    setup.queue.faults(plan("slow=1"));
    let request = setup.client.receive_message().queue_url(&setup.url);
    let call = tokio::spawn(async move { request.send().await });
    timeout(PATIENCE, setup.queue.until(|stats| stats.faults.of(FaultKind::Slow) == 1)).await.unwrap();
    timeout(PATIENCE, setup.server.shutdown()).await.unwrap();
    timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn sends_suffer_only_if_the_plan_says_so_and_other_operations_never() {
    let faults = plan("internal-error=1,entry-service-fault=1");
    let setup = start().await;
    let send_batch = || {
        let entry = SendMessageBatchRequestEntry::builder().id("a").message_body("a").build().unwrap();
        setup.client.send_message_batch().queue_url(&setup.url).entries(entry).send()
    };
    setup.queue.faults(faults.clone());
    setup.send("a").await;
    assert_eq!(send_batch().await.unwrap().successful().len(), 1);
    setup.client.get_queue_attributes().queue_url(&setup.url).send().await.unwrap();
    setup.client.purge_queue().queue_url(&setup.url).send().await.unwrap();
    assert_eq!(setup.queue.stats().faults.total(), 0);

    setup.queue.faults(faults.sends(true));
    let sent = setup.client.send_message().queue_url(&setup.url).message_body("a").send().await;
    assert_eq!(code(&sent.unwrap_err()), "InternalFailure");
    setup.queue.faults(plan("entry-service-fault=1,sends=true"));
    assert_eq!(send_batch().await.unwrap().failed().len(), 1);
    assert_eq!(setup.queue.stats().sent, 2, "what failed had no effect");
}

#[tokio::test]
async fn faults_for_calls_can_be_kept_to_some_of_them() {
    let setup = start_faulty(&["a", "b", "c"], "internal-error=1,calls=delete").await;
    let messages = setup.receive().await;
    let receipt = messages[0].receipt_handle().unwrap();
    let delete = setup.client.delete_message().queue_url(&setup.url).receipt_handle(receipt);
    assert_eq!(code(&delete.send().await.unwrap_err()), "InternalFailure");
    assert_eq!(code(&setup.try_delete_batch(&messages).await.unwrap_err()), "InternalFailure");
    let change = setup.client.change_message_visibility().queue_url(&setup.url).receipt_handle(receipt);
    change.visibility_timeout(0).send().await.unwrap();
    assert_eq!(setup.injected(FaultKind::InternalError), 2);

    setup.queue.faults(plan("internal-error=1,calls=get-url+get-attributes+set-attributes+purge+send"));
    assert_eq!(bodies(&setup.receive().await), ["a"]);
    let url = setup.client.get_queue_url().queue_name("logins").send().await;
    let attributes = setup.client.get_queue_attributes().queue_url(&setup.url).send().await;
    let set = setup.client.set_queue_attributes().queue_url(&setup.url);
    let set = set.attributes(QueueAttributeName::DelaySeconds, "1").send().await;
    let purge = setup.client.purge_queue().queue_url(&setup.url).send().await;
    let send = setup.client.send_message().queue_url(&setup.url).message_body("d").send().await;
    let codes = [code(&url.unwrap_err()).to_owned(), code(&attributes.unwrap_err()).to_owned()];
    let more = [code(&set.unwrap_err()).to_owned(), code(&purge.unwrap_err()).to_owned()];
    assert!(codes.iter().chain(&more).all(|code| code == "InternalFailure"), "{codes:?} {more:?}");
    assert_eq!(code(&send.unwrap_err()), "InternalFailure");
    assert_eq!((setup.queue.stats().messages(), setup.injected(FaultKind::InternalError)), (3, 7));
}

#[tokio::test]
async fn other_calls_are_no_opportunities() {
    let refused = async |between: usize| {
        let setup = start_faulty(&["a"], "throttle=0.5,calls=delete,seed=3").await;
        let message = setup.receive().await.remove(0);
        let mut refused = Vec::new();
        for _ in 0..20 {
            for _ in 0..between {
                setup.receive().await;
            }
            let delete = setup.client.delete_message().queue_url(&setup.url);
            let delete = delete.receipt_handle(message.receipt_handle().unwrap());
            refused.push(delete.send().await.is_err());
        }
        refused
    };
    let alone = refused(0).await;
    assert!(alone.contains(&true) && alone.contains(&false), "{alone:?}");
    assert_eq!(refused(1).await, alone);
}

#[tokio::test]
async fn faults_after_the_effect_are_counted_when_it_is_there() {
    for (faults, kind) in [
        ("slow=1,slow-ms=600000", FaultKind::Slow),
        ("cut-after=1", FaultKind::CutAfter),
        ("internal-error-after=1", FaultKind::InternalErrorAfter),
    ] {
        let setup = start_faulty(&[], &format!("{faults},calls=receive")).await;
        let poll = setup.client.receive_message();
        let poll = poll.queue_url(&setup.url).wait_time_seconds(20);
        let poll = tokio::spawn(async move { poll.send().await });
        timeout(PATIENCE, setup.queue.until(|stats| stats.waiting_receives == 1)).await.unwrap();
        assert_eq!(setup.injected(kind), 0, "{faults}: it waits, and nothing is handed out");
        setup.send("a").await;
        let stats = timeout(PATIENCE, setup.queue.until(|stats| stats.faults.of(kind) == 1)).await.unwrap();
        assert_eq!((stats.deliveries, stats.in_flight), (1, 1), "{faults}");
        poll.abort();
    }
}

#[tokio::test]
async fn a_call_that_is_held_up_has_its_effect_late() {
    let (setup, hand) = start_manual(QueueConfig::new("logins")).await;
    setup.send("a").await;
    let message = setup.receive().await.remove(0);
    setup.queue.faults(plan("slow-before=1,slow-ms=5000,calls=delete"));
    let delete = setup.client.delete_message().queue_url(&setup.url);
    let delete = delete.receipt_handle(message.receipt_handle().unwrap());
    let call = tokio::spawn(async move { delete.send().await });
    let held_up = |stats: &QueueStats| stats.faults.of(FaultKind::SlowBefore) == 1;
    let stats = timeout(PATIENCE, setup.queue.until(held_up)).await.unwrap();
    setup.client.list_queues().send().await.unwrap();
    assert_eq!((stats.deleted, setup.queue.stats().deleted, call.is_finished()), (0, 0, false));
    // The wait may begin after the clock's first step, but takes no longer than all of it from there.
    while !call.is_finished() {
        hand.advance(Duration::from_millis(5_000));
        tokio::task::yield_now().await;
    }
    call.await.unwrap().unwrap();
    assert_eq!(setup.queue.stats().deleted, 1);
}

#[tokio::test]
async fn a_withheld_answer_holds_up_nobody_else_and_ends_with_its_client() {
    let setup = start_faulty(&["a", "b"], "slow=1,slow-ms=600000,calls=delete").await;
    let messages = setup.receive().await;
    let mut deletes = Vec::new();
    for message in &messages {
        let delete = setup.client.delete_message().queue_url(&setup.url);
        let delete = delete.receipt_handle(message.receipt_handle().unwrap());
        deletes.push(tokio::spawn(async move { delete.send().await }));
    }
    let both = |stats: &QueueStats| stats.faults.of(FaultKind::Slow) == 2;
    let stats = timeout(PATIENCE, setup.queue.until(both)).await.unwrap();
    assert_eq!((stats.deleted, stats.messages()), (2, 0), "counted with the effect, not with the answer");
    setup.send("c").await;
    assert_eq!(bodies(&timeout(PATIENCE, setup.receive()).await.unwrap()), ["c"]);
    assert!(deletes.iter().all(|delete| !delete.is_finished()));
    // One client goes away and its answer with it; the other waits until the server ends.
    let last = deletes.remove(0);
    deletes.remove(0).abort();
    timeout(PATIENCE, setup.server.shutdown()).await.unwrap();
    timeout(PATIENCE, last).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn one_queue_s_faults_are_not_another_s_and_end_when_told() {
    let setup = start_faulty(&["a"], "internal-error=1").await;
    setup.client.create_queue().queue_name("other").send().await.unwrap();
    let other = setup.server.queue_url("other");
    assert!(crate::support::receive_from(&setup.client, &other).await.is_empty());
    assert!(setup.client.receive_message().queue_url(&setup.url).send().await.is_err());
    assert_eq!(setup.queue.fault_plan(), plan("internal-error=1"));
    setup.queue.clear_faults();
    assert_eq!((setup.queue.fault_plan().is_empty(), setup.injected(FaultKind::InternalError)), (true, 1));
    assert_eq!(bodies(&setup.receive().await), ["a"]);
}

/// Each kind at once, none of them so often that a queue would never be empty. No answer is so slow that the clock
/// of the test, which stands still during a call, would have to move.
const EVERYTHING: &str = "redeliver=0.2,redeliver-deleted=0.05,reorder=0.3,keep=0.1,stale-handle=0.1,\
    entry-sender-fault=0.1,entry-service-fault=0.1,throttle=0.1,internal-error=0.05,drop=0.05,cut-before=0.05,\
    internal-error-after=0.05,cut-after=0.05,slow=0.1,slow-before=0.1,slow-ms=0";

/// Consumes a queue until it is empty, one call after the other, and returns what the client saw and the queue counted.
async fn consume(seed: u64) -> (Vec<String>, QueueStats) {
    let (setup, hand) =
        start_manual(QueueConfig::new("logins").visibility_timeout(Duration::from_secs(1))).await;
    setup.queue.send_many((0..100).map(|i| i.to_string())).unwrap();
    setup.queue.faults(plan(EVERYTHING).seed(seed));
    let mut seen = Vec::new();
    while setup.queue.stats().messages() > 0 {
        hand.advance(Duration::from_millis(300));
        let request = setup.client.receive_message().queue_url(&setup.url).max_number_of_messages(10);
        let messages = match request.send().await {
            Ok(received) => received.messages.unwrap_or_default(),
            Err(error) => {
                seen.push(code(&error).to_owned());
                continue;
            }
        };
        if messages.is_empty() {
            continue;
        }
        seen.extend(bodies(&messages).into_iter().map(str::to_owned));
        match setup.try_delete_batch(&messages).await {
            Ok(deleted) => seen.extend(deleted.failed().iter().map(|entry| entry.code().to_owned())),
            Err(error) => seen.push(code(&error).to_owned()),
        }
    }
    (seen, setup.queue.stats())
}

#[tokio::test]
async fn a_seed_brings_the_same_faults_and_under_all_of_them_the_books_balance() {
    let mut sequences = HashSet::new();
    for seed in 0..3 {
        let (seen, stats) = timeout(PATIENCE, consume(seed)).await.unwrap();
        assert!(stats.is_conserved(), "seed {seed}: {stats:?}");
        // A message can be deleted unseen only by somebody who has its receipt: there is nobody but this client.
        let distinct: HashSet<&str> = seen.iter().map(String::as_str).collect();
        let missing: Vec<u32> = (0..100).filter(|i| !distinct.contains(i.to_string().as_str())).collect();
        assert!(missing.is_empty(), "seed {seed}: never seen: {missing:?}");
        let idle: Vec<_> = stats.faults.iter().filter(|(_, count)| *count == 0).collect();
        assert!(idle.len() < 4, "seed {seed}: hardly anything went wrong: {idle:?}");
        assert_eq!(timeout(PATIENCE, consume(seed)).await.unwrap(), (seen.clone(), stats), "seed {seed}");
        sequences.insert(seen);
    }
    assert_eq!(sequences.len(), 3, "other seeds bring other faults");
}
