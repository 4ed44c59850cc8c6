//! fetch-etl-testing
#[cfg(feature = "postgres")]
pub mod postgres;
