# /// script
# requires-python = ">=3.9"
# dependencies = ["boto3", "psycopg2-binary"]
# ///
"""The way of the first version, written again: one message a receive, one new connection and one INSERT a row, one delete a message.

A peer of the benchmark, and nothing to be used: no batches, no keyed masks, and a message that comes twice is stored twice. Runs until
it is told to stop, or an error ends it. Needs what is named above, in a virtual environment (`pip install boto3 psycopg2-binary`), or
`uv run --script`:

    cargo xtask bench --only worker.hmac,peer --peer 'exec VENV/bin/python crates/fetch-etl-bench/peers/one_at_a_time.py'
"""

import hashlib
import json
import os

import boto3
import psycopg2

INSERT = (
    f"INSERT INTO {os.environ['BENCH_TABLE']} "
    "(user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date) "
    "VALUES (%s, %s, %s, %s, %s, %s, CURRENT_DATE)"
)


def mask(value):
    return hashlib.sha512(value.encode()).hexdigest()


def version(text):
    major, minor, patch = ([int(part) for part in text.split(".")] + [0, 0])[:3]
    return major * 1_000_000 + minor * 1_000 + patch


def store(login):
    connection = psycopg2.connect(os.environ["BENCH_DATABASE_URL"])
    with connection, connection.cursor() as cursor:  # commits
        masks = mask(login["ip"]), mask(login["device_id"])
        rest = login["locale"], version(login["app_version"])
        cursor.execute(INSERT, (login["user_id"], login["device_type"], *masks, *rest))
    connection.close()


def main():
    queue = os.environ["BENCH_QUEUE_URL"]
    sqs = boto3.client("sqs", endpoint_url=os.environ["BENCH_ENDPOINT_URL"])
    while True:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            store(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main()
