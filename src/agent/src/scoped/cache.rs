//! Tokens in hand. What a token was minted for is its key, so nothing has to be
//! dropped when a certificate, an entry or a policy set changes: the old ones are
//! not found any more, and go when they expire or room is needed. The entry that
//! holds the most gives way first.

use std::sync::Arc;

use api::token::MintResponse;
use identity::{Entry, EntryId, Selectors, Timestamp};
use prost::Message as _;
use ring::digest::{SHA256, digest};
use workload::{Issued, Room, Shares};

use super::Wanted;
use crate::limits::SCOPED_TOKENS_KEPT;

/// What a cached token costs beside its text and its wish, in bytes.
const OVERHEAD_BYTES: usize = 512;

/// What a token was minted for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    entry: EntryId,
    revision: i64,
    /// SHA-256 of the certificate in hand: the pair changes together.
    certificate: [u8; 32],
    /// What was attested of the caller: policies may depend on it.
    selectors: Selectors,
    policy_set: String,
    wish: Arc<str>,
}

impl Key {
    pub(super) fn of(
        entry: &Entry,
        issued: &Issued,
        selectors: &Selectors,
        wanted: &Wanted,
        policy_set: &str,
    ) -> Self {
        Self {
            entry: entry.id.clone(),
            revision: entry.revision,
            certificate: thumbprint(issued),
            selectors: selectors.clone(),
            policy_set: policy_set.to_owned(),
            wish: wanted.wish(),
        }
    }

    pub(super) fn decided_by(mut self, policy_set: &str) -> Self {
        policy_set.clone_into(&mut self.policy_set);
        self
    }
}

/// SHA-256 of an issued leaf certificate: `x5t#S256`.
pub(super) fn thumbprint(issued: &Issued) -> [u8; 32] {
    let leaf = issued.svid.chain.first().map(|der| &**der);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, leaf.unwrap_or_default()).as_ref());
    bytes
}

/// A bounded set of tokens.
pub(super) struct Cache {
    tokens: Shares<EntryId, Key, Arc<MintResponse>>,
    room: Room,
}

impl Cache {
    /// One of at most so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            tokens: Shares::default(),
            room: Room {
                items: SCOPED_TOKENS_KEPT,
                bytes,
            },
        }
    }

    pub(super) fn get(&mut self, key: &Key, now: Timestamp) -> Option<Arc<MintResponse>> {
        let minted = Arc::clone(self.tokens.get(&key.entry, key)?);
        if minted.expires_at <= now.0 {
            self.remove(key);
            return None;
        }
        Some(minted)
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.tokens.remove(&key.entry, key);
    }

    pub(super) fn put(&mut self, key: Key, minted: Arc<MintResponse>) {
        let bytes = OVERHEAD_BYTES + minted.encoded_len() + key.wish.len();
        let entry = key.entry.clone();
        self.tokens.put(&entry, key, minted, bytes, self.room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(entry: &str, n: usize) -> Key {
        Key {
            entry: EntryId::parse(entry).unwrap(),
            revision: 0,
            certificate: [0; 32],
            selectors: selectors("unix:uid:1"),
            policy_set: "sha256:x".into(),
            wish: n.to_string().into(),
        }
    }

    fn selectors(text: &str) -> Selectors {
        Selectors::new(vec![identity::Selector::parse(text).unwrap()]).unwrap()
    }

    fn until(expires_at: i64) -> Arc<MintResponse> {
        Arc::new(MintResponse {
            expires_at,
            ..MintResponse::default()
        })
    }

    #[test]
    fn a9_it_never_holds_more_than_its_bound_and_one_entrys_flood_costs_no_other() {
        let mut cache = Cache::new(100 * OVERHEAD_BYTES);
        cache.put(key("mine", 0), until(100));
        for n in 0..1_000 {
            cache.put(key("flood", n), until(100));
            assert!(cache.tokens.bytes() <= 100 * OVERHEAD_BYTES);
        }
        assert!(cache.get(&key("mine", 0), Timestamp(0)).is_some());
        assert!(cache.get(&key("flood", 0), Timestamp(0)).is_none());
        assert!(cache.get(&key("flood", 999), Timestamp(99)).is_some());
        assert!(cache.get(&key("flood", 999), Timestamp(100)).is_none());
    }

    #[test]
    fn another_certificate_entry_caller_or_policy_set_finds_nothing() {
        let mut cache = Cache::new(1_000_000);
        cache.put(key("e", 1), until(9));
        let mut other = [(); 5].map(|()| key("e", 1));
        other[0].certificate = [1; 32];
        other[1].revision = 1;
        other[2].policy_set = "sha256:y".into();
        other[3].selectors = selectors("unix:uid:2");
        other[4] = key("e", 2);
        for key in other {
            assert!(cache.get(&key, Timestamp(0)).is_none());
        }
    }
}
