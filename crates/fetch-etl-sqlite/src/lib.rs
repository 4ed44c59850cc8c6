//! fetch-etl-sqlite
