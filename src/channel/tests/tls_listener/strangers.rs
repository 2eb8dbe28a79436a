//! What callers without a certificate can take from others: nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channel::{ClientAuth, Limits, LiveIdentity};
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::authority::Authority;
use super::authority::listener::{AGENT, Listener, NOW, SERVER, identity};

const HONEST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Far beyond what an answer takes on a busy machine, far below what a client that
/// waits behind others' timeouts would wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// No handshake ends by its timeout while a test runs.
fn patient() -> Limits {
    Limits {
        handshake_timeout: Duration::from_secs(600),
        ..Limits::server()
    }
}

async fn connect(listener: &Listener, source: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::V4(source), 0).into()).unwrap();
    let address: SocketAddr = listener.address.parse().unwrap();
    socket.connect(address).await.unwrap()
}

/// A connection that says hello and nothing more.
async fn silent(listener: &Listener, source: Ipv4Addr) -> TcpStream {
    let mut tcp = connect(listener, source).await;
    let config = listener.client(None, SERVER);
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    tcp.write_all(&hello).await.unwrap();
    tcp
}

/// As [`silent`], once the server has answered the hello and waits in turn.
async fn waiting(listener: &Listener, source: Ipv4Addr) -> TcpStream {
    let tcp = silent(listener, source).await;
    in_time(tcp.readable()).await.unwrap();
    tcp
}

/// A call on a new connection, which stays open as long as what is answered.
async fn call(
    listener: &Listener,
    source: Ipv4Addr,
    own: Option<Arc<LiveIdentity>>,
) -> Result<(SendRequest<Bytes>, String), String> {
    let tcp = connect(listener, source).await;
    let connector = TlsConnector::from(listener.client(own, SERVER));
    let name = "localhost".try_into().unwrap();
    let tls = connector.connect(name, tcp).await;
    let tls = tls.map_err(|error| error.to_string())?;
    let (sender, connection) = h2::client::handshake(tls)
        .await
        .map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    ask(sender).await
}

async fn ask(sender: SendRequest<Bytes>) -> Result<(SendRequest<Bytes>, String), String> {
    let mut sender = sender.ready().await.map_err(|e| e.to_string())?;
    let request = Request::post("https://server/who").body(()).unwrap();
    let (answer, _) = sender
        .send_request(request, true)
        .map_err(|e| e.to_string())?;
    let mut body = answer.await.map_err(|e| e.to_string())?.into_body();
    let mut who = Vec::new();
    while let Some(part) = body.data().await {
        who.extend(part.map_err(|e| e.to_string())?);
    }
    Ok((sender, String::from_utf8(who).unwrap()))
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it does not wait for strangers")
}

/// Completes when the listener has closed the connection.
async fn closed(tcp: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _end = tcp.read_to_end(&mut rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_clients_that_say_hello_and_fall_silent_hold_nobody_up() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, patient()).await;
    let mut held = Vec::new();
    for _ in 0..512 {
        held.push(silent(&listener, HONEST).await);
    }
    for own in [None, Some(identity(&ca, AGENT))] {
        let expected = if own.is_some() { AGENT } else { "nobody" };
        let (_sender, who) = in_time(call(&listener, HONEST, own)).await.unwrap();
        assert_eq!(who, expected);
    }
}

#[tokio::test]
async fn d1_the_oldest_handshake_of_the_largest_address_makes_room() {
    let ca = Authority::new("example.org", NOW);
    let limits = Limits {
        pending_connections: 8,
        pending_per_address: 6,
        ..patient()
    };
    let listener = Listener::start(&ca, ClientAuth::Optional, limits).await;
    let mut other = waiting(&listener, HONEST).await;
    let mut hostile = Vec::new();
    for _ in 0..6 {
        hostile.push(waiting(&listener, HOSTILE).await);
    }
    // One above the share of the address: its own oldest goes.
    hostile.push(waiting(&listener, HOSTILE).await);
    in_time(closed(&mut hostile[0])).await;
    // The rest of the room, and one more: again one of the largest address.
    let _more = [
        waiting(&listener, HONEST).await,
        waiting(&listener, HONEST).await,
    ];
    in_time(closed(&mut hostile[1])).await;
    let (_sender, who) = in_time(call(&listener, HONEST, None)).await.unwrap();
    assert_eq!(who, "nobody");
    // The server's hello has arrived, and nothing has ended behind it.
    let mut hello = vec![0; 64 << 10];
    let read = in_time(other.read(&mut hello)).await.unwrap();
    assert!(read > 0);
    let more = other.try_read(&mut hello).unwrap_err();
    assert_eq!(more.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn s10_strangers_of_one_address_take_neither_from_others_nor_from_agents() {
    let ca = Authority::new("example.org", NOW);
    let limits = Limits {
        connections: 16,
        pending_connections: 4,
        pending_per_address: 2,
        anonymous_connections: 4,
        connections_per_origin: 2,
        connections_per_identity: 8,
        ..patient()
    };
    let listener = Listener::start(&ca, ClientAuth::Optional, limits).await;
    let mut hostile = Vec::new();
    for _ in 0..20 {
        hostile.push(in_time(call(&listener, HOSTILE, None)).await.unwrap().0);
    }
    let (stranger, _) = in_time(call(&listener, HONEST, None)).await.unwrap();
    // Behind the same address as the strangers, as in a NAT'ed fleet: more agents than
    // strangers may be there.
    let mut agents = Vec::new();
    for n in 0..8 {
        let id = format!("spiffe://example.org/spire/agent/{n}");
        let own = Some(identity(&ca, &id));
        let (agent, who) = in_time(call(&listener, HOSTILE, own)).await.unwrap();
        assert_eq!(who, id);
        agents.push(agent);
    }
    for open in agents.into_iter().chain([stranger]) {
        in_time(ask(open)).await.unwrap();
    }
    let first = hostile.remove(0);
    assert!(in_time(ask(first)).await.is_err(), "the oldest made room");
    in_time(ask(hostile.pop().unwrap())).await.unwrap();
}

#[tokio::test]
async fn s10_one_identity_takes_no_more_than_its_share() {
    let ca = Authority::new("example.org", NOW);
    let limits = Limits {
        connections_per_identity: 2,
        ..patient()
    };
    let listener = Listener::start(&ca, ClientAuth::Optional, limits).await;
    let own = identity(&ca, AGENT);
    let mut open = Vec::new();
    for _ in 0..3 {
        let called = in_time(call(&listener, HONEST, Some(Arc::clone(&own)))).await;
        open.push(called.unwrap().0);
    }
    let mut answers = Vec::new();
    for sender in open {
        answers.push(in_time(ask(sender)).await.is_ok());
    }
    assert_eq!(answers, [false, true, true]);
}

#[tokio::test]
async fn d2_http1_is_refused_where_grpc_alone_is_served() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, patient()).await;
    let with_alpn = |protocols: &[&[u8]]| {
        let mut config = rustls::ClientConfig::clone(&listener.client(None, SERVER));
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    };
    let name = || "localhost".try_into().unwrap();
    let tcp = connect(&listener, HONEST).await;
    let refused = with_alpn(&[b"http/1.1"]).connect(name(), tcp).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    let tcp = connect(&listener, HONEST).await;
    let mut tls = with_alpn(&[]).connect(name(), tcp).await.unwrap();
    tls.write_all(b"POST /who HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _end = in_time(tls.read_to_end(&mut answer)).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}
