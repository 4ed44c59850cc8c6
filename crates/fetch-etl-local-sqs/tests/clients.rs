//! Clients that may or may not be on the machine. A test whose client is missing says so on stderr and passes.

use std::io::{self, Write};
use std::process::{Output, Stdio};

use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{PATIENCE, start};

/// Credentials are not looked at, but clients do not go without.
fn with_credentials(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Option<Output> {
    timeout(PATIENCE, command.output()).await.unwrap().ok()
}

async fn is_there(program: &str, arguments: &[&str]) -> bool {
    let mut command = with_credentials(program);
    command.args(arguments);
    let there = run(command).await.is_some_and(|output| output.status.success());
    if !there {
        // Not through `eprintln!`, which the test harness swallows.
        let mut stderr = io::stderr().lock();
        writeln!(stderr, "NOT RUN: `{program} {}` does not work on this machine", arguments.join(" "))
            .unwrap();
    }
    there
}

/// Everything that boto3 parses by itself: shapes, digests, exceptions and their codes.
const BOTO3: &str = r#"
import sys, boto3
from botocore.config import Config
from botocore.exceptions import ClientError

sqs = boto3.client("sqs", endpoint_url=sys.argv[1], config=Config(retries={"total_max_attempts": 1}))
ex = sqs.exceptions

def refused(kind, code, call, **arguments):
    try:
        call(**arguments)
    except kind as error:
        assert error.response["Error"]["Code"] == code, error.response
        return
    raise AssertionError(f"{call} was not refused")

dead = sqs.create_queue(QueueName="py-dead")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
policy = '{"deadLetterTargetArn": "%s", "maxReceiveCount": "1"}' % arn
q = sqs.create_queue(QueueName="py", Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy})["QueueUrl"]
assert sqs.get_queue_url(QueueName="py")["QueueUrl"] == q
assert q in sqs.list_queues(QueueNamePrefix="py")["QueueUrls"]
assert "Messages" not in sqs.receive_message(QueueUrl=q)

# botocore checks the digests of what it sends and of what it receives.
attributes = {"n": {"DataType": "Number", "StringValue": "7"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
sent = sqs.send_message(QueueUrl=q, MessageBody="käse \U0001F9C0", MessageAttributes=attributes)
message = sqs.receive_message(QueueUrl=q, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"][0]
assert message["Body"] == "käse \U0001F9C0" and message["MessageId"] == sent["MessageId"]
assert message["MessageAttributes"] == attributes
assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
assert message["Attributes"]["ApproximateReceiveCount"] == "1"
assert "Messages" not in sqs.receive_message(QueueUrl=q), "it went to the dead-letter queue"
moved = sqs.receive_message(QueueUrl=dead, MessageSystemAttributeNames=["All"])["Messages"][0]
assert moved["MessageId"] == sent["MessageId"]
assert moved["Attributes"]["SentTimestamp"] == message["Attributes"]["SentTimestamp"]
sqs.change_message_visibility(QueueUrl=dead, ReceiptHandle=moved["ReceiptHandle"], VisibilityTimeout=60)
sqs.delete_message(QueueUrl=dead, ReceiptHandle=moved["ReceiptHandle"])
assert sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"

answer = sqs.send_message_batch(QueueUrl=q, Entries=[{"Id": str(i), "MessageBody": "\x00" if i == 3 else str(i)} for i in range(10)])
assert len(answer["Successful"]) == 9 and [f["Id"] for f in answer["Failed"]] == ["3"]
assert answer["Failed"][0]["SenderFault"] is True

refused(ex.QueueDoesNotExist, "AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="nope")
refused(ex.QueueNameExists, "QueueAlreadyExists", sqs.create_queue, QueueName="py", Attributes={"DelaySeconds": "9"})
refused(ex.InvalidAttributeName, "InvalidAttributeName", sqs.set_queue_attributes, QueueUrl=q, Attributes={"FifoQueue": "true"})
refused(ex.InvalidMessageContents, "InvalidMessageContents", sqs.send_message, QueueUrl=q, MessageBody="\x01")
refused(ex.ReceiptHandleIsInvalid, "ReceiptHandleIsInvalid", sqs.delete_message, QueueUrl=q, ReceiptHandle="x")
refused(ex.MessageNotInflight, "AWS.SimpleQueueService.MessageNotInflight", sqs.change_message_visibility, QueueUrl=q,
        ReceiptHandle=sqs.receive_message(QueueUrl=q)["Messages"][0]["ReceiptHandle"], VisibilityTimeout=5)
refused(ClientError, "InvalidParameterValue", sqs.receive_message, QueueUrl=q, WaitTimeSeconds=21)
refused(ClientError, "InvalidParameterValue", sqs.receive_message, QueueUrl=q, MaxNumberOfMessages=11)
refused(ex.EmptyBatchRequest, "AWS.SimpleQueueService.EmptyBatchRequest", sqs.delete_message_batch, QueueUrl=q, Entries=[])

sqs.purge_queue(QueueUrl=q)
sqs.delete_queue(QueueUrl=q)
print("boto3 is content")
"#;

#[tokio::test]
async fn boto3_is_content() {
    if !is_there("python3", &["-c", "import boto3"]).await {
        return;
    }
    let setup = start().await;
    let mut python = with_credentials("python3");
    python.args(["-c", BOTO3, &setup.server.url()]);
    let output = run(python).await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.trim() == "boto3 is content", "{stdout}{stderr}");
}

#[tokio::test]
async fn the_aws_cli_sends_receives_deletes_and_shows_errors() {
    if !is_there("aws", &["--version"]).await {
        return;
    }
    let setup = start().await;
    let endpoint = setup.server.url();
    let aws = async |arguments: &[&str]| {
        let mut command = with_credentials("aws");
        command.args(["--endpoint-url", &endpoint, "--output", "text", "sqs"]).args(arguments);
        let output = run(command).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let queue = ["--queue-url", &setup.url];
    let (sent, ..) = aws(&[&["send-message", "--message-body", "hello"][..], &queue].concat()).await;
    assert!(sent);
    let receive =
        ["receive-message", "--wait-time-seconds", "1", "--query", "Messages[0].[Body,ReceiptHandle]"];
    let (_, received, _) = aws(&[&receive[..], &queue].concat()).await;
    let (body, receipt) = received.split_once('\t').unwrap();
    assert_eq!(body, "hello");
    let (deleted, ..) = aws(&[&["delete-message", "--receipt-handle", receipt][..], &queue].concat()).await;
    assert!(deleted);
    assert_eq!(setup.queue.stats().messages(), 0);
    let (found, _, said) = aws(&["get-queue-url", "--queue-name", "nope"]).await;
    assert!(!found && said.contains("AWS.SimpleQueueService.NonExistentQueue"), "{said}");
}
