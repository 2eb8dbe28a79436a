//! The caller's messages, one after the other, within bounds.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message;
use tonic::Status;

use crate::workload_api::REQUEST_PATIENCE;

const PREFIX_BYTES: usize = 5;
/// Envoy's first message carries all it says of itself: about 61 KB by default,
/// more with metadata.
const MOST_BYTES: usize = 512 * 1024;

/// The messages of a call, as they come.
pub(super) struct Requests {
    body: Incoming,
    gathered: BytesMut,
}

impl Requests {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            gathered: BytesMut::new(),
        }
    }

    /// The next message; `None` when the caller will send no more. May be
    /// dropped while it waits and called again.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = split(&mut self.gathered)? {
                let message = M::decode(message).map_err(|error| {
                    Status::invalid_argument(format!("the request cannot be read: {error}"))
                })?;
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let Ok(frame) = frame else {
                return Err(Status::cancelled("the request broke off"));
            };
            if let Ok(data) = frame.into_data() {
                // Bounded: `split` refuses a length beyond the limit, and no more
                // than one frame is added to a message that is not yet whole.
                self.gathered.extend_from_slice(&data);
            }
        }
    }

    /// The one message of a call that has one.
    pub(super) async fn only<M: Message + Default>(mut self) -> Result<M, Status> {
        let first = tokio::time::timeout(REQUEST_PATIENCE, self.next())
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the request did not arrive")))?;
        first.ok_or_else(|| Status::invalid_argument("the request has no whole message"))
    }
}

/// Takes a whole message from the front.
fn split(gathered: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some((&[compressed, a, b, c, d], rest)) = gathered.split_first_chunk::<PREFIX_BYTES>()
    else {
        return Ok(None);
    };
    if compressed != 0 {
        return Err(Status::unimplemented(
            "compressed messages are not accepted",
        ));
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        return Err(Status::resource_exhausted(format!(
            "the request has {length} bytes; at most {MOST_BYTES} are accepted"
        )));
    }
    if rest.len() < length {
        return Ok(None);
    }
    gathered.advance(PREFIX_BYTES);
    let message = gathered.split_to(length).freeze();
    if gathered.is_empty() {
        // An idle stream keeps no buffer.
        *gathered = BytesMut::new();
    }
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn messages_are_taken_one_by_one_and_within_bounds() {
        let mut gathered = BytesMut::from(&b"\0\0\0\0\x02hi\0\0\0\0\0\0\0\0\0\x03yo"[..]);
        assert_eq!(split(&mut gathered).unwrap().unwrap(), "hi");
        assert_eq!(split(&mut gathered).unwrap().unwrap(), "");
        assert!(split(&mut gathered).unwrap().is_none());
        gathered.extend_from_slice(b"u");
        assert_eq!(split(&mut gathered).unwrap().unwrap(), "you");
        for (bytes, code) in [
            (&b"\x01\0\0\0\0"[..], Code::Unimplemented),
            (b"\0\xff\xff\xff\xff", Code::ResourceExhausted),
        ] {
            let refused = split(&mut BytesMut::from(bytes)).unwrap_err();
            assert_eq!(refused.code(), code);
        }
    }
}
