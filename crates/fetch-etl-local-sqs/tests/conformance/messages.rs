use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeName as System, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue, QueueAttributeName as Name,
};

use super::subject::{SLACK, Subject, equal, refused, system, that};
use super::{Difference, Verdict};

const MEBIBYTE: usize = 1_048_576;

/// SendMessage and ReceiveMessage: `MessageId`, `MD5OfMessageBody`, `MD5OfBody`, `Body`.
pub(super) async fn a_message_comes_back_as_it_was_sent(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let send = subject.client.send_message().queue_url(&queue.url);
    let sent = send.message_body("hello").send().await?;
    equal("digest", sent.md5_of_message_body(), Some("5d41402abc4b2a76b9719d911017c592"))?;
    let message = queue.receive_one().await?;
    equal("body", message.body(), Some("hello"))?;
    equal("id", message.message_id(), sent.message_id())?;
    equal("digest", message.md5_of_body(), sent.md5_of_message_body())
}

/// SendMessage: `#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF`.
pub(super) async fn every_allowed_character_survives(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let body = "\t\n\r ~\u{7f}\u{85}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}\"\\/\u{2028}é";
    queue.send(body).await?;
    equal("body", queue.receive_one().await?.body(), Some(body))
}

/// SendMessage: "A message can include only XML, JSON, and unformatted text … If a message contains characters outside
/// the allowed set, Amazon SQS rejects the message and returns an InvalidMessageContents error."
pub(super) async fn forbidden_characters_are_refused(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    for body in ["\u{1}", "a\u{b}", "\u{fffe}", "\u{ffff}"] {
        let sent = subject.client.send_message().queue_url(&queue.url).message_body(body).send().await;
        refused(&format!("{body:?}"), sent, &["InvalidMessageContents"])?;
    }
    Ok(())
}

/// SendMessage, `MessageBody`: "The minimum size is one character."
pub(super) async fn an_empty_body_is_refused(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let sent = subject.client.send_message().queue_url(&queue.url).message_body("").send().await;
    refused("empty", sent, &["MissingParameter", "InvalidParameterValue"])
}

/// SendMessage, `MessageBody`: "The maximum size is 1 MiB or 1,048,576 bytes".
pub(super) async fn a_message_can_have_one_mebibyte(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send(&"x".repeat(MEBIBYTE)).await?;
    equal("bytes", queue.receive_one().await?.body().map(str::len), Some(MEBIBYTE))
}

/// SendMessage, `MessageBody`: "The maximum size is 1 MiB or 1,048,576 bytes".
pub(super) async fn a_message_cannot_have_more_than_one_mebibyte(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let body = "x".repeat(MEBIBYTE + 1);
    let sent = subject.client.send_message().queue_url(&queue.url).message_body(body).send().await;
    refused("one byte more", sent, &["InvalidParameterValue"])
}

/// ReceiveMessage, `MaxNumberOfMessages`: "Default: 1."
pub(super) async fn a_receive_brings_one_message_unless_it_asks_for_more(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    for body in ["a", "b"] {
        queue.send(body).await?;
    }
    let received = subject.client.receive_message().queue_url(&queue.url).send().await?;
    equal("messages", received.messages().len(), 1)
}

/// ReceiveMessage, `MaxNumberOfMessages`: "Amazon SQS never returns more messages than this value".
pub(super) async fn a_receive_brings_at_most_ten_messages(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    for i in 0..12 {
        queue.send(&i.to_string()).await?;
    }
    let (mut batches, mut messages) = (0, 0);
    while messages < 12 {
        let received = queue.receive(20).await?.len();
        that((1..=10).contains(&received), || format!("{received} messages in one answer"))?;
        (batches, messages) = (batches + 1, messages + received);
    }
    that(batches >= 2 && messages == 12, || format!("{messages} messages in {batches} answers"))
}

/// ReceiveMessage: "Valid values: 1 to 10" of messages, long polls of 0 to 20 s (Developer Guide), visibility timeouts of
/// 0 to 43,200 s.
pub(super) async fn a_receive_within_limits_only(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    let receive = || subject.client.receive_message().queue_url(&queue.url);
    for (what, request) in [
        ("max 0", receive().max_number_of_messages(0)),
        ("max 11", receive().max_number_of_messages(11)),
        ("wait -1", receive().wait_time_seconds(-1)),
        ("wait 21", receive().wait_time_seconds(21)),
        ("visibility -1", receive().visibility_timeout(-1)),
        ("visibility 43201", receive().visibility_timeout(43_201)),
    ] {
        refused(what, request.send().await, &["InvalidParameterValue"])?;
    }
    Ok(())
}

