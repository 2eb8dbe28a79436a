//! Measures what one idle stream, alone on its connection, costs a Unix
//! listener: `cargo run --release -p channel --example idle_streams [count]`.
//! The clients live in a child process, so that only the server is measured.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring program: it reports, and may fail"
)]

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use channel::uds::{SocketOptions, bind};
use channel::{Limits, serve_unix};
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;

/// A typical Workload API answer.
const MESSAGE_BYTES: usize = 1500;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    match (first.as_deref(), arguments.next(), arguments.next()) {
        (Some("client"), Some(path), Some(count)) => client(path, count.parse().unwrap()),
        (count, ..) => server(count.map_or(1000, |count| count.parse().unwrap())),
    }
}

#[tokio::main(worker_threads = 1)]
async fn server(count: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let listener = bind(&path, SocketOptions::WORKLOAD).unwrap();
    let service = tower::service_fn(|_: Request<Incoming>| async {
        let first = Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; MESSAGE_BYTES])));
        let stream = futures_util::stream::iter([first]).chain(futures_util::stream::pending());
        Ok::<_, Infallible>(Response::new(StreamBody::new(stream)))
    });
    tokio::spawn(serve_unix(
        listener,
        service,
        Limits::workload(),
        std::future::pending(),
    ));
    let before = resident_bytes();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["client", path.to_str().unwrap(), &count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = tokio::process::ChildStdout::from_std(child.stdout.take().unwrap()).unwrap();
    BufReader::new(stdout)
        .read_line(&mut String::new())
        .await
        .unwrap();
    let used = resident_bytes() - before;
    println!(
        "{count} connections, one idle stream each: {} bytes each",
        used / count
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::main(worker_threads = 1)]
async fn client(path: String, count: u64) {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(open_stream(Path::new(&path)).await);
    }
    println!("ready");
    std::future::pending().await
}

/// A stream whose first message has come.
async fn open_stream(path: &Path) -> (h2::client::SendRequest<Bytes>, h2::RecvStream) {
    let stream = UnixStream::connect(path).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://localhost/a.B/C")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, _body) = send.send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut received = 0;
    while received < MESSAGE_BYTES {
        received += body.data().await.unwrap().unwrap().len();
    }
    (send, body)
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
