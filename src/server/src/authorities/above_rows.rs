//! What is known of the authority above, as the store keeps it: the first record holds
//! the roots, further ones what does not fit. However much the authority above
//! publishes, the rotation of this server's own keys goes on.

use std::sync::Arc;

use authority::upstream::{Anchored, Given};
use identity::Bundle;
use records::key;
use store::{Condition, Key, Value, Write};

use super::bundle::Also;
use super::rows::Rotor;
use super::{Authorities, Parts};
use crate::failure::Failure;
use crate::limits;

/// What is kept of what an authority above publishes: the roots that this server's keys
/// lead to come first, then the others as far as there is room for them; and as many
/// JWT keys as the records hold.
pub(super) fn bounded(known: Given, keys: &[Anchored]) -> Given {
    let mut order: Vec<usize> = (0..known.x509.len()).collect();
    let is_needed = |n: &usize| {
        let root = known.x509.get(*n);
        root.is_some_and(|root| keys.iter().any(|key| key.anchor == root.der))
    };
    order.sort_by_key(|n| !is_needed(n));
    let mut room = limits::MAX_UPSTREAM_ROOT_BYTES;
    order.retain(|n| {
        let bytes = known.x509.get(*n).map_or(0, |root| root.der.len());
        let fits = bytes <= room;
        room = room.saturating_sub(if fits { bytes } else { 0 });
        fits
    });
    order.truncate(limits::MAX_UPSTREAM_ROOTS);
    let left_out = known.x509.len().saturating_sub(order.len());
    if left_out > 0 {
        tracing::error!(
            left_out,
            "the authority above publishes more roots than this server keeps; some are left out"
        );
    }
    let roots = known.x509.into_iter().enumerate();
    let x509 = roots.filter(|(n, _)| order.contains(n));
    Given {
        x509: x509.map(|(_, root)| root).collect(),
        jwt: known.jwt,
    }
}

/// The records of what is known: roots in the first, JWT keys filled into the others.
fn split(td: &identity::TrustDomain, known: &Given) -> Vec<Bundle> {
    let mut first = Bundle::empty(td.clone());
    first.x509_authorities.clone_from(&known.x509);
    let mut parts = vec![first];
    let mut room = 0;
    for key in &known.jwt {
        let bytes = key.spki.len() + key.key_id.len() + 32;
        if bytes > room {
            if parts.len() > limits::MAX_UPSTREAM_PARTS {
                tracing::error!(
                    keys = known.jwt.len(),
                    "the authority above publishes more JWT keys than this server keeps; the last are left out"
                );
                break;
            }
            parts.push(Bundle::empty(td.clone()));
            room = limits::UPSTREAM_PART_BYTES;
        }
        if let Some(part) = parts.last_mut() {
            room = room.saturating_sub(bytes);
            part.jwt_authorities.push(key.clone());
        }
    }
    parts
}

fn part_key(parts: &Parts, part: usize) -> Key {
    let (td, server) = (parts.state.trust_domain(), parts.plan.server_number);
    match part {
        0 => key::upstream(td, server).into(),
        part => key::upstream_part(td, server, part).into(),
    }
}

/// What is known of the authority above, from earlier.
pub(super) async fn restore(parts: &Parts, rotor: &mut Rotor) -> Result<(), Failure> {
    let mut known = Given::default();
    for part in 0..=limits::MAX_UPSTREAM_PARTS {
        let key = part_key(parts, part);
        let value = parts.state.store().get(&key).await;
        let Some(value) = value.map_err(Failure::unavailable)? else {
            continue;
        };
        let read = records::decode_bundle(&value)
            .map_err(|error| Failure::internal(format!("{}: {error}", key.escape_ascii())))?;
        known.x509.extend(read.x509_authorities);
        known.jwt.extend(read.jwt_authorities);
        rotor.above.is_stored = true;
    }
    rotor.above.known = known;
    Ok(())
}

impl Authorities {
    /// The writes that make the records say what is known; none where they do.
    pub(super) async fn write_known(
        &self,
        rotor: &mut Rotor,
        known: &Given,
    ) -> Result<Also, Failure> {
        let mut also = Also::default();
        if *known == Given::default() && !rotor.above.is_stored {
            return Ok(also);
        }
        rotor.above.is_stored = true;
        let parts = &self.0.parts;
        let wanted = split(parts.state.trust_domain(), known);
        for part in 0..=limits::MAX_UPSTREAM_PARTS {
            let key = part_key(parts, part);
            let before = parts.state.store().get(&key).await;
            let before = before.map_err(Failure::unavailable)?;
            let value = match wanted.get(part) {
                Some(part) => {
                    let value: Value = records::encode_bundle(part)
                        .map_err(Failure::invalid)?
                        .into();
                    Some(value)
                }
                None => None,
            };
            if before == value {
                continue;
            }
            let condition = match before {
                Some(before) => Condition::Equals(Arc::clone(&key), before),
                None => Condition::Absent(Arc::clone(&key)),
            };
            let write = match value {
                Some(value) => Write::Put(key, value),
                None => Write::Delete(key),
            };
            also.add(condition, write);
        }
        Ok(also)
    }
}
