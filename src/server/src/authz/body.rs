//! A request's body, held to what its class may cost: the size of each message and
//! the time in which it must come. What is declared is charged before anything is
//! buffered for it, for the decoder makes room for as much as a message says it has.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;

use super::accounts::Member;
use super::cost::{Cost, Deadline};
use crate::failure::Kind;

/// gRPC's prefix of a message: a flag, and the length in four bytes.
const PREFIX_BYTES: usize = 5;

/// A body whose bytes are counted.
pub(crate) struct CountedBody<B> {
    inner: B,
    cost: Cost,
    member: Arc<Member>,
    timer: Option<Pin<Box<Sleep>>>,
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that are here.
    have: usize,
    /// Bytes of the message that are to come.
    left: usize,
}

impl<B> CountedBody<B> {
    pub(super) fn new(inner: B, cost: Cost, member: Arc<Member>) -> Self {
        let timer = match cost.deadline {
            Deadline::Body(within) | Deadline::Next(within) => Some(timer(within)),
            Deadline::Message(_) => None,
        };
        Self {
            inner,
            cost,
            member,
            timer,
            prefix: [0; PREFIX_BYTES],
            have: 0,
            left: 0,
        }
    }

    /// Counts bytes that came; refuses a message as soon as its length is known.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                if self.left == 0 {
                    self.message_ended();
                }
                continue;
            }
            if self.have == 0 {
                self.message_began();
            }
            let missing = PREFIX_BYTES - self.have;
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            if let Some(room) = self.prefix.get_mut(self.have..self.have + taken.len()) {
                room.copy_from_slice(taken);
            }
            self.have += taken.len();
            bytes = rest;
            if self.have == PREFIX_BYTES {
                self.have = 0;
                let [_, a, b, c, d] = self.prefix;
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d]));
                self.message(length.unwrap_or(usize::MAX))?;
            }
        }
        Ok(())
    }

    fn message(&mut self, length: usize) -> Result<(), Status> {
        let most = self.cost.message_bytes;
        if length > most {
            let why = format!("the request has {length} bytes; this method takes {most} at most");
            return Err(Kind::Exhausted.status(why));
        }
        self.member.hold(length)?;
        self.left = length;
        if length == 0 {
            self.message_ended();
        }
        Ok(())
    }

    fn message_began(&mut self) {
        if let Deadline::Message(within) = self.cost.deadline {
            self.timer = Some(timer(within));
        }
    }

    fn message_ended(&mut self) {
        match self.cost.deadline {
            Deadline::Body(_) => {}
            // The next one's time begins when it is waited for, not while the server
            // works on this one.
            Deadline::Message(_) | Deadline::Next(_) => self.timer = None,
        }
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if let (None, Deadline::Next(within)) = (&self.timer, self.cost.deadline) {
            self.timer = Some(timer(within));
        }
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(context));
        let (Deadline::Body(within) | Deadline::Message(within) | Deadline::Next(within)) =
            self.cost.deadline;
        let why = format!("the request did not arrive within {within:?}");
        Poll::Ready(Status::deadline_exceeded(why))
    }
}

fn timer(within: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(within))
}

impl<B> Body for CountedBody<B>
where
    B: Body<Data = bytes::Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = self.get_mut();
        // First: a body that always has a byte to give is late as well.
        if let Poll::Ready(late) = this.poll_late(context) {
            return Poll::Ready(Some(Err(late)));
        }
        let Some(frame) = ready!(Pin::new(&mut this.inner).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        if let Some(bytes) = frame.data_ref() {
            this.take(bytes)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body that keeps something until it has ended.
pub(super) struct KeepingBody<B, K> {
    inner: B,
    _kept: K,
}

impl<B, K> KeepingBody<B, K> {
    pub(super) const fn new(inner: B, kept: K) -> Self {
        Self { inner, _kept: kept }
    }
}

impl<B: Body + Unpin, K: Unpin> Body for KeepingBody<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
