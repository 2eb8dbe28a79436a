//! Tokens in hand. What a token was minted for is its key, so nothing has to be
//! dropped when a certificate, an entry or a policy set changes: the old ones are
//! not found any more, and go when they expire.

use std::collections::HashMap;
use std::sync::Arc;

use api::token::MintResponse;
use identity::{Entry, EntryId, Timestamp};
use ring::digest::{SHA256, digest};
use workload::Issued;

use super::Wanted;
use crate::limits::SCOPED_TOKENS_KEPT;

/// What a token was minted for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    entry: EntryId,
    revision: i64,
    /// SHA-256 of the certificate in hand: the pair changes together.
    certificate: [u8; 32],
    policy_set: String,
    wish: Arc<str>,
}

impl Key {
    pub(super) fn of(entry: &Entry, issued: &Issued, wanted: &Wanted, policy_set: &str) -> Self {
        Self {
            entry: entry.id.clone(),
            revision: entry.revision,
            certificate: thumbprint(issued),
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
#[derive(Default)]
pub(super) struct Cache {
    tokens: HashMap<Key, Arc<MintResponse>>,
}

impl Cache {
    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Option<Arc<MintResponse>> {
        let minted = self.tokens.get(key)?;
        (minted.expires_at > now.0).then(|| Arc::clone(minted))
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.tokens.remove(key);
    }

    /// Keeps a token. When there are too many, those that expired go, then the one
    /// that would have been the next to expire.
    pub(super) fn put(&mut self, key: Key, minted: Arc<MintResponse>, now: Timestamp) {
        if self.tokens.len() >= SCOPED_TOKENS_KEPT {
            self.tokens.retain(|_, kept| kept.expires_at > now.0);
        }
        if self.tokens.len() >= SCOPED_TOKENS_KEPT {
            let first = self.tokens.iter().min_by_key(|(_, kept)| kept.expires_at);
            if let Some(key) = first.map(|(key, _)| key.clone()) {
                self.tokens.remove(&key);
            }
        }
        self.tokens.insert(key, minted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key {
            entry: EntryId::parse("e").unwrap(),
            revision: 0,
            certificate: [0; 32],
            policy_set: "sha256:x".into(),
            wish: n.to_string().into(),
        }
    }

    fn until(expires_at: i64) -> Arc<MintResponse> {
        Arc::new(MintResponse {
            expires_at,
            ..MintResponse::default()
        })
    }

    #[test]
    fn it_never_holds_more_than_its_bound_and_none_that_expired() {
        let mut cache = Cache::default();
        let end = |n: usize| i64::try_from(n).unwrap() + 100;
        for n in 0..SCOPED_TOKENS_KEPT + 5 {
            cache.put(key(n), until(end(n)), Timestamp(0));
        }
        assert_eq!(cache.tokens.len(), SCOPED_TOKENS_KEPT);
        assert!(cache.get(&key(0), Timestamp(0)).is_none());
        assert!(cache.get(&key(10), Timestamp(109)).is_some());
        assert!(cache.get(&key(10), Timestamp(110)).is_none());
    }

    #[test]
    fn another_certificate_entry_or_policy_set_finds_nothing() {
        let mut cache = Cache::default();
        cache.put(key(1), until(9), Timestamp(0));
        let mut other = [key(1), key(1), key(1), key(2)];
        other[0].certificate = [1; 32];
        other[1].revision = 1;
        other[2].policy_set = "sha256:y".into();
        for key in other {
            assert!(cache.get(&key, Timestamp(0)).is_none());
        }
    }
}
