//! An HTTP/2 client that writes its own frames, so that it can be as odd as a
//! foreign client or as rude as an attacker.

use httlib_hpack::{Decoder, Encoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Body(String),
    Status(String),
    Reset(u32),
}

pub(crate) struct Client {
    stream: UnixStream,
    encoder: Encoder<'static>,
    decoder: Decoder<'static>,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

pub(crate) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[0; 8])
}

pub(crate) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub(crate) fn empty_data(stream: u32) -> Vec<u8> {
    frame(DATA, 0, stream, &[])
}

impl Client {
    pub(crate) async fn start(stream: UnixStream) -> Self {
        let mut client = Self {
            stream,
            encoder: Encoder::with_dynamic_size(4096),
            decoder: Decoder::with_dynamic_size(4096),
        };
        client.send(PREFACE).await;
        client.send(&frame(SETTINGS, 0, 0, &[])).await;
        client
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends `frames` up to so many times, reading along; the server must have closed
    /// the connection before that.
    pub(crate) async fn flood_until_closed(self, frames: &[u8], times: usize) {
        let (mut reading, mut writing) = self.stream.into_split();
        let read = tokio::spawn(async move {
            let _end = tokio::io::copy(&mut reading, &mut tokio::io::sink()).await;
        });
        for _ in 0..times {
            if writing.write_all(frames).await.is_err() {
                return;
            }
        }
        assert!(read.is_finished(), "the flood was let through");
    }

    /// Waits for the server's settings and acknowledges them.
    pub(crate) async fn settle(&mut self) {
        while self.read().await.expect("settings").kind != SETTINGS {}
        self.send(&frame(SETTINGS, ACK, 0, &[])).await;
    }

    fn block(&mut self, authority: &str, path: &str, huffman: bool) -> Vec<u8> {
        let flags = Encoder::WITH_INDEXING
            | Encoder::BEST_FORMAT
            | if huffman { Encoder::HUFFMAN_VALUE } else { 0 };
        let mut block = Vec::new();
        for (name, value, flags) in [
            (":method", "POST", flags),
            (":scheme", "http", flags),
            // Too long a path must not empty the table.
            (":path", path, flags & !Encoder::WITH_INDEXING),
            (":authority", authority, flags),
        ] {
            let field = (name.as_bytes().to_vec(), value.as_bytes().to_vec(), flags);
            self.encoder.encode(field, &mut block).unwrap();
        }
        block
    }

    pub(crate) fn request_frame(
        &mut self,
        stream: u32,
        authority: &str,
        path: &str,
        huffman: bool,
    ) -> Vec<u8> {
        let block = self.block(authority, path, huffman);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    }

    pub(crate) async fn request(&mut self, id: u32, authority: &str, path: &str, huffman: bool) {
        let request = self.request_frame(id, authority, path, huffman);
        self.send(&request).await;
    }

    /// A request whose body goes on.
    pub(crate) async fn open(&mut self, id: u32, authority: &str, path: &str, huffman: bool) {
        let block = self.block(authority, path, huffman);
        self.send(&frame(HEADERS, END_HEADERS, id, &block)).await;
    }

    /// A request with one header of `size` bytes, `times` over by reference.
    pub(crate) async fn bomb(&mut self, id: u32, size: usize, times: usize) {
        let mut block = self.block("localhost", "/", false);
        let header = (b"x-bomb".to_vec(), vec![b'x'; size], Encoder::WITH_INDEXING);
        self.encoder.encode(header, &mut block).unwrap();
        for _ in 1..times {
            self.encoder.encode(62u32, &mut block).unwrap();
        }
        let request = frame(HEADERS, END_HEADERS | END_STREAM, id, &block);
        self.send(&request).await;
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).await.ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        if header[3] == PING && header[4] & ACK == 0 {
            self.send(&frame(PING, ACK, 0, &payload)).await;
        }
        Some(Frame {
            kind: header[3],
            flags: header[4],
            stream: u32::from_be_bytes(header[5..9].try_into().unwrap()),
            payload,
        })
    }

    fn status(&mut self, block: Vec<u8>) -> String {
        let mut headers = Vec::new();
        self.decoder.decode(&mut { block }, &mut headers).unwrap();
        let status = headers.iter().find(|(name, _, _)| name == b":status");
        String::from_utf8(status.unwrap().1.clone()).unwrap()
    }

    pub(crate) async fn until_headers_of(&mut self, stream: u32) {
        loop {
            let frame = self.read().await.expect("an answer");
            assert!(frame.kind != RST_STREAM && frame.kind != GOAWAY);
            if frame.kind == HEADERS && frame.stream == stream {
                assert_eq!(self.status(frame.payload), "200");
                return;
            }
        }
    }

    pub(crate) async fn until_end_of(&mut self, stream: u32) -> Seen {
        let mut body = Vec::new();
        loop {
            let frame = self.read().await.expect("an answer");
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                DATA => body.extend(&frame.payload),
                HEADERS => {
                    let status = self.status(frame.payload);
                    if status != "200" {
                        return Seen::Status(status);
                    }
                }
                RST_STREAM => {
                    let code = frame.payload[..4].try_into().unwrap();
                    return Seen::Reset(u32::from_be_bytes(code));
                }
                _ => {}
            }
            if frame.flags & END_STREAM != 0 && frame.kind <= HEADERS {
                return Seen::Body(String::from_utf8(body).unwrap());
            }
        }
    }

    /// Reads until the server says goodbye; the reason it gives.
    pub(crate) async fn until_goodbye(&mut self) -> u32 {
        loop {
            let frame = self.read().await.expect("a goodbye");
            if frame.kind == GOAWAY {
                return u32::from_be_bytes(frame.payload[4..8].try_into().unwrap());
            }
        }
    }

    /// Plays along until the server closes the connection.
    pub(crate) async fn until_closed(&mut self) {
        while self.read().await.is_some() {}
    }
}
