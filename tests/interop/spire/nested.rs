//! Servers below servers, ours and SPIRE's in every order: workloads of both levels
//! call each other by mutual TLS, and tokens of the lower one verify with the upper
//! one's bundle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulla_tests::{Domain, Settings, eventually};
use channel::{ClientAuth, Expect, LiveBundles, LiveIdentity, client_config, server_config};
use identity::{Bundle, PrivateKeyDer, SpiffeId, TrustDomain, X509AuthorityCertificate};
use rustls::{ClientConnection, Connection, ServerConnection};
use serde_json::Value;
use spiffe::{WorkloadApiClient, X509Svid};

use super::stock::{Proof, StockAgent, StockServer, bundle_pem, cli, token};

const AUDIENCE: &str = "payments";
const PROMPT: &str = Settings::PROMPT;
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of ours below the one at `port`, which it calls with an identity from
/// `socket`; with an agent that has joined it.
fn nested(port: u16, socket: &Path) -> Domain {
    let mut domain = Domain::server_alone(Settings {
        server: format!(
            "server_number = 2\n{PROMPT}[upstream.workload_api]\nserver = \"127.0.0.1:{port}\"\n\
             socket = {socket:?}\nspiffe_id = \"{}\"\n",
            id("/nested")
        ),
        ..Settings::default()
    });
    domain.join_agent();
    domain
}

fn id(path: &str) -> String {
    format!("spiffe://{}{path}", Domain::NAME)
}

/// A workload at an agent of either kind.
struct Workload {
    api: WorkloadApiClient,
    svid: X509Svid,
    bundle: Bundle,
}

