//! `bulla.server.v1.Info`: what this server is and how it is doing; and SPIRE's
//! `Debug.GetInfo`, which says some of the same.

use std::sync::Arc;

use api::convert::id_to_wire;
use api::debug::debug_server::Debug as DebugRpc;
use api::debug::{GetInfoRequest, GetInfoResponse, get_info_response};
use api::info::info_server::Info as InfoRpc;
use api::info::{GetRequest, GetResponse, Key};
use records::AuthorityProfile;
use tonic::{Request, Response, Status};

use crate::authorities::KeyStatus;
use crate::config::StoreEngine;
use crate::server::Server;

/// Both services.
#[derive(Clone)]
pub(super) struct InfoService {
    server: Arc<Server>,
}

impl InfoService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

/// SHA-256 of the X.509 authorities an agent may be pinned to: those that sign or
/// will, the active one first.
fn pins(keys: &[KeyStatus]) -> Vec<String> {
    let good = keys.iter().filter(|key| !key.tainted);
    let (active, others): (Vec<&KeyStatus>, Vec<&KeyStatus>) = good
        .filter(|key| matches!(key.state, "active" | "published"))
        .partition(|key| key.state == "active");
    let pinned = active
        .into_iter()
        .chain(others)
        .filter_map(|key| key.certificate_sha256);
    let mut pins: Vec<String> = Vec::new();
    for pin in pinned.map(hex::encode) {
        // Below an upstream several keys lead to one root.
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }
    pins
}

const fn store_name(engine: StoreEngine) -> &'static str {
    match engine {
        StoreEngine::Sled => "sled",
        StoreEngine::Memory => "memory",
    }
}

fn key(status: &KeyStatus) -> Key {
    Key {
        profile: status.profile.as_str().to_owned(),
        id: status.id.clone(),
        state: status.state.to_owned(),
        not_after: status.not_after.0,
        protection: status.protection.name().to_owned(),
        key_type: status.key_type.to_owned(),
        tainted: status.tainted,
        sha256: status
            .certificate_sha256
            .map(hex::encode)
            .unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl InfoRpc for InfoService {
    async fn get(&self, _request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let server = &self.server;
        let keys = server.authorities.status();
        let counts = server.state.registry().counts();
        let own = server
            .state
            .registry()
            .bundle(server.state.trust_domain())
            .cloned();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Response::new(GetResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trust_domain: server.state.trust_domain().as_str().to_owned(),
            address: server.advertised().to_owned(),
            bundle_sha256: pins(&keys),
            keys: keys.iter().map(key).collect(),
            bundle_sequence: own.as_ref().map_or(0, |bundle| bundle.sequence),
            agents: count(counts.nodes),
            entries: count(counts.entries),
            federated_bundles: count(counts.bundles.saturating_sub(usize::from(own.is_some()))),
            followers: count(server.state.subscriber_count()),
            started_at: server.started_at.0,
            store: store_name(server.settings.store).to_owned(),
            journal_seq: server.audit.head().seq,
            max_x509_svid_ttl: server.settings.max_x509_ttl.0,
            max_jwt_svid_ttl: server.settings.max_jwt_ttl.0,
        }))
    }
}

#[tonic::async_trait]
impl DebugRpc for InfoService {
    async fn get_info(
        &self,
        _request: Request<GetInfoRequest>,
    ) -> Result<Response<GetInfoResponse>, Status> {
        let server = &self.server;
        let counts = server.state.registry().counts();
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let keys = server.authorities.status();
        let active = keys
            .iter()
            .find(|key| key.profile == AuthorityProfile::X509 && key.state == "active");
        let authority = active.map(|key| get_info_response::Cert {
            id: Some(id_to_wire(&server.state.trust_domain().id())),
            expires_at: key.not_after.0,
            subject: String::new(),
        });
        Ok(Response::new(GetInfoResponse {
            svid_chain: authority.into_iter().collect(),
            uptime: i32::try_from(server.clock.now().since(server.started_at).0)
                .unwrap_or(i32::MAX),
            agents_count: count(counts.nodes),
            federated_bundles_count: count(counts.bundles),
            entries_count: count(counts.entries),
        }))
    }
}
