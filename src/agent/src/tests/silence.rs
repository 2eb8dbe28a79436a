//! A server that hangs, or a network that swallows what is sent: no worse than a server
//! that is dead.

use std::sync::Arc;
use std::time::Duration;

use api::issuance::IssueX509Request;
use api::issuance::issuance_client::IssuanceClient;
use api::sync::{Heartbeat, follow_response};
use identity::Seconds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, eventually, until, within};
use crate::clock::Clock;
use crate::limits;

/// A network in front of a server. Connections made before a cut stay open and carry
/// nothing any more.
struct Network {
    address: String,
    cuts: watch::Sender<u32>,
}

impl Network {
    async fn before(server: &FakeServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cuts = watch::Sender::new(0);
        let (told, server) = (cuts.clone(), server.address.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let cut = told.subscribe();
                let ((from, to), (back, forth)) = (client.into_split(), server.into_split());
                tokio::spawn(carry(from, forth, cut.clone()));
                tokio::spawn(carry(back, to, cut));
            }
        });
        Self { address, cuts }
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<u32>) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read.unwrap_or(0),
            _ = cut.changed() => break,
        };
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    // Whatever comes is swallowed, and nobody is told.
    while from.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    std::future::pending::<()>().await;
}

fn silence() -> Seconds {
    Seconds(u32::try_from(limits::SERVER_SILENCE.as_secs()).unwrap())
}

#[tokio::test]
async fn a11_a_server_that_stops_sending_is_left_and_followed_anew() {
    let clock = Clock::manual(Clock::system().now());
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    until(&server.state.hellos, |hellos| hellos.len() == 1).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    clock.advance(Seconds(silence().0 - 1));
    // Any sign of life starts the count anew.
    server.tell(follow_response::Message::Heartbeat(Heartbeat::default()));
    server.put(&entry("e1", "/a"));
    until(&server.state.acks, |ack| ack.position == "later").await;
    clock.advance(Seconds(silence().0 - 1));
    assert_eq!(server.state.hellos.borrow().len(), 1);
    clock.advance(Seconds(1));
    until(&server.state.hellos, |hellos| hellos.len() == 2).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a11_a_network_that_swallows_everything_leaves_no_agent_deaf() {
    let clock = Clock::manual(Clock::system().now());
    let server = FakeServer::start(clock.clone()).await;
    let network = Network::before(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.server.address.clone_from(&network.address);
    let node = Node::start(config, &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    network.cut();
    // A call that is under way then ends with the connection, not by its own patience.
    let core = Arc::clone(&node.core);
    let call = tokio::spawn(async move {
        let ask = |channel| async move {
            let mut client = IssuanceClient::new(channel);
            client.issue_x509(IssueX509Request::default()).await
        };
        core.link.call(ask).await
    });
    clock.advance(silence());
    until(&server.state.hellos, |hellos| hellos.len() == 2).await;
    let lost = within(call).await.unwrap().unwrap_err();
    assert!(lost.message().contains("was lost"), "{lost}");
    server.put(&entry("e1", "/a"));
    eventually("news arrive", || node.core.hub.counts().x509_svids == 1).await;
    node.stop().await.unwrap();
}

/// It accepts connections and says nothing: a stopped process, a full queue.
#[tokio::test]
async fn a3_a_server_that_hangs_costs_a_call_no_more_than_one_that_is_dead() {
    let clock = Clock::manual(Clock::system().now());
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    let node = Node::start(config.clone(), &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    node.stop().await.unwrap();
    server.stop().await;
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.server.address = hangs.local_addr().unwrap().to_string();
    config.join_token = None;
    let node = Node::start(config, &clock).await;
    let calls = async {
        for _ in 0..4 {
            let ask = |channel| async move {
                let mut client = IssuanceClient::new(channel);
                client.issue_x509(IssueX509Request::default()).await
            };
            let refused = node.core.link.call(ask).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
        }
    };
    // One wait for all of them; each took ten seconds before.
    let patience = limits::CALL_CONNECT + Duration::from_secs(6);
    tokio::time::timeout(patience, calls)
        .await
        .expect("calls wait for a server that hangs");
    node.stop().await.unwrap();
}
