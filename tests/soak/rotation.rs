//! Rotation under load: five hundred signing keys, one after the other, each published
//! and acknowledged before it signs; a pair of mTLS peers and a pair of JWT peers that
//! call all the time, and not one failure. `BULLA_SOAK_ROTATIONS` makes it longer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::keys::ActRequest;
use api::keys::keys_client::KeysClient;
use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use api::workload::{JwtBundlesRequest, JwtsvidRequest, X509svidRequest};
use bulla_tests::{
    Domain, Process, Settings, descriptors, eventually_within, moment, now, resident_kib,
    with_header, workload_client,
};
use channel::{ChannelOptions, ClientAuth, Clock, Expect, LiveBundles, LiveIdentity, uds_channel};
use identity::X509AuthorityCertificate;
use identity::{Bundle, PrivateKeyDer, Seconds, SpiffeId, TrustDomain};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use tonic::transport::Channel;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Keys live ten seconds and leave fifteen after they were made, so that new ones can
/// be made all the time. Agents' acknowledgements are what a new key waits for.
const SHORT_LIVES: &str = "\
[ca]\nttl = \"10s\"\n[jwt]\nttl = \"10s\"\n\
[svid]\nx509_ttl = \"10s\"\njwt_ttl = \"10s\"\nagent_ttl = \"10s\"\n\
[rotation]\nschedule = \"* * * * * *\"\npropagation = \"0s\"\n";

/// X.509 and JWT keys together.
const USUAL_ROTATIONS: usize = 500;
/// How long the next rotation may take, however slow or busy the machine and however
/// many are wanted: an idle one takes a small part of a second.
const PATIENCE: Duration = Duration::from_secs(60);
const AUDIENCE: &str = "peer";

type Client = SpiffeWorkloadApiClient<Channel>;

#[expect(clippy::disallowed_methods, reason = "a test's own length")]
fn rotations_wanted() -> usize {
    let given = std::env::var("BULLA_SOAK_ROTATIONS").ok();
    let wanted = given.and_then(|text| text.parse().ok());
    wanted.unwrap_or(USUAL_ROTATIONS)
}