/// ReceiveMessage, `MessageAttributeNames`: by name, by prefix with `.*`, or `All`.
pub(super) async fn message_attributes_come_only_if_asked_for(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "0")]).await?;
    let value = MessageAttributeValue::builder().data_type("String").string_value("There").build();
    let value = value.map_err(|error| Difference(error.to_string()))?;
    let send = subject.client.send_message().queue_url(&queue.url).message_body("a");
    let sent = send.message_attributes("Hello", value.clone()).message_attributes("other", value).send();
    sent.await?;
    // The digest of one attribute is the one that AWS gives for it.
    let digest = Some("a311262e065454b75da111d535b8dacd");
    for (names, count, digest) in
        [(vec![], 0, None), (vec!["Hello"], 1, digest), (vec!["Hel.*"], 1, digest), (vec!["None"], 0, None)]
    {
        let names = names.into_iter().map(str::to_owned).collect();
        let receive = subject.client.receive_message().queue_url(&queue.url).wait_time_seconds(20);
        let received = receive.set_message_attribute_names(Some(names)).send().await?;
        let message = received.messages().first().ok_or_else(|| Difference("no message".into()))?;
        equal("attributes", message.message_attributes().map_or(0, |found| found.len()), count)?;
        equal("digest", message.md5_of_message_attributes(), digest)?;
    }
    Ok(())
}

/// ReceiveMessage, `MessageSystemAttributeNames`.
pub(super) async fn system_attributes_come_only_if_asked_for(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "0")]).await?;
    queue.send("a").await?;
    let receive = || subject.client.receive_message().queue_url(&queue.url).wait_time_seconds(20);
    let bare = receive().send().await?;
    let bare = bare.messages().first().ok_or_else(|| Difference("no message".into()))?;
    equal("attributes", bare.attributes().map_or(0, |found| found.len()), 0)?;
    let one = receive().message_system_attribute_names(System::SentTimestamp).send().await?;
    let one = one.messages().first().ok_or_else(|| Difference("no message".into()))?;
    equal("attributes", one.attributes().map_or(0, |found| found.len()), 1)?;
    let all = queue.receive_one().await?;
    equal("receive count", system(&all, System::ApproximateReceiveCount), "3")?;
    for name in [System::SenderId, System::SentTimestamp, System::ApproximateFirstReceiveTimestamp] {
        that(!system(&all, name.clone()).is_empty(), || format!("no {name}"))?;
    }
    Ok(())
}

/// SendMessage, `MessageSystemAttributes`: "the only supported message system attribute is AWSTraceHeader".
pub(super) async fn the_trace_header_comes_back(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let header =
        MessageSystemAttributeValue::builder().data_type("String").string_value("Root=1-2-3").build();
    let header = header.map_err(|error| Difference(error.to_string()))?;
    let send = subject.client.send_message().queue_url(&queue.url).message_body("a");
    send.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header).send().await?;
    equal("header", system(&queue.receive_one().await?, System::AwsTraceHeader), "Root=1-2-3")
}

/// SendMessage, `DelaySeconds`: "Messages with a positive DelaySeconds value become available for processing after the
/// delay period is finished."
pub(super) async fn a_delayed_message_comes_after_its_delay(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let started = Instant::now();
    let send = subject.client.send_message().queue_url(&queue.url).message_body("a");
    send.delay_seconds(1).send().await?;
    queue.receive_one().await?;
    comes_after(started, Duration::from_secs(1))
}

/// Developer Guide, delay queues: the queue's delay holds for messages that have none of their own.
pub(super) async fn a_delay_of_the_queue_holds_for_its_messages(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::DelaySeconds, "1")]).await?;
    let started = Instant::now();
    queue.send("late").await?;
    queue.receive_one().await?;
    comes_after(started, Duration::from_secs(1))?;
    let queue = subject.queue(&[(Name::DelaySeconds, "900")]).await?;
    let send = subject.client.send_message().queue_url(&queue.url).message_body("at once");
    send.delay_seconds(0).send().await?;
    queue.receive_one().await.map(drop)
}

/// SendMessage, `DelaySeconds`: "Valid values: 0 to 900."
pub(super) async fn a_delay_has_a_limit(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    for delay in [-1, 901] {
        let send = subject.client.send_message().queue_url(&queue.url).message_body("a");
        let sent = send.delay_seconds(delay).send().await;
        refused(&format!("delay {delay}"), sent, &["InvalidParameterValue"])?;
    }
    Ok(())
}

/// Holds a server to a time that has passed since, and not much more. Checks claim of something that is to come later
/// that it does not come earlier, and never that it is not there yet: a busy machine may take longer to look.
pub(super) fn comes_after(started: Instant, time: Duration) -> Verdict {
    let elapsed = started.elapsed();
    // Far below the twenty seconds of a long poll that nothing wakes, and above what a busy machine takes.
    let late = time + Duration::from_secs(10);
    that(elapsed + SLACK >= time && elapsed < late, || format!("came after {elapsed:?}, not {time:?}"))
}
