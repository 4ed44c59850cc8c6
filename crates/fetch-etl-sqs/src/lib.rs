//! fetch-etl-sqs
