use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::Verdict;
use super::subject::{Subject, equal, refused, that};

const NO_QUEUE: &[&str] = &["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"];

/// CreateQueue: "If you specify the name of an existing queue and provide the exact same names and values for all its
/// attributes, the CreateQueue action will return the URL of the existing queue instead of creating a new one."
pub(super) async fn creating_a_queue_again_gives_the_same(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::DelaySeconds, "5")]).await?;
    let again = subject.client.create_queue().queue_name(&*queue.name).attributes(Name::DelaySeconds, "5");
    equal("url", again.send().await?.queue_url(), Some(queue.url.as_str()))?;
    let found = subject.client.get_queue_url().queue_name(&*queue.name).send().await?;
    equal("url", found.queue_url(), Some(queue.url.as_str()))
}

/// CreateQueue: "If you attempt to create a queue with a name that already exists but with different attribute names or
/// values, the CreateQueue action will return an error."
pub(super) async fn creating_a_queue_otherwise_is_refused(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::DelaySeconds, "5")]).await?;
    let other = subject.client.create_queue().queue_name(&*queue.name).attributes(Name::DelaySeconds, "6");
    refused("another delay", other.send().await, &["QueueAlreadyExists", "QueueNameExists"])
}

/// CreateQueue, `QueueName`: "A queue name can have up to 80 characters. Valid values: alphanumeric characters, hyphens
/// (-), and underscores (_)."
pub(super) async fn a_queue_has_a_well_formed_name(subject: Subject) -> Verdict {
    for name in ["a b", "a/b", "a.b", "", &"q".repeat(81)] {
        let created = subject.client.create_queue().queue_name(name).send().await;
        refused(name, created, &["InvalidParameterValue", "MissingParameter"])?;
    }
    Ok(())
}

/// CreateQueue, `Attributes`, with the range of each; "InvalidAttributeValue: A queue attribute value is invalid."
pub(super) async fn an_attribute_has_a_range(subject: Subject) -> Verdict {
    for (name, value) in [
        (Name::DelaySeconds, "901"),
        (Name::VisibilityTimeout, "43201"),
        (Name::MessageRetentionPeriod, "59"),
        (Name::ReceiveMessageWaitTimeSeconds, "21"),
        (Name::MaximumMessageSize, "1023"),
    ] {
        let create = subject.client.create_queue().queue_name(subject.new_name());
        let created = create.attributes(name.clone(), value).send().await;
        refused(&format!("{name} {value}"), created, &["InvalidAttributeValue"])?;
    }
    Ok(())
}

/// "InvalidAttributeName: The specified attribute doesn't exist."
pub(super) async fn an_attribute_has_a_known_name(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let asked = subject.client.get_queue_attributes().queue_url(&queue.url);
    let asked = asked.attribute_names(Name::from("NoSuchThing")).send().await;
    refused("read", asked, &["InvalidAttributeName"])?;
    let set = subject.client.set_queue_attributes().queue_url(&queue.url);
    refused("write", set.attributes(Name::from("NoSuchThing"), "1").send().await, &["InvalidAttributeName"])
}

/// CreateQueue, `Attributes`, with the default of each.
pub(super) async fn a_queue_begins_with_the_defaults(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    for (name, value) in [
        (Name::DelaySeconds, "0"),
        (Name::MaximumMessageSize, "1048576"),
        (Name::MessageRetentionPeriod, "345600"),
        (Name::ReceiveMessageWaitTimeSeconds, "0"),
        (Name::VisibilityTimeout, "30"),
    ] {
        equal(name.as_str(), queue.attribute(name.clone()).await?.as_str(), value)?;
    }
    Ok(())
}

/// SetQueueAttributes.
pub(super) async fn new_attributes_hold(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let set = subject.client.set_queue_attributes().queue_url(&queue.url);
    set.attributes(Name::VisibilityTimeout, "0").attributes(Name::MaximumMessageSize, "1024").send().await?;
    equal("timeout", queue.attribute(Name::VisibilityTimeout).await?.as_str(), "0")?;
    let send = subject.client.send_message().queue_url(&queue.url).message_body("x".repeat(1025));
    refused("1025 bytes", send.send().await, &["InvalidParameterValue"])?;
    queue.send(&"x".repeat(1024)).await?;
    queue.receive_one().await?;
    queue.receive_one().await.map(drop)
}

/// GetQueueAttributes, the three `ApproximateNumberOfMessages…`.
pub(super) async fn the_three_numbers_follow_the_messages(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    for body in ["a", "b", "c"] {
        queue.send(body).await?;
    }
    let send = subject.client.send_message().queue_url(&queue.url).message_body("late");
    send.delay_seconds(900).send().await?;
    subject.client.receive_message().queue_url(&queue.url).send().await?;
    for (name, expected) in [
        (Name::ApproximateNumberOfMessages, "2"),
        (Name::ApproximateNumberOfMessagesNotVisible, "1"),
        (Name::ApproximateNumberOfMessagesDelayed, "1"),
    ] {
        equal(name.as_str(), queue.attribute(name.clone()).await?.as_str(), expected)?;
    }
    Ok(())
}

/// PurgeQueue: "Deletes available messages in a queue (including in-flight messages)".
pub(super) async fn a_purge_empties_the_queue(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "1")]).await?;
    for body in ["a", "b"] {
        queue.send(body).await?;
    }
    subject.client.receive_message().queue_url(&queue.url).send().await?;
    subject.client.purge_queue().queue_url(&queue.url).send().await?;
    equal("messages", queue.receive(2).await?.len(), 0)
}

/// ListQueues, `QueueNamePrefix`, `MaxResults`, `NextToken`.
pub(super) async fn queues_are_listed_by_prefix_in_pages(subject: Subject) -> Verdict {
    let mut urls = Vec::new();
    for _ in 0..3 {
        urls.push(subject.queue(&[]).await?.url);
    }
    let list = || subject.client.list_queues().queue_name_prefix("queues_are_listed").max_results(2);
    let first = list().send().await?;
    equal("first page", first.queue_urls().len(), 2)?;
    that(first.next_token().is_some(), || "no token, but there is more".to_owned())?;
    let second = list().set_next_token(first.next_token.clone()).send().await?;
    let mut listed = [first.queue_urls(), second.queue_urls()].concat();
    listed.sort_unstable();
    equal("both pages", listed, urls)?;
    equal("token after the last page", second.next_token(), None)
}

/// "QueueDoesNotExist: Ensure that the QueueUrl is correct and that the queue has not been deleted."
pub(super) async fn a_queue_that_does_not_exist_is_said_so(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let url = queue.url.replace(&*queue.name, "nowhere");
    let client = &subject.client;
    let send = client.send_message().queue_url(&url).message_body("a").send().await;
    refused("send", send, NO_QUEUE)?;
    refused("receive", client.receive_message().queue_url(&url).send().await, NO_QUEUE)?;
    let delete = client.delete_message().queue_url(&url).receipt_handle("r").send().await;
    refused("delete", delete, NO_QUEUE)?;
    refused("purge", client.purge_queue().queue_url(&url).send().await, NO_QUEUE)?;
    refused("find", client.get_queue_url().queue_name("nowhere").send().await, NO_QUEUE)
}

/// DeleteQueue.
pub(super) async fn a_deleted_queue_does_not_exist(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    subject.client.delete_queue().queue_url(&queue.url).send().await?;
    refused("receive", subject.client.receive_message().queue_url(&queue.url).send().await, NO_QUEUE)
}
