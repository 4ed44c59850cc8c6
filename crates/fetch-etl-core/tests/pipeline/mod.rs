//! The pipeline on parts in memory, on a paused clock: hours pass in milliseconds, and every run is the same.

mod bad_times;
mod broken_sources;
mod conservation;
mod main_path;
mod numbers;
mod support;
