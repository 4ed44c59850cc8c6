//! What is unsafe about a queue.

use std::time::Duration;

use fetch_etl_core::pipeline::PARALLEL_EXTENDS;
use fetch_etl_sqs::{DeadLetterQueue, DeadLetterState, Encryption, QueuePosture};

use super::code;
use super::facts::leaves_machine;
use super::finding::{Finding, finding};
use crate::settings::Settings;

/// A deployment kills a worker now and then, and a message should outlast two.
const FEWEST_RECEIVES: u32 = 3;
const MOST_RECEIVES: u32 = 100;
/// A night, and the morning after it.
const SHORTEST_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Below it a call that hangs, which is given up after a quarter of the lease, leaves no time for another.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);
/// What a call of SQS may well take when it is slow.
const SLOW_CALL: Duration = Duration::from_millis(100);
/// Most messages of one call of SQS.
const MESSAGES_A_CALL: usize = 10;
const LONGEST_LEASE: Duration = Duration::from_secs(15 * 60);

/// What is unsafe about the queue itself.
pub(super) fn list(settings: &Settings, queue: &QueuePosture) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(in_clear(queue));
    findings.extend(dead_letters(queue));
    findings.extend(queue.dead_letter.as_ref().and_then(|dead| receive_count(queue, dead)));
    findings.extend(retention(queue));
    findings.extend(lease(settings, queue));
    findings.extend(encryption(queue));
    findings
}

fn in_clear(queue: &QueuePosture) -> Option<Finding> {
    let endpoint =
        queue.endpoint.as_deref().filter(|url| url.starts_with("http://") && leaves_machine(url))?;
    Some(finding(
        &code::QUEUE_IN_CLEAR,
        format!("the queue is reached in clear, at {endpoint}"),
        "use https:// in source.endpoint_url, source.queue_url or AWS_ENDPOINT_URL",
    ))
}

fn dead_letters(queue: &QueuePosture) -> Option<Finding> {
    let Some(dead) = &queue.dead_letter else {
        return Some(finding(
            &code::QUEUE_NO_DEAD_LETTER,
            "the queue has no dead-letter queue",
            set(
                &queue.queue_url,
                r#"'{"RedrivePolicy":"{\"deadLetterTargetArn\":\"ARN\",\"maxReceiveCount\":\"5\"}"}'"#,
            ),
        ));
    };
    let name = &dead.name;
    match dead.state {
        DeadLetterState::Missing => Some(finding(
            &code::QUEUE_DEAD_LETTER_MISSING,
            format!("the dead-letter queue {name} is not there, or these credentials cannot see it"),
            format!("aws sqs create-queue --queue-name {name} --attributes MessageRetentionPeriod=1209600"),
        )),
        DeadLetterState::There(Some(kept)) if queue.retention.is_some_and(|retention| kept <= retention) => {
            Some(finding(
                &code::QUEUE_DEAD_LETTER_RETENTION,
                format!(
                    "the dead-letter queue {name} keeps messages for {}, not longer than the queue itself",
                    time(kept)
                ),
                set(
                    &format!(
                        "\"$(aws sqs get-queue-url --queue-name {name} --query QueueUrl --output text)\""
                    ),
                    "MessageRetentionPeriod=1209600",
                ),
            ))
        }
        _ => None,
    }
}

fn receive_count(queue: &QueuePosture, dead: &DeadLetterQueue) -> Option<Finding> {
    let count = dead.max_receive_count?;
    let code = match count {
        ..FEWEST_RECEIVES => &code::QUEUE_MAX_RECEIVE_COUNT_LOW,
        FEWEST_RECEIVES..=MOST_RECEIVES => return None,
        _ => &code::QUEUE_MAX_RECEIVE_COUNT_HIGH,
    };
    let times = if count == 1 { "time" } else { "times" };
    Some(finding(
        code,
        format!("a message is received {count} {times} (maxReceiveCount) before it goes to {}", dead.name),
        format!(
            "set maxReceiveCount to 5 in the redrive policy: {}",
            set(&queue.queue_url, "file://redrive-policy.json")
        ),
    ))
}

fn retention(queue: &QueuePosture) -> Option<Finding> {
    let kept = queue.retention.filter(|kept| *kept < SHORTEST_RETENTION)?;
    Some(finding(
        &code::QUEUE_RETENTION_SHORT,
        format!("the queue keeps messages for {} only", time(kept)),
        set(&queue.queue_url, "MessageRetentionPeriod=345600"),
    ))
}

fn lease(settings: &Settings, queue: &QueuePosture) -> Option<Finding> {
    let ours = settings.source.visibility_timeout;
    let lease = ours.or(queue.visibility_timeout)?;
    let max_in_flight = settings.pipeline.max_in_flight;
    let shortest = shortest_lease(max_in_flight);
    let hidden = format!("a received message is hidden from others for {}", time(lease));
    let (code, what) = if lease < shortest {
        let needed = time(shortest);
        let what = format!(
            "{hidden} only: {max_in_flight} in hand (pipeline.max_in_flight), while a write takes long, need {needed}"
        );
        (&code::QUEUE_VISIBILITY_SHORT, what)
    } else if lease > LONGEST_LEASE {
        (&code::QUEUE_VISIBILITY_LONG, format!("{hidden} at a time"))
    } else {
        return None;
    };
    let better = shortest.as_secs().max(30);
    let ours_fixed = format!("set source.visibility_timeout_s = {better}");
    let fix = match ours {
        Some(_) => ours_fixed,
        None => {
            let theirs = set(&queue.queue_url, &format!("VisibilityTimeout={better}"));
            format!("{ours_fixed}, or {theirs}")
        }
    };
    Some(finding(code, what, fix))
}

/// A write may take longer than any lease, up to an outage of the database: all that is in hand is renewed meanwhile, from the half of
/// a lease on. Of that half two rounds are to fit in, for the first may fail.
fn shortest_lease(max_in_flight: usize) -> Duration {
    let calls = max_in_flight.div_ceil(MESSAGES_A_CALL).div_ceil(PARALLEL_EXTENDS);
    let round = SLOW_CALL.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX));
    let needed = (round * 4).as_secs_f64().ceil();
    SHORTEST_LEASE.max(Duration::from_secs(needed as u64))
}

fn encryption(queue: &QueuePosture) -> Option<Finding> {
    (queue.encryption == Some(Encryption::Off)).then(|| {
        finding(
            &code::QUEUE_NOT_ENCRYPTED,
            "the queue is not encrypted at rest",
            format!("{}   (or KmsMasterKeyId=KEY)", set(&queue.queue_url, "SqsManagedSseEnabled=true")),
        )
    })
}

fn set(queue_url: &str, attributes: &str) -> String {
    format!("aws sqs set-queue-attributes --queue-url {queue_url} --attributes {attributes}")
}

/// In the largest unit that is whole.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0 => (0, "second"),
        _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, "hour"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_for_two_rounds_of_renewals_of_all_that_is_in_hand() {
        for (max_in_flight, seconds) in [(1, 10), (4_000, 10), (10_000, 26), (100_000, 250)] {
            assert_eq!(shortest_lease(max_in_flight).as_secs(), seconds, "{max_in_flight}");
        }
    }

    #[test]
    fn times_are_said_in_the_largest_whole_unit() {
        for (seconds, words) in
            [(1, "1 second"), (90, "90 seconds"), (120, "2 minutes"), (3_600, "1 hour"), (345_600, "4 days")]
        {
            assert_eq!(time(Duration::from_secs(seconds)), words);
        }
    }
}
