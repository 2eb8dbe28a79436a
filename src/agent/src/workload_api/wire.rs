//! gRPC over HTTP/2, as much of it as a Workload API server needs, by hand.
//!
//! An answer here is the same bytes for every stream of one caller, so it is
//! encoded and framed once and then only reference-counted: tonic's codec would
//! copy it for each stream into a buffer of its own, and keep that buffer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tonic::{Code, Status};

use super::admission::Admitted;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const OK: HeaderValue = HeaderValue::from_static("0");
const PREFIX_BYTES: usize = 5;
/// How long a caller may take to send the few bytes of its request.
pub(crate) const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// A message with its gRPC length prefix: ready to be sent, as often as needed.
pub(crate) fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    // Beyond 4 GiB no message can exist: the limits on entries are far below.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows: there is always room.
    let _encoded = message.encode(&mut frame);
    frame.freeze()
}

/// What a streaming answer yields: framed messages, then perhaps a status that ends it.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// What a stream pushes, one message after the other.
pub(crate) trait Push: Send + 'static {
    /// Waits for the next message, or for the status that ends the stream.
    fn next(&mut self) -> impl Future<Output = Result<Bytes, Status>> + Send;
}

/// The messages of a stream, until it ends.
pub(crate) fn messages(stream: impl Push) -> Messages {
    Box::pin(futures_util::stream::unfold(Some(stream), |stream| async {
        let mut stream = stream?;
        let next = stream.next().await;
        let rest = next.is_ok().then_some(stream);
        Some((next, rest))
    }))
}

/// The body of an answer.
pub(crate) enum Answer {
    /// Nothing: the status is in the headers.
    Empty,
    /// One message, then OK.
    One(Option<Bytes>),
    /// Messages as they come, then OK or the status that ended them.
    Many(Messages),
    /// One message, then the rest as it comes: saves the first answer of a
    /// stream a poll of the stream behind it.
    Begun(Option<Bytes>, Messages),
    /// Bytes that are no gRPC, whole.
    Whole {
        bytes: Option<Bytes>,
        /// Counts as open until the answer was taken.
        _admitted: Option<Admitted>,
    },
    /// The last frame was sent.
    Done,
    /// Another service's answer (reflection).
    Other {
        body: tonic::body::Body,
        /// Counts as open until the answer ends.
        _admitted: Admitted,
    },
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let last = match &mut *self {
            Self::Empty | Self::Done => return Poll::Ready(None),
            Self::Other { body, .. } => return Pin::new(body).poll_frame(context),
            Self::Whole { bytes, .. } => {
                let frame = bytes.take().map(|bytes| Ok(Frame::data(bytes)));
                return Poll::Ready(frame);
            }
            Self::One(message @ Some(_)) | Self::Begun(message @ Some(_), _) => {
                let frame = message.take().map(|m| Ok(Frame::data(m)));
                return Poll::Ready(frame);
            }
            Self::One(None) => Frame::trailers(ok_trailers()),
            Self::Many(messages) | Self::Begun(None, messages) => {
                match messages.as_mut().poll_next(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(message))) => {
                        return Poll::Ready(Some(Ok(Frame::data(message))));
                    }
                    Poll::Ready(Some(Err(status))) => Frame::trailers(status_trailers(&status)),
                    Poll::Ready(None) => Frame::trailers(ok_trailers()),
                }
            }
        };
        *self = Self::Done;
        Poll::Ready(Some(Ok(last)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Done | Self::Whole { bytes: None, .. } => true,
            Self::Other { body, .. } => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes: None, .. } => SizeHint::with_exact(0),
            Self::Whole {
                bytes: Some(bytes), ..
            } => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            _ => SizeHint::default(),
        }
    }
}

