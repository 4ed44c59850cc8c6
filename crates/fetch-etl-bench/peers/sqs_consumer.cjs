// What one would write for Node with the usual library: sqs-consumer, ten messages a receive, one INSERT for them, deleted after the commit.
//
// A peer of the benchmark, and nothing to be used: masks have no key, and a message that comes twice is stored twice. A process for each
// core, several consumers and as many connections in each. Runs until it is told to stop, or an error ends it. Needs Node 20 and three packages:
//
//     npm install --prefix DIR sqs-consumer @aws-sdk/client-sqs pg
//     cargo xtask bench --only worker.hmac,peer \
//         --peer 'NODE_PATH=DIR/node_modules exec node crates/fetch-etl-bench/peers/sqs_consumer.cjs'

const cluster = require("node:cluster");
const { createHash } = require("node:crypto");
const { availableParallelism } = require("node:os");

// As many as did best on two cores, of 2, 4, 8, 16 and 32.
const CONSUMERS = Number(process.env.PEER_CONSUMERS ?? 32);

const { BENCH_DATABASE_URL, BENCH_ENDPOINT_URL, BENCH_QUEUE_URL, BENCH_TABLE } = process.env;

const INSERT = `INSERT INTO ${BENCH_TABLE}
    (user_id, device_type, masked_ip, masked_device_id, locale, app_version, app_version_text, message_id, create_date)
    SELECT *, CURRENT_DATE FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[], $8::text[])`;

const mask = (value) => createHash("sha512").update(value).digest("hex");

function version(text) {
  const [major, minor = 0, patch = 0] = text.split(".").map(Number);
  return major * 1_000_000 + minor * 1_000 + patch;
}

function row({ Body, MessageId }) {
  const login = JSON.parse(Body);
  const { user_id, device_type, locale, app_version } = login;
  const masks = [mask(login.ip), mask(login.device_id)];
  return [user_id, device_type, ...masks, locale, version(app_version), app_version, MessageId];
}

function work() {
  const { SQSClient } = require("@aws-sdk/client-sqs");
  const { Pool } = require("pg");
  const { Consumer } = require("sqs-consumer");
  const sqs = new SQSClient({ endpoint: BENCH_ENDPOINT_URL });
  const pool = new Pool({ connectionString: BENCH_DATABASE_URL, max: CONSUMERS });
  for (let number = 0; number < CONSUMERS; number += 1) {
    const consumer = Consumer.create({
      queueUrl: BENCH_QUEUE_URL,
      sqs,
      batchSize: 10,
      handleMessageBatch: async (messages) => {
        const rows = messages.map(row);
        const columns = rows[0].map((_, column) => rows.map((values) => values[column]));
        await pool.query({ name: "insert", text: INSERT, values: columns });
        return messages;
      },
    });
    for (const event of ["error", "processing_error"]) {
      consumer.on(event, (error) => {
        console.error(error.message);
        process.exit(1);
      });
    }
    consumer.start();
  }
}

if (cluster.isPrimary) {
  for (let number = 0; number < availableParallelism(); number += 1) cluster.fork();
  cluster.on("exit", (_, code) => process.exit(code ?? 1));
} else {
  work();
}