/// Rotates one kind of key by hand without end: makes and publishes a successor, and
/// lets it sign as soon as the server allows it, which nobody forces.
async fn rotate(
    domain: &Domain,
    profile: &'static str,
    count: Arc<AtomicUsize>,
) -> tokio::task::JoinHandle<()> {
    let options = ChannelOptions::default();
    let channel = uds_channel(&domain.admin_socket(), &options).await.unwrap();
    let mut keys = KeysClient::new(channel);
    let asked = || ActRequest {
        profile: profile.to_owned(),
        ..ActRequest::default()
    };
    tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            // Refused while as many keys as there may be are still needed.
            if keys.prepare(asked()).await.is_err() {
                continue;
            }
            // Refused until every agent has acknowledged the bundle that holds it.
            while keys.activate(asked()).await.is_err() {
                pace.tick().await;
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
}

fn split(mut ders: &[u8]) -> Vec<Arc<[u8]>> {
    let mut found = Vec::new();
    while !ders.is_empty() {
        let (rest, _) = X509Certificate::from_der(ders).unwrap();
        found.push(ders[..ders.len() - rest.len()].into());
        ders = rest;
    }
    found
}

fn trust_domain() -> TrustDomain {
    TrustDomain::parse(Domain::NAME).unwrap()
}

/// One mTLS peer: it has what its own stream last gave it.
struct Peer {
    identity: Arc<LiveIdentity>,
    bundles: Arc<LiveBundles>,
    /// Which authorities it was ever told of.
    authorities: Mutex<BTreeSet<Vec<u8>>>,
}

impl Peer {
    async fn follow(domain: &Domain) -> Arc<Self> {
        let peer = Arc::new(Self {
            identity: LiveIdentity::empty(),
            bundles: LiveBundles::empty(),
            authorities: Mutex::default(),
        });
        let mut client = workload_client(&domain.workload_socket()).await;
        let stream = client.fetch_x509svid(with_header(X509svidRequest {})).await;
        let mut stream = stream.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        peer.take(&first.svids[0]);
        let follower = Arc::clone(&peer);
        tokio::spawn(async move {
            while let Ok(Some(news)) = stream.message().await {
                follower.take(&news.svids[0]);
            }
        });
        peer
    }

    fn take(&self, svid: &api::workload::X509svid) {
        let mut bundle = Bundle::empty(trust_domain());
        let authorities = split(&svid.bundle);
        self.authorities
            .lock()
            .unwrap()
            .extend(authorities.iter().map(|der| der.to_vec()));
        bundle.x509_authorities = authorities
            .into_iter()
            .map(|der| X509AuthorityCertificate {
                der,
                tainted: false,
            })
            .collect();
        self.bundles.set(Arc::new(bundle));
        let key = PrivateKeyDer::new(&svid.x509_svid_key);
        self.identity.set(&split(&svid.x509_svid), &key).unwrap();
    }

    fn listener(&self) -> Arc<ServerConfig> {
        let (identity, bundles) = (Arc::clone(&self.identity), Arc::clone(&self.bundles));
        channel::server_config(identity, bundles, ClientAuth::Required, Clock::new(now)).unwrap()
    }

    fn caller(&self, server: SpiffeId) -> Arc<ClientConfig> {
        let expect = Expect {
            server,
            bundles: Arc::clone(&self.bundles),
        };
        let identity = Some(Arc::clone(&self.identity));
        channel::client_config(identity, expect, Clock::new(now)).unwrap()
    }
}

/// One mutual handshake, both halves in this process.
fn handshake(caller: Arc<ClientConfig>, listener: Arc<ServerConfig>) -> Result<(), rustls::Error> {
    let name = ServerName::try_from("peer").unwrap();
    let mut caller = ClientConnection::new(caller, name)?;
    let mut listener = ServerConnection::new(listener)?;
    while caller.is_handshaking() || listener.is_handshaking() {
        let mut wire = Vec::new();
        caller.write_tls(&mut wire).unwrap();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            listener.read_tls(&mut rest).unwrap();
            listener.process_new_packets()?;
        }
        let mut wire = Vec::new();
        listener.write_tls(&mut wire).unwrap();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            caller.read_tls(&mut rest).unwrap();
            caller.process_new_packets()?;
        }
    }
    Ok(())
}

/// The relying party of the tokens: the keys its own stream last gave it.
async fn follow_jwt_keys(domain: &Domain) -> Arc<Mutex<Arc<Bundle>>> {
    let mut client = workload_client(&domain.workload_socket()).await;
    let stream = client
        .fetch_jwt_bundles(with_header(JwtBundlesRequest {}))
        .await;
    let mut stream = stream.unwrap().into_inner();
    let read = |news: api::workload::JwtBundlesResponse| {
        let (_, keys) = news.bundles.into_iter().next().unwrap();
        // The Workload API leaves the members' use out; the reader wants it.
        let mut keys: serde_json::Value = serde_json::from_slice(&keys).unwrap();
        for key in keys["keys"].as_array_mut().unwrap() {
            key["use"] = "jwt-svid".into();
        }
        let document = keys.to_string();
        let bundle = verify::bundle_format::decode(&trust_domain(), document.as_bytes());
        Arc::new(bundle.unwrap())
    };
    let first = read(stream.message().await.unwrap().unwrap());
    let held = Arc::new(Mutex::new(first));
    let follower = Arc::clone(&held);
    tokio::spawn(async move {
        while let Ok(Some(news)) = stream.message().await {
            *follower.lock().unwrap() = read(news);
        }
    });
    held
}

/// One token, fetched and shown to the relying party; what refuses it.
async fn call(issuing: &mut Client, keys: &Mutex<Arc<Bundle>>) -> Option<verify::JwtFault> {
    let asked = JwtsvidRequest {
        audience: vec![AUDIENCE.to_owned()],
        ..Default::default()
    };
    let answer = issuing.fetch_jwtsvid(with_header(asked)).await;
    let token = answer.unwrap().into_inner().svids.remove(0).svid;
    let bundle = Arc::clone(&keys.lock().unwrap());
    verify::verify_jwt_svid(&token, AUDIENCE, &bundle, now(), Seconds(0)).err()
}

