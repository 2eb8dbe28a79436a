//! The bounded cache of JWT-SVIDs. One token is for one entry and one list of
//! audiences, exactly as asked: a token for `[a, b]` answers neither `[a]` nor
//! `[b, a]` (Workload API 6.2.1).

use std::sync::Arc;

use identity::{Bundle, EntryId, JwtSvid, Timestamp};

use crate::shares::{Room, Shares};

/// What a cached token costs beside its text and its audiences, in bytes.
const OVERHEAD_BYTES: usize = 512;
/// What one audience costs beside its text.
const AUDIENCE_OVERHEAD_BYTES: usize = 24;

/// A cached token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtHit {
    /// Less than half of its life has passed: use it.
    Fresh(Arc<JwtSvid>),
    /// More than half has passed: use it, and get a new one meanwhile.
    Aging(Arc<JwtSvid>),
}

#[derive(Debug, Default)]
pub(crate) struct JwtCache {
    tokens: Shares<EntryId, Arc<[String]>, Arc<JwtSvid>>,
}

impl JwtCache {
    pub(crate) const fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.tokens.bytes()
    }

    pub(crate) fn get(
        &mut self,
        id: &EntryId,
        audiences: &[String],
        now: Timestamp,
    ) -> Option<JwtHit> {
        let svid = Arc::clone(self.tokens.get(id, audiences)?);
        if svid.expires_at <= now {
            self.tokens.remove(id, audiences);
            return None;
        }
        let life = svid.expires_at.since(svid.issued_at).0;
        let left = svid.expires_at.since(now).0;
        Some(if left > life / 2 {
            JwtHit::Fresh(svid)
        } else {
            JwtHit::Aging(svid)
        })
    }

    pub(crate) fn put(
        &mut self,
        id: &EntryId,
        audiences: &[String],
        svid: Arc<JwtSvid>,
        room: Room,
    ) {
        let of_audiences = audiences.iter().map(|a| a.len() + AUDIENCE_OVERHEAD_BYTES);
        let bytes = OVERHEAD_BYTES + svid.token.len() + of_audiences.sum::<usize>();
        self.tokens.put(id, audiences.into(), svid, bytes, room);
    }

    pub(crate) fn remove_entry(&mut self, id: &EntryId) {
        self.tokens.remove_owner(id);
    }

    /// Drops tokens that the new own bundle no longer vouches for: their key was
    /// tainted, or was in the old bundle and is gone.
    pub(crate) fn distrust(&mut self, old: Option<&Bundle>, new: &Bundle) {
        let in_old = |kid: &str| {
            let mut keys = old.into_iter().flat_map(|b| &b.jwt_authorities);
            keys.any(|k| *k.key_id == *kid)
        };
        let bad = |kid: &str| {
            let key = new.jwt_authorities.iter().find(|k| *k.key_id == *kid);
            key.map_or_else(|| in_old(kid), |key| key.tainted)
        };
        self.drop_void(|svid| bad(&svid.key_id));
    }

    /// Drops tokens that nobody is to use any more.
    pub(crate) fn drop_void(&mut self, void: impl Fn(&JwtSvid) -> bool) {
        self.tokens.retain(|svid| !void(svid));
    }
}
