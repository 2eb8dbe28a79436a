//! Bounds the HTTP/2 frames that cost the server work and the client nothing: PING,
//! SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, unknown ones, and empty DATA and
//! CONTINUATION frames (CVE-2019-9511 to 9518 and their like).
//!
//! A connection has a budget of such frames, which grows with time, with the calls
//! it makes and with what it is sent: clients that measure their bandwidth send a
//! PING for each answer. When it is spent, the connection ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::Limits;
use crate::authority_rewrite::PREFACE;

const HEADER_BYTES: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
/// What a call adds to the budget.
const FRAMES_PER_CALL: u64 = 8;
/// One frame for so many bytes that the server sends. More than an answer to a PING
/// or to SETTINGS has, so that a flood does not pay for itself.
const SENT_BYTES_PER_FRAME: u64 = 64;

/// The frames of one connection, as they come in. Pure: the time is an argument.
#[derive(Debug)]
struct Budget {
    left: u64,
    burst: u64,
    per_second: u64,
    refilled: Instant,
    /// Bytes sent that do not make up a frame yet.
    sent: u64,
    /// Bytes to skip: the preface, then each payload.
    skip: usize,
    header: [u8; HEADER_BYTES],
    have: usize,
}

impl Budget {
    fn new(limits: &Limits, now: Instant) -> Self {
        let burst = u64::from(limits.control_frames_burst);
        Self {
            left: burst,
            burst,
            per_second: u64::from(limits.control_frames_per_second),
            refilled: now,
            sent: 0,
            skip: PREFACE.len(),
            header: [0; HEADER_BYTES],
            have: 0,
        }
    }

    /// Takes in bytes of the client; false when the budget is spent.
    fn receive(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let missing = HEADER_BYTES - self.have;
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            if let Some(room) = self.header.get_mut(self.have..self.have + taken.len()) {
                room.copy_from_slice(taken);
            }
            self.have += taken.len();
            bytes = rest;
            if self.have == HEADER_BYTES && !self.frame(&now) {
                return false;
            }
        }
        true
    }

    /// Counts the frame whose header is complete.
    fn frame(&mut self, now: &impl Fn() -> Instant) -> bool {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skip = usize::try_from(length).unwrap_or(usize::MAX);
        self.have = 0;
        match kind {
            HEADERS => {
                self.add(FRAMES_PER_CALL);
                true
            }
            DATA if length > 0 || flags & END_STREAM != 0 => true,
            CONTINUATION if length > 0 => true,
            _ => self.spend(now),
        }
    }

    fn spend(&mut self, now: &impl Fn() -> Instant) -> bool {
        if self.left == 0 {
            let now = now();
            let elapsed = now.saturating_duration_since(self.refilled);
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let frames = millis.saturating_mul(self.per_second) / 1_000;
            if frames > 0 {
                self.refilled = now;
                self.add(frames);
            }
        }
        let spent = self.left.checked_sub(1);
        self.left = spent.unwrap_or_default();
        spent.is_some()
    }

    fn send(&mut self, bytes: usize) {
        self.sent = self
            .sent
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.add(self.sent / SENT_BYTES_PER_FRAME);
        self.sent %= SENT_BYTES_PER_FRAME;
    }

    fn add(&mut self, frames: u64) {
        self.left = self.left.saturating_add(frames).min(self.burst);
    }
}

/// A client's HTTP/2 stream whose control frames are counted.
#[derive(Debug)]
pub(super) struct ControlFrames<T> {
    inner: T,
    budget: Budget,
    floods: Arc<AtomicU64>,
}

impl<T> ControlFrames<T> {
    pub(super) fn new(inner: T, limits: &Limits, floods: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            budget: Budget::new(limits, Instant::now()),
            floods,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ControlFrames<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if this.budget.receive(read, Instant::now) {
            return Poll::Ready(Ok(()));
        }
        this.floods.fetch_add(1, Ordering::Relaxed);
        tracing::debug!("a connection sent too many control frames");
        Poll::Ready(Err(io::Error::other("too many control frames")))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ControlFrames<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.budget.send(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, bufs))?;
        this.budget.send(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const CALL: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];
    const EMPTY_DATA: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 1];

    fn budget(now: Instant) -> Budget {
        let limits = Limits {
            control_frames_burst: 10,
            control_frames_per_second: 5,
            ..Limits::server()
        };
        let mut budget = Budget::new(&limits, now);
        assert!(budget.receive(PREFACE, || now));
        budget
    }

    #[test]
    fn a_flood_spends_the_budget_in_whatever_pieces_it_comes() {
        for frame in [PING, EMPTY_DATA] {
            let flood = frame.repeat(11);
            for cut in 1..flood.len() {
                let now = Instant::now();
                let mut budget = budget(now);
                let (a, b) = flood.split_at(cut);
                assert!(!(budget.receive(a, || now) && budget.receive(b, || now)));
            }
            let now = Instant::now();
            assert!(budget(now).receive(&frame.repeat(10), || now));
        }
    }

    #[test]
    fn time_calls_and_answers_fill_it_again() {
        let now = Instant::now();
        let mut budget = budget(now);
        assert!(budget.receive(&PING.repeat(10), || now));
        let later = now + Duration::from_secs(1);
        assert!(budget.receive(&PING.repeat(5), || later));
        for _ in 0..100 {
            assert!(budget.receive(CALL, || later));
            assert!(budget.receive(&PING.repeat(8), || later));
        }
        budget.send(64 * 3);
        assert!(budget.receive(&PING.repeat(3), || later));
        assert!(!budget.receive(PING, || later));
    }
}
