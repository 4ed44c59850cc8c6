//! fetch-etl-local-sqs
