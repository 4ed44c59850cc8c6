//! etl-worker
fn main() {}
