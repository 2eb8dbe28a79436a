//! Whole programs behind their sockets: every RPC of the server and of the agent,
//! and the local JSON API. An input is a number of a method or path and a body.
//! What counts is that the process goes on: no abort, and no memory that grows.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bulla_tests::{Domain, resident_kib};
use bytes::{Buf as _, BufMut as _};
use channel::{ChannelOptions, uds_channel};
use tokio::runtime::Runtime;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use super::Target;
use crate::chance::Chance;
use crate::wire::descriptors;

/// What either process may come to hold.
const MOST_KIB: usize = 600 << 10;

/// How long one call may take; streams are given up after it.
const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) const SERVER: Target = Target {
    name: "server_api",
    reads: "every RPC of the server, as an administrator calls it on the admin socket",
    seeds: Vec::new,
    words: &[
        b"spiffe://example.org/",
        b"\x0a\x00",
        b"\x12\xff\xff\xff\xff\x0f",
    ],
    generate: Some(a_call),
    run: |bytes| {
        let running = running();
        call(running, &running.server, bytes)
    },
};

pub(crate) const WORKLOAD_API: Target = Target {
    name: "workload_api",
    reads: "every RPC that the agent serves, as a workload calls it",
    seeds: Vec::new,
    words: &[
        b"spiffe://example.org/",
        b"\x0a\x00",
        b"\x12\xff\xff\xff\xff\x0f",
    ],
    generate: Some(a_call),
    run: |bytes| {
        let running = running();
        call(running, &running.agent, bytes)
    },
};

pub(crate) const JSON_API: Target = Target {
    name: "json_api",
    reads: "HTTP/1.1 requests on the workload socket: paths, queries, headers and bodies",
    seeds: || {
        let requests = [
            "GET /v1/svid/x509 HTTP/1.1\r\nhost: a\r\nworkload.spiffe.io: true\r\n\r\n",
            "GET /v1/svid/jwt?audience=db HTTP/1.1\r\nhost: a\r\nworkload.spiffe.io: true\r\nif-none-match: \"a\"\r\nprefer: wait=0\r\n\r\n",
            "POST /v1/token HTTP/1.1\r\nhost: a\r\nworkload.spiffe.io: true\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\r\n{\"audience\":\"db\",\"permissions\":[]}",
            "POST /v1/check HTTP/1.1\r\nhost: a\r\nworkload.spiffe.io: true\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\r\n{\"audience\":\"db\",\"token\":\"a.b.c\"}",
        ];
        requests.map(|text| text.as_bytes().to_vec()).to_vec()
    },
    words: &[
        b"audience=",
        b"&",
        b"%00",
        b"wait=",
        b"\r\n",
        b"transfer-encoding: chunked\r\n",
        b"W/\"",
        b"{\"",
        b"authorization_details",
    ],
    generate: None,
    run: |bytes| {
        let running = running();
        let socket = running.workload.clone();
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let _refused_early = stream.write_all(bytes);
        let _ended = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = [0; 64];
        let count = stream.read(&mut answer).unwrap_or(0);
        running.check();
        let line = String::from_utf8_lossy(&answer[..count]).into_owned();
        line.lines().next().unwrap_or_default().to_owned()
    },
};

/// A random method and a well-formed input of it.
fn a_call(chance: &mut Chance) -> Vec<u8> {
    let known = descriptors();
    let nth = chance.below(known.methods.len());
    let mut bytes = u16::try_from(nth).unwrap().to_be_bytes().to_vec();
    bytes.extend(known.input(&known.methods[nth], chance));
    bytes
}

struct Running {
    domain: Mutex<Option<Domain>>,
    runtime: Runtime,
    server: Channel,
    agent: Channel,
    workload: PathBuf,
    count: Mutex<u64>,
}

static STARTED: OnceLock<Running> = OnceLock::new();

/// Ends what was started, and removes its folder.
pub(crate) fn end() {
    if let Some(running) = STARTED.get() {
        let domain = running.domain.lock();
        domain.unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A server and an agent, started for the first input.
fn running() -> &'static Running {
    STARTED.get_or_init(|| {
        let domain = Domain::start();
        let _entry = domain.register("/web", ["--selector", "unix:uid:0"]);
        let runtime = Runtime::new().unwrap();
        let connect = |socket: PathBuf| {
            let options = ChannelOptions::default();
            runtime.block_on(uds_channel(&socket, &options)).unwrap()
        };
        Running {
            server: connect(domain.admin_socket()),
            agent: connect(domain.workload_socket()),
            workload: domain.workload_socket(),
            domain: Mutex::new(Some(domain)),
            runtime,
            count: Mutex::new(0),
        }
    })
}

impl Running {
    /// Both processes run, and hold no more than they may.
    fn check(&self) {
        let mut count = self.count.lock().unwrap();
        *count += 1;
        let mut domain = self.domain.lock().unwrap();
        let domain = domain.as_mut().unwrap();
        for process in [&mut domain.server, &mut domain.agent] {
            let process = process.as_mut().unwrap();
            if let Some(status) = process.ended() {
                panic!("the process ended with {status}: {}", process.output());
            }
            if count.is_multiple_of(64) {
                let resident = resident_kib(process.pid());
                assert!(resident < MOST_KIB, "the process holds {resident} KiB");
            }
        }
    }
}

fn call(running: &Running, channel: &Channel, bytes: &[u8]) -> String {
    let known = descriptors();
    let Some((nth, body)) = bytes.split_at_checked(2) else {
        return "no method".to_owned();
    };
    let nth = usize::from(u16::from_be_bytes([nth[0], nth[1]])) % known.methods.len();
    let path = known.methods[nth].path.clone();
    let body = body.to_vec();
    let answer = running.runtime.block_on(async {
        let mut client = Grpc::new(channel.clone());
        let call = async {
            client.ready().await.map_err(|error| error.to_string())?;
            let mut request = Request::new(tokio_stream::iter([body]));
            let header = MetadataValue::from_static("true");
            request.metadata_mut().insert(api::WORKLOAD_HEADER, header);
            let path = path.parse().unwrap();
            let answer = client.streaming(request, path, Bytes).await;
            let mut answer = answer.map_err(|status| format!("{:?}", status.code()))?;
            let first = answer.get_mut().message().await;
            first
                .map(|_| "answered".to_owned())
                .map_err(|status| format!("{:?}", status.code()))
        };
        tokio::time::timeout(PATIENCE, call).await
    });
    running.check();
    format!("{path} {answer:?}")
}

/// Messages as bytes, whatever they are.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = tonic::Status;
    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put_slice(&item);
        Ok(())
    }
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = tonic::Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, tonic::Status> {
        let count = from.remaining();
        Ok(Some(from.copy_to_bytes(count).to_vec()))
    }
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
