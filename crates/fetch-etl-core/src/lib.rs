//! fetch-etl-core
