//! SPIRE's `Debug/GetInfo` of an agent, for tools that ask it.

use std::sync::Arc;

use api::agent_debug::{GetInfoResponse, get_info_response::Cert};
use api::convert::id_to_wire;
use bytes::Bytes;
use identity::{Bundle, SpiffeId};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::core::Core;
use crate::hub::{authority_key_id, subject_key_id};
use crate::workload_api::frame;

/// The one method.
pub(super) const GET_INFO: &str = "/spire.agent.debug.v1.Debug/GetInfo";

/// The framed answer of an agent that has run for `uptime` seconds.
pub(super) fn info(core: &Core, uptime: u64) -> Bytes {
    let own = core.own();
    let chain = own.iter().flat_map(|own| &own.svid.chain);
    let mut chain: Vec<Arc<[u8]>> = chain.cloned().collect();
    chain.extend(core.hub.own_bundle().and_then(|own| signer(&chain, &own)));
    // The leaf's ID is the agent's, every other's is that of the trust domain.
    let trust_domain = core.settings.trust_domain.id();
    let leaf = own.as_ref().map(|own| &own.svid.spiffe_id);
    let ids = leaf.into_iter().chain(std::iter::repeat(&trust_domain));
    let certs = chain.iter().zip(ids).filter_map(|(der, id)| cert(der, id));
    let counts = core.hub.counts();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    frame(&GetInfoResponse {
        svid_chain: certs.collect(),
        uptime: i32::try_from(uptime).unwrap_or(i32::MAX),
        svids_count: count(counts.x509_svids),
        last_sync_success: core.hub.current_since().map_or(0, |at| at.0),
        cached_x509_svids_count: count(counts.x509_svids),
        cached_jwt_svids_count: count(counts.jwt_svids),
        cached_svidstore_x509_svids_count: 0,
    })
}

/// The authority that signed the last certificate.
fn signer(chain: &[Arc<[u8]>], bundle: &Bundle) -> Option<Arc<[u8]>> {
    let signer = authority_key_id(chain.last()?)?;
    let mut authorities = bundle.x509_authorities.iter();
    let found = authorities.find(|a| subject_key_id(&a.der).is_some_and(|id| id == signer));
    found.map(|authority| Arc::clone(&authority.der))
}

fn cert(der: &[u8], id: &SpiffeId) -> Option<Cert> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // As SPIRE writes it (RFC 4514): the last part of the name first.
    let subject = certificate.subject().to_string();
    let parts: Vec<&str> = subject.split(", ").collect();
    let parts: Vec<&str> = parts.into_iter().rev().collect();
    Some(Cert {
        id: Some(id_to_wire(id)),
        expires_at: certificate.validity().not_after.timestamp(),
        subject: parts.join(","),
    })
}
