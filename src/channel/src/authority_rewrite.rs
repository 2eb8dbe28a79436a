//! Lets gRPC clients that send a socket's path as `:authority` talk to hyper.
//!
//! On a Unix socket, grpc-java sends the path itself (`/tmp/a.sock`) and gRPC's C
//! core (Python, Ruby, PHP, C++) percent-encodes it (`tmp%2Fa.sock`). Neither is
//! an authority by RFC 3986, and h2 resets such requests before any handler runs;
//! it has no setting for that (hyperium/h2 issue 442, pull request 487).
//!
//! This adapter sits between the accepted stream and hyper. It finds the header
//! blocks in what the client sends and overwrites such values in place by a host
//! name of the same length, coded and decoded, so no frame, no table entry and no
//! later reference changes. When the first block's authority is acceptable, or
//! the client speaks HTTP/1.1, it steps aside for the rest of the connection.
//!
//! What it does not understand it passes on as it is: the server behind it checks
//! everything anyway, and its answer is the one the client should get. Delete this
//! module when h2 accepts these values.

mod frames;
mod header_block;
mod huffman;
mod name_table;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use frames::PREFACE;
use frames::Rewriter;

/// Bytes read from the client at a time while its header blocks are looked at.
const READ_BYTES: usize = 2048;

/// A client's stream, as the HTTP server should see it.
#[derive(Debug)]
pub struct AuthorityRewrite<T> {
    inner: T,
    /// `None` once the rest goes through untouched.
    rewriter: Option<Box<Rewriter>>,
}

impl<T> AuthorityRewrite<T> {
    /// Wraps `inner`, from which `prefix` was already read.
    pub fn new(inner: T, prefix: Vec<u8>) -> Self {
        Self {
            inner,
            rewriter: Some(Box::new(Rewriter::new(prefix))),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for AuthorityRewrite<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while let Some(rewriter) = &mut this.rewriter {
            if rewriter.is_spent() {
                this.rewriter = None;
                break;
            }
            let ready = rewriter.ready();
            if !ready.is_empty() {
                let count = ready.len().min(buf.remaining());
                buf.put_slice(ready.get(..count).unwrap_or_default());
                rewriter.consume(count);
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; READ_BYTES];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                rewriter.give_up(); // the end, perhaps in the middle of a frame
            } else {
                rewriter.push(chunk.filled());
            }
        }
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for AuthorityRewrite<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
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
