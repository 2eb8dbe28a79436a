//! Ten thousands of clients in one thread: the bytes of HTTP/1.1 and HTTP/2 as they
//! are on the wire, so that what is measured is the agent and not the clients.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bulla_tests::moment;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LARGEST_WINDOW: u32 = 0x7fff_ffff;
const FIRST_WINDOW: u32 = 65_535;
const FRAME_HEAD: usize = 9;
const GRPC_HEAD: usize = 5;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One connection.
struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Of HTTP/2 streams, by number: what has come of the message that comes.
    messages: HashMap<u32, Vec<u8>>,
    is_poll: bool,
}

/// Many connections, read whenever they have something.
pub(crate) struct Crowd {
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// Whole answers: bodies of polls, gRPC messages of streams.
    pub(crate) answers: Vec<Vec<u8>>,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).unwrap(),
            clients: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// A connection that polls for X.509-SVIDs other than those of `tag`.
    pub(crate) fn poll(&mut self, socket: &Path, tag: &str) {
        self.add(socket, &poll(tag), true);
    }

    /// Every connection that polls asks once more, for others than those of `tag`.
    pub(crate) fn poll_again(&mut self, tag: &str) {
        for client in self.clients.iter_mut().filter(|client| client.is_poll) {
            client.stream.write_all(&poll(tag)).unwrap();
        }
    }

    /// A connection with that many streams of FetchX509SVID.
    pub(crate) fn streams(&mut self, socket: &Path, streams: u32) {
        self.add(socket, &opening(streams, LARGEST_WINDOW), false);
    }

    fn add(&mut self, socket: &Path, request: &[u8], is_poll: bool) {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(request).unwrap();
        stream.set_nonblocking(true).unwrap();
        let data = EventData::new_u64(u64::try_from(self.clients.len()).unwrap());
        epoll::add(&self.epoll, &stream, data, EventFlags::IN).unwrap();
        self.clients.push(Client {
            stream,
            buffer: Vec::new(),
            messages: HashMap::new(),
            is_poll,
        });
    }

    /// Reads what there is for at most `patience`, until there are that many answers.
    pub(crate) fn read(&mut self, answers: usize, patience: Duration) -> bool {
        let mut events = Vec::with_capacity(1024);
        let end = moment() + patience;
        while self.answers.len() < answers && moment() < end {
            events.clear();
            let timeout = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            };
            let spare = rustix::buffer::spare_capacity(&mut events);
            let _count = epoll::wait(&self.epoll, spare, Some(&timeout)).unwrap();
            for event in &events {
                let client = usize::try_from(event.data.u64()).unwrap();
                self.clients[client].read(&mut self.answers);
            }
        }
        self.answers.len() >= answers
    }
}

impl Client {
    fn read(&mut self, answers: &mut Vec<Vec<u8>>) {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => panic!("a connection was closed"),
            Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("a connection broke: {error}"),
        }
        if self.is_poll {
            answers.extend(whole_body(&mut self.buffer));
        } else {
            self.frames(answers);
        }
    }

    fn frames(&mut self, answers: &mut Vec<Vec<u8>>) {
        let mut at = 0;
        while let Some(head) = self.buffer.get(at..at + FRAME_HEAD) {
            let length =
                usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
            let (kind, flags) = (head[3], head[4]);
            let number = u32::from_be_bytes(head[5..9].try_into().unwrap());
            let start = at + FRAME_HEAD;
            let Some(payload) = self.buffer.get(start..start + length) else {
                break;
            };
            at = start + length;
            match kind {
                DATA => {
                    let message = self.messages.entry(number).or_default();
                    message.extend_from_slice(payload);
                    let head: [u8; GRPC_HEAD] = message[..GRPC_HEAD].try_into().unwrap();
                    let length = u32::from_be_bytes(head[1..].try_into().unwrap());
                    if message.len() == GRPC_HEAD + usize::try_from(length).unwrap() {
                        answers.push(message.split_off(GRPC_HEAD));
                        message.clear();
                    }
                }
                SETTINGS | PING if flags & ACK == 0 => {
                    let answer = frame(kind, ACK, 0, if kind == PING { payload } else { &[] });
                    self.stream.write_all(&answer).unwrap();
                }
                HEADERS if flags & END_STREAM != 0 => panic!("a stream was refused or has ended"),
                _ => {}
            }
        }
        self.buffer.drain(..at);
    }
}

/// Takes a whole answer from the front, and gives its body.
fn whole_body(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let split = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&buffer[..split]).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap().parse().unwrap();
    let body = split + 4;
    let whole = buffer.get(body..body + length)?.to_vec();
    buffer.drain(..body + length);
    Some(whole)
}

/// A request for X.509-SVIDs other than those of `tag`, now or when there are.
pub(crate) fn poll(tag: &str) -> Vec<u8> {
    format!(
        "GET /v1/svid/x509 HTTP/1.1\r\nHost: x\r\nworkload.spiffe.io: true\r\n\
         If-None-Match: {tag}\r\nPrefer: wait=60\r\n\r\n"
    )
    .into_bytes()
}

/// What opens an HTTP/2 connection and the streams on it; with a window of nothing,
/// the answers must wait.
pub(crate) fn opening(streams: u32, window: u32) -> Vec<u8> {
    let initial_window = [&[0, 4][..], &window.to_be_bytes()].concat();
    let more = LARGEST_WINDOW - FIRST_WINDOW;
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &initial_window));
    bytes.extend(frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()));
    for number in 0..streams {
        let number = number * 2 + 1;
        bytes.extend(frame(HEADERS, END_HEADERS, number, &headers()));
        bytes.extend(frame(DATA, END_STREAM, number, &[0; GRPC_HEAD]));
    }
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Request headers in HPACK (RFC 7541), by index where the static table has them,
/// and without entries in the dynamic one.
fn headers() -> Vec<u8> {
    let literal = |index: &[u8], value: &str| {
        let length = u8::try_from(value.len()).unwrap();
        [index, &[length], value.as_bytes()].concat()
    };
    let named = |name: &str, value: &str| {
        let name = literal(&[0], name);
        literal(&name, value)
    };
    [
        // :method POST, :scheme http
        vec![0x83, 0x86],
        // :authority, :path, content-type
        literal(&[1], "localhost"),
        literal(&[4], "/SpiffeWorkloadAPI/FetchX509SVID"),
        literal(&[0x0f, 0x10], "application/grpc"),
        named("te", "trailers"),
        named("workload.spiffe.io", "true"),
    ]
    .concat()
}
