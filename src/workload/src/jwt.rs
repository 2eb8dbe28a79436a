//! The bounded cache of JWT-SVIDs. One token is for one entry and one list of
//! audiences, exactly as asked: a token for `[a, b]` answers neither `[a]` nor
//! `[b, a]` (Workload API 6.2.1).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use identity::{Bundle, EntryId, JwtSvid, Timestamp};

/// A cached token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtHit {
    /// Less than half of its life has passed: use it.
    Fresh(Arc<JwtSvid>),
    /// More than half has passed: get a new one, and use this one only if the
    /// server cannot be reached.
    Aging(Arc<JwtSvid>),
}

#[derive(Debug)]
struct Cached {
    svid: Arc<JwtSvid>,
    used: u64,
}

#[derive(Debug, Default)]
pub(crate) struct JwtCache {
    by_entry: HashMap<EntryId, HashMap<Box<[String]>, Cached>>,
    /// Least recently used first. Each cached token has one place.
    by_use: BTreeMap<u64, (EntryId, Box<[String]>)>,
    uses: u64,
}

impl JwtCache {
    pub(crate) fn len(&self) -> usize {
        self.by_use.len()
    }

    pub(crate) fn get(
        &mut self,
        id: &EntryId,
        audiences: &[String],
        now: Timestamp,
    ) -> Option<JwtHit> {
        let cached = self.by_entry.get_mut(id)?.get_mut(audiences)?;
        let svid = Arc::clone(&cached.svid);
        if svid.expires_at <= now {
            self.remove(id, audiences);
            return None;
        }
        self.uses += 1;
        let place = self.by_use.remove(&cached.used);
        cached.used = self.uses;
        self.by_use.extend(place.map(|place| (self.uses, place)));
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
        max: usize,
    ) {
        self.remove(id, audiences);
        self.uses += 1;
        let used = self.uses;
        let of_entry = self.by_entry.entry(id.clone()).or_default();
        of_entry.insert(audiences.into(), Cached { svid, used });
        self.by_use.insert(used, (id.clone(), audiences.into()));
        while self.by_use.len() > max {
            let Some((_, (id, audiences))) = self.by_use.pop_first() else {
                return;
            };
            self.forget(&id, &audiences);
        }
    }

    fn remove(&mut self, id: &EntryId, audiences: &[String]) {
        if let Some(cached) = self.forget(id, audiences) {
            self.by_use.remove(&cached.used);
        }
    }

    fn forget(&mut self, id: &EntryId, audiences: &[String]) -> Option<Cached> {
        let of_entry = self.by_entry.get_mut(id)?;
        let cached = of_entry.remove(audiences);
        if of_entry.is_empty() {
            self.by_entry.remove(id);
        }
        cached
    }

    pub(crate) fn remove_entry(&mut self, id: &EntryId) {
        for cached in self.by_entry.remove(id).into_iter().flatten() {
            self.by_use.remove(&cached.1.used);
        }
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
        let by_use = &mut self.by_use;
        self.by_entry.retain(|_, of_entry| {
            of_entry.retain(|_, cached| {
                let keep = !void(&cached.svid);
                if !keep {
                    by_use.remove(&cached.used);
                }
                keep
            });
            !of_entry.is_empty()
        });
    }
}