impl Workload {
    async fn at(socket: &Path, path: &str) -> Self {
        let endpoint = format!("unix://{}", socket.display());
        let api = WorkloadApiClient::connect_to(&endpoint).await.unwrap();
        let wanted = id(path);
        let wait = async {
            loop {
                let svids = api.fetch_all_x509_svids().await.unwrap_or_default();
                let mut svids = svids.into_iter();
                if let Some(svid) = svids.find(|svid| svid.spiffe_id().to_string() == wanted) {
                    return svid;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let svid = tokio::time::timeout(PATIENCE, wait).await;
        let svid = svid.unwrap_or_else(|_| panic!("no SVID of {wanted}"));
        let bundles = api.fetch_x509_bundles().await.unwrap();
        let mut bundle = Bundle::empty(TrustDomain::parse(Domain::NAME).unwrap());
        let roots = bundles.get(svid.spiffe_id().trust_domain()).unwrap();
        let roots = roots.authorities().iter();
        let roots = roots.map(|der| X509AuthorityCertificate {
            der: der.as_bytes().into(),
            tainted: false,
        });
        bundle.x509_authorities = roots.collect();
        Self { api, svid, bundle }
    }

    fn id(&self) -> SpiffeId {
        SpiffeId::parse(&self.svid.spiffe_id().to_string()).unwrap()
    }

    fn identity(&self) -> Arc<LiveIdentity> {
        let chain = self.svid.cert_chain().iter();
        let chain: Vec<Arc<[u8]>> = chain.map(|der| der.as_bytes().into()).collect();
        let live = LiveIdentity::empty();
        let key = PrivateKeyDer::new(self.svid.private_key().as_bytes());
        live.set(&chain, &key).unwrap();
        live
    }

    fn bundles(&self) -> Arc<LiveBundles> {
        let live = LiveBundles::empty();
        live.set(Arc::new(self.bundle.clone()));
        live
    }

    /// A token of this workload's, checked by another's agent.
    async fn token_is_accepted_by(&self, other: &Self) {
        let token = self.api.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
        // Stock agents poll: the key may be on its way.
        let wait = async {
            while other
                .api
                .validate_jwt_token(AUDIENCE, token.token())
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let accepted = tokio::time::timeout(PATIENCE, wait).await;
        accepted.expect("the token was not accepted");
    }
}

/// A handshake by mutual TLS, in memory, each side with what its agent gave it.
fn handshake(client: &Workload, server: &Workload) {
    let clock = || channel::Clock::new(bulla_tests::now);
    let required = ClientAuth::Required;
    let config = server_config(server.identity(), server.bundles(), required, clock());
    let mut below: Connection = ServerConnection::new(config.unwrap()).unwrap().into();
    let expect = Expect {
        server: server.id(),
        bundles: client.bundles(),
    };
    let config = client_config(Some(client.identity()), expect, clock()).unwrap();
    let name = "spiffe.invalid".try_into().unwrap();
    let mut above: Connection = ClientConnection::new(config, name).unwrap().into();
    for _ in 0..8 {
        pass(&mut above, &mut below);
        pass(&mut below, &mut above);
    }
    assert!(!above.is_handshaking() && !below.is_handshaking());
    assert!(below.peer_certificates().is_some());
}

fn pass(from: &mut Connection, to: &mut Connection) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// Both ways, and tokens from each level at the other.
async fn all_talk(above: &Workload, below: &Workload) {
    assert_eq!(above.bundle, below.bundle, "one root for all");
    handshake(above, below);
    handshake(below, above);
    below.token_is_accepted_by(above).await;
    above.token_is_accepted_by(below).await;
}

fn keys(domain: &Domain) -> Value {
    domain.admin(["keys", "status", "--json"]).ok().json()
}

/// The root to which the key that signs leads.
fn root_of_signing(domain: &Domain) -> Option<String> {
    let keys = keys(domain);
    let mut keys = keys["keys"].as_array()?.iter();
    let active = keys.find(|key| key["profile"] == "x509" && key["state"] == "active")?;
    Some(active["upstream_root"].as_str()?.to_owned())
}

#[tokio::test]
async fn ours_below_ours_survives_a_loss_and_follows_a_taint() {
    let mut root = Domain::start_with(Settings {
        server: PROMPT.to_owned(),
        ..Settings::default()
    });
    root.register("/nested", ["--downstream"]);
    root.register("/above", []);
    root.await_svid("/above");
    let lower = nested(root.port(), &root.workload_socket());
    lower.register("/below", []);
    let above = Workload::at(&root.workload_socket(), "/above").await;
    let below = Workload::at(&lower.workload_socket(), "/below").await;
    assert_eq!(below.svid.cert_chain().len(), 2);
    all_talk(&above, &below).await;
    assert_eq!(
        root.audit("downstream_ca").len(),
        1,
        "it is on record above"
    );

    root.server.take().unwrap().kill();
    let lost = eventually("the loss is told", || {
        let upstream = keys(&lower)["upstream"].clone();
        (upstream["problem"] != "").then_some(upstream)
    });
    assert_eq!(lost["kind"], "workload_api");
    lower.register("/meanwhile", []);
    lower.await_svid("/meanwhile");
    root.start_server();
    eventually("the upstream is back", || {
        (keys(&lower)["upstream"]["problem"] == "").then_some(())
    });

    // A leaked root: its taint above has the lower server and its workloads move on.
    let old = root_of_signing(&lower).unwrap();
    let _ = root.admin(["keys", "rotate", "--only", "x509"]).ok();
    let _ = root.admin(["keys", "taint", "x509", &old]).ok();
    eventually("an intermediate below the new root signs", || {
        root_of_signing(&lower).filter(|root| *root != old)
    });
    let before = below.svid.leaf().as_bytes().to_vec();
    let renewed = async {
        loop {
            let below = Workload::at(&lower.workload_socket(), "/below").await;
            if below.svid.leaf().as_bytes() != before {
                return below;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let below = tokio::time::timeout(PATIENCE, renewed).await.unwrap();
    let above = Workload::at(&root.workload_socket(), "/above").await;
    handshake(&above, &below);
    handshake(&below, &above);
}

#[tokio::test]
async fn ours_below_spires() {
    let root = StockServer::start();
    let shown = cli(&root.socket(), ["bundle", "show"]).ok().out;
    let made = token(&root.socket());
    let agent = StockAgent::start(root.port, &shown, &Proof::Token(&made));
    let register = |path: &str, more: &[&str]| {
        let uid = format!("unix:uid:{}", nix::unistd::getuid());
        let (id, node) = (id(path), id("/node"));
        let mut args = vec!["entry", "create", "-spiffeID", &id, "-parentID", &node];
        args.extend(["-selector", &uid]);
        args.extend(more);
        let _ = cli(&root.socket(), args).ok();
    };
    register("/nested", &["-downstream"]);
    register("/above", &[]);
    agent.await_svid(&id("/nested"), |_| true).await;
    let lower = nested(root.port, &agent.socket());
    lower.register("/below", []);
    let above = Workload::at(&agent.socket(), "/above").await;
    let below = Workload::at(&lower.workload_socket(), "/below").await;
    all_talk(&above, &below).await;
    assert_eq!(keys(&lower)["upstream"]["problem"], "");
}

#[tokio::test]
async fn spires_below_ours() {
    let root = Domain::start();
    root.register("/nested", ["--downstream"]);
    root.register("/above", []);
    root.await_svid("/above");
    let lower = StockServer::start_below(&format!(
        "UpstreamAuthority \"spire\" {{ plugin_data {{
            server_address = \"127.0.0.1\"
            server_port = \"{}\"
            workload_api_socket = {:?}
        }} }}",
        root.port(),
        root.workload_socket()
    ));
    let made = token(&lower.socket());
    let agent = StockAgent::start(lower.port, &bundle_pem(&root), &Proof::Token(&made));
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let (below_id, node) = (id("/below"), id("/node"));
    let flags = [
        "-spiffeID",
        &below_id,
        "-parentID",
        &node,
        "-selector",
        &uid,
    ];
    let args = ["entry", "create"].into_iter().chain(flags);
    let _ = cli(&lower.socket(), args).ok();
    let above = Workload::at(&root.workload_socket(), "/above").await;
    let below = Workload::at(&agent.socket(), "/below").await;
    assert_eq!(below.svid.cert_chain().len(), 2, "{}", lower.output());
    all_talk(&above, &below).await;
}
