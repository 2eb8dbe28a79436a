//! Reaching the server through its admin socket, and turning what it answers
//! into what people and scripts read.

use channel::{ChannelOptions, uds_channel};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::transport::Channel;

use crate::command::AdminSocket;
use crate::failure::{Failure, advice};
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
        if is_denied(&error) {
            return Failure::unreachable(format!(
                "this user may not use {}: {cause}",
                socket.path.display()
            ))
            .next("a server may well be running: run this as its user or as root");
        }
        Failure::unreachable(format!(
            "no server answers at {}: {cause}",
            socket.path.display()
        ))
        .next(advice(
            &cause,
            "server",
            "start one with `bulla server`, or name its socket with --admin-socket",
        ))
    })
}

/// Whether the system denied access, which is another thing than nobody being there.
pub(crate) fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied)
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
        "serial": hexadecimal(&node.x509svid_serial_number),
        "expires_at": utc(node.x509svid_expires_at),
        "banned": node.banned,
        "can_reattest": node.can_reattest,
        "agent_version": node.agent_version,
        "selectors": selector_texts(&node.selectors),
    })
}

/// A serial number as everything else shows it: in hexadecimal, two digits for each
/// byte. SPIRE's API has it in decimal. What is no number stays as it is.
fn hexadecimal(decimal: &str) -> String {
    // Little-endian bytes; a serial has at most 20.
    let mut bytes: Vec<u8> = Vec::new();
    for digit in decimal.chars() {
        let Some(digit) = digit.to_digit(10) else {
            return decimal.to_owned();
        };
        let mut carry = digit;
        for byte in &mut bytes {
            let value = u32::from(*byte) * 10 + carry;
            [*byte, ..] = value.to_le_bytes();
            carry = value >> 8;
        }
        if carry > 0 {
            let [low, ..] = carry.to_le_bytes();
            bytes.push(low);
        }
        if bytes.len() > 32 {
            return decimal.to_owned();
        }
    }
    bytes.reverse();
    hex::encode(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u7_serials_are_shown_in_one_notation() {
        let largest = "ff".repeat(17);
        for (decimal, hex) in [
            ("255", "ff"),
            ("256", "0100"),
            (
                "87112285931760246646623899502532662132735",
                largest.as_str(),
            ),
            ("", ""),
            ("ab", "ab"),
        ] {
            assert_eq!(hexadecimal(decimal), hex, "{decimal}");
        }
    }
}
