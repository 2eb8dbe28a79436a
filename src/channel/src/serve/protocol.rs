//! HTTP/1.1 or HTTP/2: how to tell, and how each is configured.

use std::io;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::Limits;
use crate::authority_rewrite::PREFACE;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// hyper's smallest read buffer.
const MIN_READ_BUFFER: usize = 8 * 1024;
/// The most header fields of an HTTP/1.1 request.
const MAX_HTTP1_HEADERS: usize = 64;
/// HTTP/2's default frame size: what a peer may send before it has our settings.
const FRAME_BYTES: u32 = 16 * 1024;

/// Reads just as much as tells the protocol; the bytes read are given back.
pub(super) async fn recognise(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<(Protocol, Vec<u8>)> {
    let mut seen = Vec::with_capacity(PREFACE.len());
    loop {
        let missing = PREFACE.len() - seen.len();
        let mut rest = stream.take(u64::try_from(missing).unwrap_or(u64::MAX));
        if rest.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(&seen) {
            return Ok((Protocol::Http1, seen));
        }
        if seen.len() == PREFACE.len() {
            return Ok((Protocol::Http2, seen));
        }
    }
}

pub(super) fn http1(limits: &Limits) -> http1::Builder {
    let header_bytes = usize::try_from(limits.header_list_bytes).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_headers(MAX_HTTP1_HEADERS)
        .max_buf_size(header_bytes.max(MIN_READ_BUFFER));
    builder
}

pub(super) fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(limits.header_list_bytes)
        .max_send_buf_size(limits.send_buffer_bytes)
        .max_pending_accept_reset_streams(limits.pending_reset_streams)
        .max_local_error_reset_streams(limits.error_reset_streams)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .auto_date_header(false);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn recognised(chunks: &[&[u8]]) -> io::Result<(Protocol, Vec<u8>)> {
        let mut stream = tokio_test_stream(chunks);
        recognise(&mut stream).await
    }

    fn tokio_test_stream(chunks: &[&[u8]]) -> impl AsyncRead + Unpin {
        chunks.iter().map(|c| io::Cursor::new(c.to_vec())).fold(
            Box::new(tokio::io::empty()) as Box<dyn AsyncRead + Unpin>,
            |s, c| Box::new(s.chain(c)),
        )
    }

    #[tokio::test]
    async fn prior_knowledge_http2_in_any_pieces() {
        for cut in 0..=PREFACE.len() {
            let (a, b) = PREFACE.split_at(cut);
            let found = recognised(&[a, b, b"rest"]).await.unwrap();
            assert_eq!(found, (Protocol::Http2, PREFACE.to_vec()), "{cut}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_http1_and_a_silent_end_is_an_error() {
        let (protocol, seen) = recognised(&[b"P", b"OST / HTTP/1.1\r\n"]).await.unwrap();
        assert_eq!(protocol, Protocol::Http1);
        assert!(b"POST / HTTP/1.1\r\n".starts_with(&seen[..]));
        assert!(recognised(&[b"PRI * HT"]).await.is_err());
        assert!(recognised(&[]).await.is_err());
    }
}
