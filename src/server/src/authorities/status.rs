//! What people and tools are told about signing keys.

use std::sync::Arc;

use authority::rotation::{phase_name, waiting_for};
use identity::Timestamp;
use keys::Protection;
use records::AuthorityProfile;
use ring::digest::{SHA256, digest};

use super::Inner;
use super::rows::Rotor;
use super::upstream_roots::subject_key_id;

/// One signing key, as status output shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyStatus {
    /// What it signs.
    pub profile: AuthorityProfile,
    /// Its id: subject key identifier (hex) or `kid`.
    pub id: String,
    /// prepared, published, active or retired.
    pub state: &'static str,
    /// When it ends: nothing it signs lives longer.
    pub not_after: Timestamp,
    /// How its private half is kept.
    pub protection: Protection,
    /// Its type, such as `ec-p256`.
    pub key_type: &'static str,
    /// Its public half, DER SubjectPublicKeyInfo.
    pub spki: Arc<[u8]>,
    /// Whether it is no longer to be relied on.
    pub tainted: bool,
    /// Whether neither it nor the root above it is tainted.
    pub is_relied_on: bool,
    /// SHA-256 of an X.509 authority's certificate: what agents pin.
    pub certificate_sha256: Option<[u8; 32]>,
    /// The id of the upstream's root that it leads to, when it leads to one.
    pub upstream: Option<String>,
    /// What it waits for before it moves on; empty when for nothing.
    pub waiting: String,
}

impl Inner {
    /// The status of one profile's keys, oldest first.
    pub(super) fn status_of(&self, rotor: &Rotor, now: Timestamp) -> Vec<KeyStatus> {
        let protection = self.parts.keys.protection();
        let keys = rotor.state.keys.iter();
        let status = keys.filter_map(|key| {
            let row = rotor.row(key.slot)?;
            let waits = waiting_for(&rotor.state, key, now, &rotor.policy);
            let waits: Vec<String> = waits.iter().map(|wait| format!("{wait:?}")).collect();
            Some(KeyStatus {
                profile: rotor.profile,
                id: key.id.to_string(),
                state: phase_name(key.phase),
                not_after: key.not_after,
                protection,
                key_type: rotor
                    .signers
                    .get(&key.slot)
                    .map_or("unknown", |s| s.public_key().key_type().name()),
                spki: row.spki.as_slice().into(),
                tainted: key.tainted,
                is_relied_on: !key.tainted && !rotor.is_below_tainted_root(row),
                upstream: (row.chain.len() > 1)
                    .then(|| row.chain.last().map(|der| subject_key_id(der)))
                    .flatten(),
                certificate_sha256: row.chain.last().map(|der| sha256(der)),
                waiting: waits.join(", "),
            })
        });
        status.collect()
    }
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, der).as_ref());
    out
}
