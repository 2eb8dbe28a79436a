//! Which X.509-SVIDs are to be asked for, and when.

use std::sync::Arc;

use identity::{Entry, EntryId, Seconds, Timestamp};

use crate::held::{AT_ONCE, Held, PREFETCH};
use crate::{Cache, Effects, Issued, Jitter};

impl Cache {
    /// When the next SVID is due; in the past when it is due now. `None`: nothing
    /// is wanted.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.schedule.first().map(|(at, _)| *at)
    }

    /// Takes up to `limit` entries whose SVIDs are due, those that workloads wait
    /// for first. They count as in flight: answer each with
    /// [`Cache::store_x509`] or [`Cache::fail_x509`], or they are due again after
    /// [`crate::Limits::in_flight`].
    #[must_use]
    pub fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<Arc<Entry>> {
        let due = self.schedule.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<EntryId> = due.take(limit).map(|(_, id)| id.clone()).collect();
        let again = now.plus(self.limits.in_flight);
        let mut entries = Vec::with_capacity(due.len());
        for id in due {
            if let Some(held) = self.held.get_mut(&id) {
                held.due_at = again;
                entries.push(held.entry.clone());
            }
            self.reschedule(&id);
        }
        entries
    }

    /// Takes over an SVID that was asked for as `asked`, which is what
    /// [`Cache::take_due`] gave or what lay on disk. It is dropped when it has
    /// expired, or when its entry is gone or gives another SPIFFE ID by now.
    pub fn store_x509(
        &mut self,
        asked: &Entry,
        issued: Arc<Issued>,
        jitter: Jitter,
        now: Timestamp,
    ) -> Effects {
        let fits = |held: &&mut Held| {
            held.entry.spiffe_id == issued.svid.spiffe_id
                && issued.svid.not_after > now
                && !self.barred.contains(&issued.svid.spiffe_id)
        };
        if let Some(held) = self.held.get_mut(&asked.id).filter(fits) {
            held.accept(issued, asked, jitter);
            self.views.touch(&held.entry.selectors);
            self.note_expiry_of(&asked.id);
            self.reschedule(&asked.id);
        }
        self.settle(now, Effects::default())
    }

    /// Notes that an issuance failed. The next attempt comes after a pause that
    /// grows; views no longer wait for this SVID.
    pub fn fail_x509(&mut self, id: &EntryId, jitter: Jitter, now: Timestamp) -> Effects {
        if let Some(held) = self.held.get_mut(id) {
            held.fail(&self.limits, jitter, now);
            self.views.touch(&held.entry.selectors);
            self.reschedule(id);
        }
        self.settle(now, Effects::default())
    }

    /// Drops what has expired. Call it when time has passed; cheap when nothing
    /// expired since.
    pub fn tick(&mut self, now: Timestamp) -> Effects {
        self.expire(now);
        self.settle(now, Effects::default())
    }

    /// Makes all SVIDs due within `spread`, evenly: an authority is not to be
    /// relied on any more. Those in hand are served until they are replaced.
    pub fn renew_all(&mut self, now: Timestamp, spread: Seconds) -> Effects {
        let wanted = self
            .held
            .values_mut()
            .filter(|h| h.issued.is_some() && h.is_wanted());
        let count = i64::try_from(wanted.count()).unwrap_or(i64::MAX).max(1);
        let ids: Vec<EntryId> = self.held.keys().cloned().collect();
        let mut turn = 0;
        for id in ids {
            if let Some(held) = self
                .held
                .get_mut(&id)
                .filter(|h| h.issued.is_some() && h.is_wanted())
            {
                let wait = i64::from(spread.0).saturating_mul(turn) / count;
                held.due_at = held
                    .due_at
                    .min(now.plus(Seconds(u32::try_from(wait).unwrap_or(spread.0))));
                turn += 1;
            }
            self.reschedule(&id);
        }
        self.settle(now, Effects::default())
    }

    /// Makes every SVID due now that is not to be relied on any more, according to
    /// `suspect`. Those that somebody wants are served until they are replaced; the
    /// others are dropped. Gives the entries that wait for their replacement.
    pub fn renew_suspects(
        &mut self,
        suspect: impl Fn(&Issued) -> bool,
        now: Timestamp,
    ) -> (Vec<EntryId>, Effects) {
        let mut waiting = Vec::new();
        let mut ids = Vec::new();
        for (id, held) in &mut self.held {
            if !held.issued.as_deref().is_some_and(&suspect) {
                continue;
            }
            if held.is_wanted() {
                held.due_at = AT_ONCE;
                held.failures = 0;
                waiting.push(id.clone());
            } else {
                held.issued = None;
                self.views.touch(&held.entry.selectors);
            }
            ids.push(id.clone());
        }
        ids.iter().for_each(|id| self.reschedule(id));
        (waiting, self.settle(now, Effects::default()))
    }

    /// Makes the SVID of one entry due after `pause`, however young it is.
    pub fn renew_after(&mut self, id: &EntryId, pause: Seconds, now: Timestamp) -> Effects {
        if let Some(held) = self.held.get_mut(id) {
            held.due_at = held.due_at.min(now.plus(pause));
        }
        self.reschedule(id);
        self.settle(now, Effects::default())
    }

    /// Makes everything due whose last issuance failed: the server is back, and
    /// nobody should sit out a pause that grew while it was away.
    pub fn retry_failed(&mut self, now: Timestamp) -> Effects {
        let failed = self.held.iter_mut().filter(|(_, held)| held.failures > 0);
        let ids: Vec<EntryId> = failed
            .map(|(id, held)| {
                held.due_at = held.due_at.min(now);
                id.clone()
            })
            .collect();
        ids.iter().for_each(|id| self.reschedule(id));
        self.settle(now, Effects::default())
    }

    pub(crate) fn expire(&mut self, now: Timestamp) {
        if now < self.next_expiry {
            return;
        }
        let mut next = Timestamp::MAX;
        let mut lapsed = Vec::new();
        for (id, held) in &mut self.held {
            if held
                .issued
                .as_ref()
                .is_some_and(|i| i.svid.not_after <= now)
            {
                held.issued = None;
                self.views.touch(&held.entry.selectors);
            }
            if !held.lapsed && held.entry.is_expired(now) {
                held.lapsed = true;
                self.views.touch(&held.entry.selectors);
                lapsed.push(id.clone());
            }
            next = next.min(held.next_expiry());
        }
        self.next_expiry = next;
        lapsed.iter().for_each(|id| self.reschedule(id));
    }

    pub(crate) fn note_expiry_of(&mut self, id: &EntryId) {
        if let Some(held) = self.held.get(id) {
            self.next_expiry = self.next_expiry.min(held.next_expiry());
        }
    }

    /// Keeps ready what nobody asks for yet, up to the limit.
    pub(crate) fn prefetch(&mut self) {
        let mut room = self.limits.max_prefetched.saturating_sub(self.prefetched);
        if room == 0 {
            return;
        }
        let mut chosen = Vec::new();
        for (id, held) in &mut self.held {
            if room == 0 {
                break;
            }
            if !held.prefetched && held.may_be_prefetched() {
                held.prefetched = true;
                room -= 1;
                chosen.push(id.clone());
            }
        }
        self.prefetched += chosen.len();
        chosen.iter().for_each(|id| self.reschedule(id));
    }

    /// A view opened or closed that the entry is in.
    pub(crate) fn watch(&mut self, id: &EntryId, opened: bool) {
        if let Some(held) = self.held.get_mut(id) {
            held.watchers = if opened {
                held.watchers + 1
            } else {
                held.watchers.saturating_sub(1)
            };
            // A workload waits: before everything that was only prefetched.
            if opened && held.issued.is_none() && held.failures == 0 && held.due_at == PREFETCH {
                held.due_at = AT_ONCE;
            }
            self.reschedule(id);
        }
    }

    /// Brings the schedule in line with the entry.
    pub(crate) fn reschedule(&mut self, id: &EntryId) {
        let Some(held) = self.held.get_mut(id) else {
            return;
        };
        let is_barred = self.barred.contains(&held.entry.spiffe_id);
        let wanted = (held.is_wanted() && !is_barred).then_some(held.due_at);
        if wanted == held.scheduled {
            return;
        }
        if let Some(at) = held.scheduled {
            self.schedule.remove(&(at, id.clone()));
        }
        if let Some(at) = wanted {
            self.schedule.insert((at, id.clone()));
        }
        held.scheduled = wanted;
    }

    /// Whether the earliest renewal moved since this was last asked.
    pub(crate) fn take_schedule_moved(&mut self) -> bool {
        let due = self.next_due();
        std::mem::replace(&mut self.reported_due, due) != due
    }
}