/// A figure of server and of agent.
fn of_both<T>(domain: &Domain, figure: fn(u32) -> T) -> (T, T) {
    let of = |part: &Option<Process>| figure(part.as_ref().unwrap().pid());
    (of(&domain.server), of(&domain.agent))
}

/// Memory of server and agent, half way and at the end.
fn assert_flat(then: (usize, usize), end: (usize, usize)) {
    let flat = |then: usize, end: usize| end <= then + then / 10 + 8_192;
    assert!(
        flat(then.0, end.0) && flat(then.1, end.1),
        "memory grows: {then:?}, {end:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_break_no_handshake_and_no_token() {
    let _turn = super::TURN.lock().await;
    let domain = Domain::start_with(Settings {
        server: SHORT_LIVES.to_owned(),
        ..Settings::default()
    });
    domain.register("/service", []);
    domain.await_svid("/service");
    let id = SpiffeId::parse(&domain.id("/service")).unwrap();
    let (one, other) = (Peer::follow(&domain).await, Peer::follow(&domain).await);
    let keys = follow_jwt_keys(&domain).await;
    let mut issuing = workload_client(&domain.workload_socket()).await;
    let (mut handshakes, mut tokens) = (0_u32, 0_u32);
    let mut key_ids = BTreeSet::new();
    let before = of_both(&domain, descriptors);
    let mut settled = None;
    let rotations = Arc::new(AtomicUsize::new(0));
    let x509 = rotate(&domain, "x509", Arc::clone(&rotations)).await;
    let jwt = rotate(&domain, "jwt", Arc::clone(&rotations)).await;
    let (begun, wanted) = (moment(), rotations_wanted());
    let done = || rotations.load(Ordering::SeqCst);
    let (mut newest, mut since) = (0, begun);
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    while done() < wanted {
        pace.tick().await;
        if done() > newest {
            (newest, since) = (done(), moment());
        }
        let waited = since.elapsed().unwrap_or_default();
        assert!(
            waited < PATIENCE,
            "none for {waited:?} after {newest} rotations"
        );
        for (caller, listener) in [(&one, &other), (&other, &one)] {
            let done = handshake(caller.caller(id.clone()), listener.listener());
            done.unwrap_or_else(|error| panic!("handshake {handshakes}: {error}"));
            handshakes += 1;
        }
        let bundle = Arc::clone(&keys.lock().unwrap());
        let refused = call(&mut issuing, &keys).await;
        assert!(refused.is_none(), "token {tokens}: {refused:?}");
        tokens += 1;
        // Caches and allocators have found their size after a few rotations.
        if settled.is_none() && done() > wanted / 2 {
            settled = Some(of_both(&domain, resident_kib));
        }
        key_ids.extend(bundle.jwt_authorities.iter().map(|key| key.key_id.clone()));
    }
    x509.abort();
    jwt.abort();
    let authorities = one.authorities.lock().unwrap().len();
    println!(
        "{} rotations in {:?}: {handshakes} handshakes, {tokens} tokens; {authorities} X.509 and {} JWT keys seen",
        done(),
        begun.elapsed().unwrap(),
        key_ids.len()
    );
    // What comes between two looks is seen by nobody; most are seen.
    let seen = authorities + key_ids.len();
    assert!(seen > wanted / 2, "{seen} keys were seen");
    let (then, end) = (settled.unwrap(), of_both(&domain, resident_kib));
    println!("resident KiB of server and agent: half way {then:?}, at the end {end:?}");
    assert_flat(then, end);
    // A renewal under way has a connection more for a moment.
    eventually_within(Duration::from_secs(20), "descriptors come back", || {
        let after = of_both(&domain, descriptors);
        (after.0 <= before.0 + 2 && after.1 <= before.1 + 2).then_some(())
    });
}
