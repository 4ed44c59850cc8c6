//! The bodies of answers: whole, or cut off in the middle.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The body of an answer.
pub(super) struct Answer {
    /// What is announced, which is what comes unless the answer is cut.
    length: u64,
    state: State,
}

enum State {
    Whole(Bytes),
    /// To be sent, and then cut.
    Half(Bytes),
    /// The half is with the connection, which gets the time to send it.
    Sent,
    Cut,
    Done,
}

/// Why an answer ends early.
#[derive(Debug, thiserror::Error)]
#[error("cut off on purpose")]
pub(super) struct CutOff;

impl Answer {
    pub(super) fn whole(body: Bytes) -> Self {
        Self { length: body.len() as u64, state: State::Whole(body) }
    }

    /// Announces the whole body and sends one half of it.
    pub(super) fn half(body: Bytes) -> Self {
        Self { length: body.len() as u64, state: State::Half(body.slice(..body.len() / 2)) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            State::Half(bytes) => {
                self.state = State::Sent;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            State::Sent => {
                self.state = State::Cut;
                // Nothing to send for now: the connection flushes what it has before it asks again.
                context.waker().wake_by_ref();
                Poll::Pending
            }
            State::Cut => Poll::Ready(Some(Err(CutOff))),
            State::Done => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