/// An answer that begins well.
pub(crate) fn respond(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// A refusal: the status alone, in the headers.
pub(crate) fn refuse(status: &Status) -> Response<Answer> {
    let mut response = Response::new(Answer::Empty);
    *response.headers_mut() = status_trailers(status);
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// Whether a content type is gRPC's.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    // Not `application/grpc-web`, which browsers speak.
    rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]))
}

/// Reads the one message of a request, of at most `limit` bytes.
pub(crate) async fn read_message<B>(body: B, limit: u32) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    tokio::time::timeout(REQUEST_PATIENCE, collect(body, limit))
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("the request did not arrive")))
}

async fn collect<B>(mut body: B, limit: u32) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut gathered = Bytes::new();
    loop {
        if let Some(message) = complete(&gathered, limit)? {
            return Ok(message);
        }
        let Some(frame) = body.frame().await else {
            return Err(Status::invalid_argument("the request has no whole message"));
        };
        let Ok(frame) = frame else {
            return Err(Status::cancelled("the request broke off"));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if gathered.is_empty() {
            gathered = data;
        } else {
            // Bounded: `complete` refuses a length beyond the limit, and no more
            // than one frame is added to a message that is not yet whole.
            gathered = [gathered, data].concat().into();
        }
    }
}

/// The message, when all of it is there.
fn complete(gathered: &Bytes, limit: u32) -> Result<Option<Bytes>, Status> {
    let Some((&[compressed, a, b, c, d], rest)) = gathered.split_first_chunk::<PREFIX_BYTES>()
    else {
        return Ok(None);
    };
    if compressed != 0 {
        return Err(Status::unimplemented(
            "compressed messages are not accepted",
        ));
    }
    let length = u32::from_be_bytes([a, b, c, d]);
    if length > limit {
        return Err(Status::resource_exhausted(format!(
            "the request has {length} bytes; at most {limit} are accepted"
        )));
    }
    let end = PREFIX_BYTES.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    if rest.len() + PREFIX_BYTES < end {
        return Ok(None);
    }
    Ok(Some(gathered.slice(PREFIX_BYTES..end)))
}

fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, OK);
    trailers
}

fn status_trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    if status.add_header(&mut trailers).is_err() {
        let unknown = HeaderValue::from(Code::Unknown as i32);
        trailers.insert(Status::GRPC_STATUS, unknown);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Full, StreamBody};

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn read(bytes: &'static [u8], limit: u32) -> Result<Bytes, Status> {
        block_on(read_message(Full::new(Bytes::from_static(bytes)), limit))
    }

    #[test]
    fn one_whole_message_is_read_and_nothing_else() {
        assert_eq!(read(b"\0\0\0\0\0", 9).unwrap(), "");
        assert_eq!(read(b"\0\0\0\0\x02hi", 9).unwrap(), "hi");
        for (bytes, code) in [
            (b"".as_slice(), Code::InvalidArgument),
            (b"\0\0\0\0\x03hi", Code::InvalidArgument),
            (b"\x01\0\0\0\x02hi", Code::Unimplemented),
            (b"\0\xff\xff\xff\xffhi", Code::ResourceExhausted),
        ] {
            assert_eq!(read(bytes, 9).unwrap_err().code(), code);
        }
    }

    #[test]
    fn a_message_may_come_byte_by_byte() {
        let frames = b"\0\0\0\0\x02hi"
            .iter()
            .map(|b| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(&[*b]))));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        assert_eq!(block_on(read_message(body, 9)).unwrap(), "hi");
    }

    #[test]
    fn an_answer_ends_in_its_status() {
        let one = frame(&api::workload::X509svidRequest {});
        let collected = block_on(Answer::One(Some(one.clone())).collect()).unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(collected.to_bytes(), one);
        let lost = Err(Status::permission_denied("no identity issued"));
        let stream = Box::pin(futures_util::stream::iter([Ok(one.clone()), lost]));
        let collected = block_on(Answer::Begun(Some(one), stream).collect()).unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "7");
        assert_eq!(collected.to_bytes().len(), 10);
    }
}
