//! What was taken back before it expired: SVIDs that are void are replaced or
//! dropped, cached tokens too, and X.509 streams are given the new revocation lists.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use identity::{EntryId, JwtSvid, SpiffeId, Timestamp};

use crate::held::AT_ONCE;
use crate::{Cache, Effects, Issued};

/// A new list of what is revoked.
pub struct Revoke<'a> {
    /// Whether an X.509-SVID is void.
    pub x509: &'a dyn Fn(&Issued) -> bool,
    /// Whether a token is void.
    pub jwt: &'a dyn Fn(&JwtSvid) -> bool,
    /// IDs that are given nothing at all.
    pub barred: BTreeSet<SpiffeId>,
    /// X.509 revocation lists of the own trust domain, DER.
    pub crls: Arc<[Bytes]>,
}

impl Cache {
    /// Takes over a list. Void SVIDs are due at once and served until they are
    /// replaced, those of barred IDs are dropped. Gives the entries that wait for
    /// their replacement.
    pub fn revoke(&mut self, revoke: Revoke<'_>, now: Timestamp) -> (Vec<EntryId>, Effects) {
        let (waiting, first) = self.renew_suspects(revoke.x509, now);
        self.jwt.drop_void(revoke.jwt);
        let before = std::mem::replace(&mut self.barred, revoke.barred);
        let mut moved = Vec::new();
        for (id, held) in &mut self.held {
            let whose = &held.entry.spiffe_id;
            match (before.contains(whose), self.barred.contains(whose)) {
                (_, true) => held.issued = None,
                (true, false) => {
                    held.due_at = AT_ONCE;
                    held.failures = 0;
                }
                (false, false) => continue,
            }
            self.views.touch(&held.entry.selectors);
            moved.push(id.clone());
        }
        moved.iter().for_each(|id| self.reschedule(id));
        if self.trust.crls != revoke.crls {
            self.trust.crls = revoke.crls;
            self.views.touch_all();
        }
        let waiting = waiting.into_iter().filter(|id| !moved.contains(id));
        let waiting = waiting.collect();
        let moved_before = first.reschedule;
        let mut effects = self.settle(now, first);
        effects.reschedule |= moved_before;
        effects.changed.sort_unstable();
        effects.changed.dedup();
        (waiting, effects)
    }
}
