//! Reaching the server through its admin socket, and turning what it answers
//! into what people and scripts read.

use channel::{ChannelOptions, uds_channel};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::transport::Channel;

use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::utc;
use crate::wire::types;

/// How long an admin call may take before the server counts as unreachable.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to the server's admin socket.
///
/// # Errors
/// Nobody listens there, or the socket may not be opened.
pub(crate) async fn connect(socket: &AdminSocket) -> Result<Channel, Failure> {
    connect_with(socket, Some(CALL_TIMEOUT)).await
}

/// As [`connect`], for streams that last.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_to_stream(socket: &AdminSocket) -> Result<Channel, Failure> {
    connect_with(socket, None).await
}

async fn connect_with(
    socket: &AdminSocket,
    call_timeout: Option<Duration>,
) -> Result<Channel, Failure> {
    let options = ChannelOptions {
        call_timeout,
        ..ChannelOptions::default()
    };
    if let (Some(server), Some(folder)) = (&socket.server, &socket.identity) {
        return crate::network::connect(server, folder, &options).await;
    }
    uds_channel(&socket.path, &options).await.map_err(|error| {
        let cause = root_cause(&error);
        Failure::unreachable(format!(
            "no server answers at {}: {cause}",
            socket.path.display()
        ))
        .next("start one with `bulla server`, or name its socket with --admin-socket")
    })
}

/// The innermost reason of an error.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A SPIFFE ID as the server API carries it.
///
/// # Errors
/// The text is no SPIFFE ID.
pub(crate) fn wire_id(text: &str) -> Result<types::Spiffeid, Failure> {
    let id = identity::SpiffeId::parse(text)
        .map_err(|error| Failure::usage(format!("{text:?} is no SPIFFE ID: {error}")))?;
    Ok(types::Spiffeid {
        trust_domain: id.trust_domain_str().into(),
        path: id.path().into(),
    })
}

/// A selector as the server API carries it.
///
/// # Errors
/// The text is no selector.
pub(crate) fn wire_selector(text: &str) -> Result<types::Selector, Failure> {
    let selector = identity::Selector::parse(text)
        .map_err(|error| Failure::usage(format!("{text:?} is no selector: {error}")))?;
    Ok(types::Selector {
        r#type: selector.kind().into(),
        value: selector.value().into(),
    })
}

/// A SPIFFE ID as text.
#[must_use]
pub(crate) fn id_text(id: Option<&types::Spiffeid>) -> String {
    id.map(|id| format!("spiffe://{}{}", id.trust_domain, id.path))
        .unwrap_or_default()
}

/// Selectors as texts.
#[must_use]
pub(crate) fn selector_texts(selectors: &[types::Selector]) -> Vec<String> {
    selectors
        .iter()
        .map(|s| format!("{}:{}", s.r#type, s.value))
        .collect()
}

/// An entry for people and scripts.
#[must_use]
pub(crate) fn entry_value(entry: &types::Entry) -> Value {
    json!({
        "id": entry.id,
        "spiffe_id": id_text(entry.spiffe_id.as_ref()),
        "parent_id": id_text(entry.parent_id.as_ref()),
        "selectors": selector_texts(&entry.selectors),
        "x509_ttl": entry.x509_svid_ttl,
        "jwt_ttl": entry.jwt_svid_ttl,
        "dns_names": entry.dns_names,
        "federates_with": entry.federates_with,
        "hint": entry.hint,
        "admin": entry.admin,
        "downstream": entry.downstream,
        "expires_at": utc(entry.expires_at),
        "created_at": utc(entry.created_at),
        "revision": entry.revision_number,
    })
}

/// A node for people and scripts.
#[must_use]
pub(crate) fn node_value(node: &types::Agent) -> Value {
    json!({
        "id": id_text(node.id.as_ref()),
        "attestor": node.attestation_type,
        "serial": node.x509svid_serial_number,
        "expires_at": utc(node.x509svid_expires_at),
        "banned": node.banned,
        "can_reattest": node.can_reattest,
        "agent_version": node.agent_version,
        "selectors": selector_texts(&node.selectors),
    })
}

/// Refuses an item of a batch whose status is not OK.
///
/// # Errors
/// The status carries a code other than OK.
pub(crate) fn check_item(status: Option<&types::Status>) -> Result<(), Failure> {
    match status {
        None => Err(Failure::refused("the server answered without a status")),
        Some(status) if status.code == 0 => {
            // It was done, and there is something to know.
            let remark = status.message.strip_prefix("OK; ");
            if let Some(remark) = remark {
                tracing::warn!("{remark}");
            }
            Ok(())
        }
        Some(status) => Err(tonic::Status::new(
            tonic::Code::from_i32(status.code),
            status.message.clone(),
        )
        .into()),
    }
}
