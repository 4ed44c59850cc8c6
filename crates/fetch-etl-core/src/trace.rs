//! The trace that a message belongs to, where its sender keeps one.

use std::fmt;

/// The place in a distributed trace at which a message was sent: numbers only, so that no text of a sender gets in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
}

impl TraceParent {
    /// The ids of a trace and of the span in it that sent the message, and whether that trace is recorded. `None` where an id is
    /// 0, which means that there is none.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id, sampled })
    }

    /// The trace's id.
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The sending span's id.
    pub const fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Whether the trace is recorded.
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "TraceParent({trace:032x}-{span:016x})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_nothing_are_none() {
        assert_eq!(TraceParent::new([0; 16], [1; 8], true), None);
        assert_eq!(TraceParent::new([1; 16], [0; 8], true), None);
        let trace = TraceParent::new([1; 16], [2; 8], true).unwrap();
        assert_eq!((trace.trace_id(), trace.span_id(), trace.is_sampled()), ([1; 16], [2; 8], true));
        assert_eq!(format!("{trace:?}"), format!("TraceParent({}-{})", "01".repeat(16), "02".repeat(8)));
    }
}
