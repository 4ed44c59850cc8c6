#!/usr/bin/env bash
# Sends each line of FILE to the SQS queue of that name, ten at a time.
#
#   send-samples.sh QUEUE FILE
#
# AWS is the command line client, `aws` if not set; where it sends to is up to its own environment.
set -euo pipefail

queue_url=$("${AWS:-aws}" sqs get-queue-url --queue-name "$1" --query QueueUrl --output text)
entries=()

send() {
  local failed
  failed=$(IFS=, && "${AWS:-aws}" sqs send-message-batch --queue-url "$queue_url" --entries "[${entries[*]}]" \
    --query Failed --output json)
  # A batch succeeds as a whole even when messages in it do not.
  if [[ -n $failed && $failed != null && $failed != '[]' ]]; then
    echo "the queue did not take all messages" >&2
    exit 1
  fi
  entries=()
}

count=0
while IFS= read -r body || [[ -n $body ]]; do
  body=${body//\\/\\\\}
  body=${body//\"/\\\"}
  entries+=("{\"Id\":\"m$count\",\"MessageBody\":\"$body\"}")
  count=$((count + 1))
  if ((${#entries[@]} == 10)); then send; fi
done <"$2"
if ((${#entries[@]} > 0)); then send; fi
echo "sent $count messages to $1"
