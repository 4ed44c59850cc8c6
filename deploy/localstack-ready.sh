#!/usr/bin/env bash
# Run by LocalStack when it is ready: the queue of the first version, its dead-letter queue, the sample messages.
set -euo pipefail

awslocal sqs create-queue --queue-name login-queue-dead-letters >/dev/null
awslocal sqs create-queue --queue-name login-queue --attributes '{
  "VisibilityTimeout": "30",
  "RedrivePolicy": "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:login-queue-dead-letters\",\"maxReceiveCount\":\"3\"}"
}' >/dev/null
AWS=awslocal bash /opt/samples/send-samples.sh login-queue /opt/samples/logins.jsonl
