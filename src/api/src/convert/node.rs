//! Attested nodes, which SPIRE's API calls agents.

use identity::{CertificateSerial, Node};

use super::id::{id_to_wire, selectors_to_wire};
use crate::types::{self, AgentMask};

/// The wire form of a node: its id and the fields the mask names (all without a
/// mask).
#[must_use]
pub fn node_to_wire(node: &Node, mask: Option<&AgentMask>) -> types::Agent {
    let every_field = AgentMask {
        attestation_type: true,
        x509svid_serial_number: true,
        x509svid_expires_at: true,
        selectors: true,
        banned: true,
        can_reattest: true,
        agent_version: true,
    };
    let mask = mask.unwrap_or(&every_field);
    let mut wire = types::Agent {
        id: Some(id_to_wire(&node.id)),
        ..Default::default()
    };
    if mask.attestation_type {
        wire.attestation_type.clone_from(&node.attestor);
    }
    if mask.x509svid_serial_number {
        wire.x509svid_serial_number = serial_decimal(&node.serial);
    }
    if mask.x509svid_expires_at {
        wire.x509svid_expires_at = node.expires_at.0;
    }
    if mask.selectors {
        wire.selectors = selectors_to_wire(&node.selectors);
    }
    wire.banned = mask.banned && node.banned;
    wire.can_reattest = mask.can_reattest && node.can_reattest;
    if mask.agent_version {
        wire.agent_version.clone_from(&node.agent_version);
    }
    wire
}

/// A serial number in decimal, as SPIRE's tools print it.
#[must_use]
pub fn serial_decimal(serial: &CertificateSerial) -> String {
    let mut number = serial.as_bytes().to_vec();
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest: u16 = 0;
        for byte in &mut number {
            let value = (rest << 8) | u16::from(*byte);
            // At most 9 * 256 + 255, so the quotient by ten fits a byte.
            *byte = u8::try_from(value / 10).unwrap_or(u8::MAX);
            rest = value % 10;
        }
        digits.push(char::from(b'0' + u8::try_from(rest).unwrap_or(0)));
    }
    if digits.is_empty() {
        return "0".into();
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_decimal() {
        for n in [0u128, 1, 9, 10, 255, 256, 1_000_000, u128::MAX] {
            let serial = CertificateSerial::new(&n.to_be_bytes());
            assert_eq!(serial_decimal(&serial), n.to_string());
        }
    }
}
