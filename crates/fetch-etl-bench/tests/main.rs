//! The benchmark itself, end to end: every step, with hardly anything in it. No figure is looked at but those that are counts.

#[cfg(test)]
mod smoke;
