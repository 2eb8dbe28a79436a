//! The services as clients see them: real HTTP/2 over a pipe in memory, behind the
//! real gate, on a whole server. Only the listener's word on who calls is made up.

mod agents;
mod apply;
mod authority;
mod authorized;
mod budgets;
mod bundles;
mod downstream;
mod entries;
mod fleet;
mod hostile;
mod info;
mod keys;
mod svids;
mod sync;
mod sync_end;
mod sync_random;
mod tokens;
mod tools;

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use api::agent::agent_client::AgentClient;
use api::audit::audit_client::AuditClient;
use api::bundle::bundle_client::BundleClient;
use api::entry::entry_client::EntryClient;
use api::info::info_client::InfoClient;
use api::issuance::issuance_client::IssuanceClient;
use api::svid::svid_client::SvidClient;
use api::sync::sync_client::SyncClient;
use api::types;
use channel::RemoteAddress;
use channel::uds::UnixPeer;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use identity::{SpiffeId, Timestamp};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use tower::util::MapRequest;

use crate::authz::TestPeer;
use crate::rig::{Agent, Rig, START};

/// Who calls.
#[derive(Clone)]
enum Who {
    Local,
    Anonymous,
    /// As `Anonymous`, from another address: the last byte of it.
    From(u8),
    Peer(TestPeer),
}

impl Who {
    fn agent(agent: &Agent) -> Self {
        Self::Peer(TestPeer {
            spiffe_id: agent.id.clone(),
            serial: agent.serial.clone(),
            not_after: Timestamp(START.0 + 3600),
        })
    }

    /// Says what a listener would.
    fn stamp(&self, request: &mut Request<Incoming>) {
        let extensions = request.extensions_mut();
        match self {
            Self::Local => {
                let (here, _there) = UnixStream::pair().unwrap();
                extensions.insert(Arc::new(UnixPeer::of(&here).unwrap()));
            }
            Self::Anonymous => {
                extensions.insert(RemoteAddress(([192, 0, 2, 1], 4000).into()));
            }
            Self::From(host) => {
                extensions.insert(RemoteAddress(([192, 0, 2, *host], 4000).into()));
            }
            Self::Peer(peer) => {
                extensions.insert(peer.clone());
            }
        }
    }
}

/// All clients on one connection.
struct Clients {
    agents: AgentClient<Channel>,
    entries: EntryClient<Channel>,
    bundles: BundleClient<Channel>,
    svids: SvidClient<Channel>,
    sync: SyncClient<Channel>,
    issuance: IssuanceClient<Channel>,
    audit: AuditClient<Channel>,
    info: InfoClient<Channel>,
}

/// A connection to the services, on which every call is `who`'s.
fn pipe(rig: &Rig, who: Who) -> tokio::io::DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let service = MapRequest::new(super::tcp(Arc::clone(&rig.server)), move |mut request| {
        who.stamp(&mut request);
        request
    });
    tokio::spawn(async move {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(theirs), TowerToHyperService::new(service));
        // The client going away is how a test ends.
        let _ended = connection.await;
    });
    ours
}

async fn channel(rig: &Rig, who: Who) -> Channel {
    let pipe = Mutex::new(Some(pipe(rig, who)));
    let connector = service_fn(move |_| {
        let pipe = pipe.lock().unwrap().take();
        async move {
            pipe.map(TokioIo::new)
                .ok_or_else(|| std::io::Error::other("one connection only"))
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap()
}

async fn connect(rig: &Rig, who: Who) -> Clients {
    let channel = channel(rig, who).await;
    Clients {
        agents: AgentClient::new(channel.clone()),
        entries: EntryClient::new(channel.clone()),
        bundles: BundleClient::new(channel.clone()),
        svids: SvidClient::new(channel.clone()),
        sync: SyncClient::new(channel.clone()),
        issuance: IssuanceClient::new(channel.clone()),
        audit: AuditClient::new(channel.clone()),
        info: InfoClient::new(channel),
    }
}

fn wire_id(path: &str) -> Option<types::Spiffeid> {
    Some(types::Spiffeid {
        trust_domain: "example.org".into(),
        path: path.into(),
    })
}

/// An entry for `/name` under `parent`, as a tool would send it.
fn wire_entry(parent: &SpiffeId, name: &str) -> types::Entry {
    types::Entry {
        spiffe_id: wire_id(&format!("/{name}")),
        parent_id: wire_id(parent.path()),
        selectors: vec![wire_selector("unix", "uid:1000")],
        ..Default::default()
    }
}

fn wire_selector(kind: &str, value: &str) -> types::Selector {
    types::Selector {
        r#type: kind.into(),
        value: value.into(),
    }
}

fn code(status: Option<&types::Status>) -> tonic::Code {
    tonic::Code::from_i32(status.expect("a status is always there").code)
}
