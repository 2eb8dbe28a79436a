//! The store's keys. Each begins with the trust domain, so that one store can
//! never mix two; parts are separated by `/`, which no part contains.

use identity::{EntryId, Revoked, SpiffeId, TrustDomain};

use crate::{AuthorityProfile, TrustOwner};

/// Where all records of a trust domain are: `<td>/`.
#[must_use]
pub fn all(td: &TrustDomain) -> Vec<u8> {
    join(td, &[""])
}

/// A registration entry: `<td>/entry/<id>`.
#[must_use]
pub fn entry(td: &TrustDomain, id: &EntryId) -> Vec<u8> {
    join(td, &["entry", id.as_str()])
}

/// The prefix of all entries.
#[must_use]
pub fn entries(td: &TrustDomain) -> Vec<u8> {
    join(td, &["entry", ""])
}

/// An attested node: `<td>/node/<path of its SPIFFE ID>`. The path holds
/// slashes; it is the last part, so keys stay unambiguous.
#[must_use]
pub fn node(td: &TrustDomain, id: &SpiffeId) -> Vec<u8> {
    join(td, &["node", id.path().trim_start_matches('/')])
}

/// The prefix of all nodes.
#[must_use]
pub fn nodes(td: &TrustDomain) -> Vec<u8> {
    join(td, &["node", ""])
}

/// A join token, by the SHA-256 of the token: `<td>/token/<hex>`. The token
/// itself is nowhere.
#[must_use]
pub fn token(td: &TrustDomain, sha256: &[u8; 32]) -> Vec<u8> {
    join(td, &["token", &hex::encode(sha256)])
}

/// The prefix of all join tokens.
#[must_use]
pub fn tokens(td: &TrustDomain) -> Vec<u8> {
    join(td, &["token", ""])
}

/// A bundle, the own or a federated one: `<td>/bundle/<its trust domain>`.
#[must_use]
pub fn bundle(td: &TrustDomain, of: &TrustDomain) -> Vec<u8> {
    join(td, &["bundle", of.as_str()])
}

/// The prefix of all bundles.
#[must_use]
pub fn bundles(td: &TrustDomain) -> Vec<u8> {
    join(td, &["bundle", ""])
}

/// What is known of the authority above a server: `<td>/upstream/<server number>`.
#[must_use]
pub fn upstream(td: &TrustDomain, server: u8) -> Vec<u8> {
    join(td, &["upstream", &server.to_string()])
}

/// One of the further records of what is known of the authority above a server, for
/// what does not fit into the first: `<td>/upstream/<server number>/<part>`.
#[must_use]
pub fn upstream_part(td: &TrustDomain, server: u8, part: usize) -> Vec<u8> {
    join(td, &["upstream", &server.to_string(), &part.to_string()])
}

/// The authorities in the own bundle that one owner brought: `<td>/trust/<owner>`.
#[must_use]
pub fn trust(td: &TrustDomain, owner: &TrustOwner) -> Vec<u8> {
    join(td, &["trust", &owner.name()])
}

/// The prefix of the authorities of all owners.
#[must_use]
pub fn trusts(td: &TrustDomain) -> Vec<u8> {
    join(td, &["trust", ""])
}

/// The public half of a signing authority: `<td>/authority/<profile>/<id>`.
/// `id` is the authority's: a hex SKI or a JWT key id.
#[must_use]
pub fn authority(td: &TrustDomain, profile: AuthorityProfile, id: &str) -> Vec<u8> {
    join(td, &["authority", profile.as_str(), id])
}

/// The prefix of all authorities.
#[must_use]
pub fn authorities(td: &TrustDomain) -> Vec<u8> {
    join(td, &["authority", ""])
}

/// One chunk of a policy set: `<td>/policy/set-<hex digest>-<index>`.
#[must_use]
pub fn policy_chunk(td: &TrustDomain, digest: &str, index: u32) -> Vec<u8> {
    join(td, &["policy", &format!("set-{digest}-{index:05}")])
}

/// The prefix of all chunks of policy sets.
#[must_use]
pub fn policy_chunks(td: &TrustDomain) -> Vec<u8> {
    join(td, &["policy", "set-"])
}

/// One activation of a policy set: `<td>/policy/history-<number>`.
#[must_use]
pub fn activation(td: &TrustDomain, number: u64) -> Vec<u8> {
    join(td, &["policy", &format!("history-{number:012}")])
}

/// The limits of an entry's tokens: `<td>/limits/<entry>`.
#[must_use]
pub fn token_limits(td: &TrustDomain, entry: &EntryId) -> Vec<u8> {
    join(td, &["limits", entry.as_str()])
}

/// Break-glass: `<td>/glass/<id>`.
#[must_use]
pub fn break_glass(td: &TrustDomain, id: &str) -> Vec<u8> {
    join(td, &["glass", id])
}

/// A revocation: `<td>/revocation/serial/<hex>`, `<td>/revocation/jti/<hex>` or
/// `<td>/revocation/id/<path of the SPIFFE ID>`.
#[must_use]
pub fn revocation(td: &TrustDomain, what: &Revoked) -> Vec<u8> {
    let value = match what {
        Revoked::Serial(serial) => serial.to_string(),
        // Any visible character may be in it, slashes too.
        Revoked::Jti(jti) => hex::encode(jti.as_bytes()),
        Revoked::Id(id) => id.path().trim_start_matches('/').to_owned(),
    };
    join(td, &["revocation", what.kind(), &value])
}

/// The sequence number of the list of all revocations.
#[must_use]
pub fn revocation_sequence(td: &TrustDomain) -> Vec<u8> {
    join(td, &["revocation_list", "sequence"])
}

fn join(td: &TrustDomain, parts: &[&str]) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.extend_from_slice(td.as_str().as_bytes());
    for part in parts {
        key.push(b'/');
        key.extend_from_slice(part.as_bytes());
    }
    key
}
