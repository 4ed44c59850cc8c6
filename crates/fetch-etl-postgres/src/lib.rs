//! fetch-etl-postgres
