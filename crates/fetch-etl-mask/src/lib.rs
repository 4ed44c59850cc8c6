//! fetch-etl-mask
