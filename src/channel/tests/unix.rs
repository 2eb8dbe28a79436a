//! The Unix listener as clients of every kind see it, friendly and not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may fail it"
)]

mod wire;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use channel::uds::{SocketOptions, UnixPeer, bind};
use channel::{ChannelOptions, Draining, Limits, serve_unix, uds_channel};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tower::ServiceExt;
use wire::{Client, Seen};

type Body = UnsyncBoxBody<Bytes, Infallible>;

struct Listener {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    _dir: TempDir,
}

impl Listener {
    fn start(limits: Limits) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.sock");
        let socket = bind(&path, SocketOptions::WORKLOAD).unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let service = tower::service_fn(answer);
        Self {
            path,
            stop: Some(stop),
            served: tokio::spawn(serve_unix(socket, service, limits, shutdown)),
            _dir: dir,
        }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    /// An HTTP/2 client that writes its own frames.
    async fn raw(&self) -> Client {
        Client::start(self.connect().await).await
    }
}

/// `/stream` lasts until the connection drains; all else answers the peer's pid.
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let extensions = request.extensions();
    let body = if request.uri().path() == "/stream" {
        let mut draining = extensions.get::<Draining>().unwrap().clone();
        let last_words = futures_util::stream::once(async move {
            draining.wait().await;
            Ok(Frame::data(Bytes::from_static(b"goodbye")))
        });
        BodyExt::boxed_unsync(http_body_util::StreamBody::new(last_words))
    } else {
        let peer = extensions.get::<Arc<UnixPeer>>().unwrap();
        Full::new(peer.pid().to_string().into()).boxed_unsync()
    };
    Ok(Response::new(body))
}

fn own_pid() -> String {
    std::process::id().to_string()
}

#[tokio::test]
async fn http1_and_http2_share_the_socket_and_know_the_peer() {
    let listener = Listener::start(Limits::workload());
    let mut plain = listener.connect().await;
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    plain.write_all(request).await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with(&own_pid()), "{answer}");

    let channel = uds_channel(&listener.path, &ChannelOptions::default())
        .await
        .unwrap();
    let request = Request::post("/").body(tonic::body::Body::new(Empty::new()));
    let answer = channel.oneshot(request.unwrap()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, own_pid());
}

#[tokio::test]
async fn clients_that_send_the_socket_path_as_authority_are_served() {
    let listener = Listener::start(Limits::workload());
    for authority in ["/tmp/a.sock", "tmp%2Fa.sock", "localhost"] {
        for huffman in [false, true] {
            let mut client = listener.raw().await;
            // Twice: the second request names the first one's table entry.
            for stream in [1, 3] {
                client.request(stream, authority, "/", huffman).await;
                let seen = client.until_end_of(stream).await;
                assert_eq!(seen, Seen::Body(own_pid()), "{authority} {huffman}");
            }
        }
    }
}

#[tokio::test]
async fn a_connection_above_its_users_cap_is_closed_and_a_freed_place_is_used() {
    let limits = Limits {
        connections_per_origin: 1,
        ..Limits::workload()
    };
    let listener = Listener::start(limits);
    let mut first = listener.raw().await;
    first.request(1, "localhost", "/", true).await;
    first.until_end_of(1).await;
    let mut refused = listener.connect().await;
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    drop(first);
    // The place is free once the listener has seen the end.
    loop {
        let channel = uds_channel(&listener.path, &ChannelOptions::default()).await;
        let request = Request::post("/").body(tonic::body::Body::new(Empty::new()));
        if let Ok(channel) = channel
            && channel.oneshot(request.unwrap()).await.is_ok()
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_cut() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(100),
        ..Limits::workload()
    };
    let listener = Listener::start(limits);
    for start in [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nhost:"] {
        let mut silent = listener.connect().await;
        silent.write_all(start).await.unwrap();
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
    }
}

#[tokio::test]
async fn streams_say_their_last_word_when_the_listener_stops() {
    let mut listener = Listener::start(Limits::workload());
    let mut client = listener.raw().await;
    client.request(1, "localhost", "/stream", true).await;
    client.until_headers_of(1).await;
    listener.stop.take().unwrap().send(()).unwrap();
    assert_eq!(client.until_end_of(1).await, Seen::Body("goodbye".into()));
    client.until_closed().await;
    tokio::time::timeout(Duration::from_secs(5), &mut listener.served)
        .await
        .expect("the listener returns once its streams have ended")
        .unwrap();
    assert!(UnixStream::connect(&listener.path).await.is_err());
}

