//! The identity with which this server calls the one above, and the connection made
//! with it: an agent's Workload API gives the first, mutual TLS makes the second.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use api::workload::X509svidRequest;
use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use channel::{ChannelOptions, Expect, LiveBundles, LiveIdentity, client_config};
use identity::{Bundle, PrivateKeyDer, SpiffeId, Timestamp, TrustDomain, X509AuthorityCertificate};
use keys::der;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::clock::Clock;
use crate::limits;

/// A connection to the server above.
pub(super) struct Session {
    pub(super) channel: Channel,
    /// When the identity is old enough for another.
    pub(super) renew_at: Timestamp,
}

/// An identity as the Workload API gave it.
struct Identity {
    live: Arc<LiveIdentity>,
    bundles: Arc<LiveBundles>,
    not_after: Timestamp,
}

/// Fetches an identity and connects with it.
pub(super) async fn open(
    (socket, wanted): (&Path, Option<&SpiffeId>),
    server: &str,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<Session, String> {
    let at_agent = |why: String| {
        format!(
            "upstream.workload_api.socket {}: {why}; see that an agent of the upstream server runs \
             there and that an entry with `downstream` gives this server's process an identity",
            socket.display()
        )
    };
    let identity = fetch(socket, wanted, trust_domain)
        .await
        .map_err(at_agent)?;
    let now = clock.now();
    let half = identity.not_after.since(now).0 / 2;
    let expect = Expect {
        server: SpiffeId::new(trust_domain, "/spire/server").map_err(|e| e.to_string())?,
        bundles: identity.bundles,
    };
    let time = clock.clone();
    let time = channel::Clock::new(move || time.now());
    let config = client_config(Some(identity.live), expect, time).map_err(|e| e.to_string())?;
    let options = ChannelOptions {
        connect_timeout: limits::UPSTREAM_TIMEOUT,
        call_timeout: Some(limits::UPSTREAM_TIMEOUT),
        ..ChannelOptions::default()
    };
    let connected = channel::tls_channel(server, config, &options).await;
    let channel = connected
        .map_err(|error| format!("upstream.workload_api.server {server}: {}", chain(&error)))?;
    Ok(Session {
        channel,
        renew_at: Timestamp(now.0.saturating_add(i64::from(half))),
    })
}

async fn fetch(
    socket: &Path,
    wanted: Option<&SpiffeId>,
    trust_domain: &TrustDomain,
) -> Result<Identity, String> {
    let options = ChannelOptions {
        connect_timeout: limits::UPSTREAM_TIMEOUT,
        ..ChannelOptions::default()
    };
    let connected = channel::uds_channel(socket, &options).await;
    let mut client = SpiffeWorkloadApiClient::new(connected.map_err(|error| chain(&error))?);
    let mut request = Request::new(X509svidRequest {});
    request
        .metadata_mut()
        .insert("workload.spiffe.io", MetadataValue::from_static("true"));
    let first = async {
        let mut stream = client.fetch_x509svid(request).await?.into_inner();
        stream.message().await
    };
    let answer = tokio::time::timeout(limits::UPSTREAM_TIMEOUT, first).await;
    let answer = answer
        .map_err(|_elapsed| "it gave no answer in time".to_owned())?
        .map_err(|status| status.message().to_owned())?;
    let svids = answer.map(|answer| answer.svids).unwrap_or_default();
    let mut svids = svids.iter();
    let svid = match wanted {
        Some(id) => svids
            .find(|svid| svid.spiffe_id == id.as_str())
            .ok_or_else(|| format!("it did not give {id}"))?,
        None => svids.next().ok_or("it gave no identity")?,
    };
    let id = SpiffeId::parse(&svid.spiffe_id).map_err(|e| e.to_string())?;
    if !id.is_member_of(trust_domain) {
        return Err(format!("it gave {id}, which is not of {trust_domain}"));
    }
    let ders = split(&svid.x509_svid);
    let leaf = ders.first().ok_or("its identity has no certificate")?;
    let leaf = verify::leaf_identity(leaf).map_err(|e| e.to_string())?;
    let live = LiveIdentity::empty();
    live.set(&ders, &PrivateKeyDer::new(&svid.x509_svid_key))
        .map_err(|e| e.to_string())?;
    let mut bundle = Bundle::empty(trust_domain.clone());
    let roots = split(&svid.bundle).into_iter();
    let roots = roots.map(|der| X509AuthorityCertificate {
        der,
        tainted: false,
    });
    bundle.x509_authorities = roots.collect();
    let bundles = LiveBundles::empty();
    bundles.set(Arc::new(bundle));
    Ok(Identity {
        live,
        bundles,
        not_after: leaf.not_after,
    })
}

/// Concatenated DER, taken apart.
fn split(mut bytes: &[u8]) -> Vec<Arc<[u8]>> {
    let mut found = Vec::new();
    while let Some((one, rest)) = der::take_whole(bytes, der::SEQUENCE) {
        found.push(Arc::from(one));
        bytes = rest;
    }
    found
}

/// An error with what is beneath it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}
