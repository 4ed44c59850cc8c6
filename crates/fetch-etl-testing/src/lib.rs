//! fetch-etl-testing