#[tokio::test]
async fn a_peer_that_does_not_drain_is_cut_at_the_deadline() {
    let limits = Limits {
        drain: Duration::from_millis(100),
        ..Limits::workload()
    };
    let mut listener = Listener::start(limits);
    let mut client = listener.raw().await;
    // A request whose body never ends keeps the stream open.
    client.open(1, "localhost", "/", true).await;
    client.until_headers_of(1).await;
    listener.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), &mut listener.served)
        .await
        .expect("the deadline holds")
        .unwrap();
}

#[tokio::test]
async fn one_stream_too_many_is_refused_and_the_others_live() {
    let limits = Limits {
        concurrent_streams: 3,
        ..Limits::workload()
    };
    let listener = Listener::start(limits);
    let mut client = listener.raw().await;
    client.settle().await;
    for stream in [1, 3, 5] {
        client.request(stream, "localhost", "/stream", true).await;
        client.until_headers_of(stream).await;
    }
    client.request(7, "localhost", "/", true).await;
    assert_eq!(
        client.until_end_of(7).await,
        Seen::Reset(wire::REFUSED_STREAM)
    );
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let listener = Listener::start(Limits::workload());
    let mut client = listener.raw().await;
    let mut burst = Vec::new();
    for stream in (1..400).step_by(2) {
        burst.extend(client.request_frame(stream, "localhost", "/", true));
        burst.extend(wire::reset(stream));
    }
    client.send(&burst).await;
    assert_eq!(client.until_goodbye().await, wire::ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn d11_a_flood_of_frames_that_carry_nothing_ends_the_connection() {
    for flood in [wire::ping(), wire::settings(), wire::empty_data(1)] {
        let listener = Listener::start(Limits::workload());
        let mut client = listener.raw().await;
        // Calls go on being answered until then.
        client.open(1, "localhost", "/", true).await;
        client.until_headers_of(1).await;
        client.flood_until_closed(&flood.repeat(100), 1_000).await;
    }
}

#[tokio::test]
async fn d11_calls_and_answers_pay_for_pings() {
    let limits = Limits {
        control_frames_burst: 20,
        control_frames_per_second: 1,
        ..Limits::workload()
    };
    let listener = Listener::start(limits);
    let mut client = listener.raw().await;
    for stream in (1..200).step_by(2) {
        client.send(&wire::ping()).await;
        client.request(stream, "localhost", "/", true).await;
        assert_eq!(client.until_end_of(stream).await, Seen::Body(own_pid()));
    }
}

#[tokio::test]
async fn d2_http1_is_refused_where_grpc_alone_is_served() {
    let limits = Limits {
        http1: false,
        ..Limits::workload()
    };
    let listener = Listener::start(limits);
    let mut browser = listener.connect().await;
    browser
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(answer.ends_with("alone.\n"), "{answer}");
    let mut client = listener.raw().await;
    client.request(1, "localhost", "/", true).await;
    assert_eq!(client.until_end_of(1).await, Seen::Body(own_pid()));
}

#[tokio::test]
async fn oversized_header_lists_are_refused_for_tables_and_literals_alike() {
    let listener = Listener::start(Limits::workload());
    let mut client = listener.raw().await;
    let path = format!("/{}", "x".repeat(15_000));
    client.request(1, "localhost", &path, false).await;
    assert_eq!(client.until_end_of(1).await, Seen::Body(own_pid()));
    // Indexed references expand: 60 of them to a header of 400 bytes are 24 kB.
    client.bomb(3, 400, 60).await;
    match client.until_end_of(3).await {
        Seen::Status(status) => assert_eq!(status, "431"),
        seen => assert!(matches!(seen, Seen::Reset(_)), "{seen:?}"),
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_back_its_sender_only() {
    static PRODUCED: AtomicUsize = AtomicUsize::new(0);
    const CHUNK: &[u8] = &[7; 16 * 1024];
    // Our send buffer, the client's window, and the kernel's socket buffers.
    const BOUND: usize = 1024 * 1024;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.sock");
    let socket = bind(&path, SocketOptions::WORKLOAD).unwrap();
    let service = tower::service_fn(|_: Request<Incoming>| async {
        let endless = futures_util::stream::repeat_with(|| {
            PRODUCED.fetch_add(CHUNK.len(), Ordering::SeqCst);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(CHUNK)))
        });
        Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(endless)))
    });
    tokio::spawn(serve_unix(
        socket,
        service,
        Limits::workload(),
        std::future::pending(),
    ));
    let mut client = Client::start(UnixStream::connect(&path).await.unwrap()).await;
    client.request(1, "localhost", "/", true).await;
    client.until_headers_of(1).await;
    let too_much = async {
        while PRODUCED.load(Ordering::SeqCst) < BOUND {
            tokio::task::yield_now().await;
        }
    };
    let produced_too_much = tokio::time::timeout(Duration::from_millis(300), too_much).await;
    assert!(produced_too_much.is_err());
}
