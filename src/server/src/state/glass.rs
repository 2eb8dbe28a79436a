//! Break-glass as it is stored: how it changes, who may open how much of it, and when
//! what has ended is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use identity::{SpiffeId, Timestamp};
use records::{AuditKind, BreakGlassRecord, key};
use store::{Key, Write};

use super::{Change, Decision, State, stored};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

impl State {
    /// Break-glass of every state, oldest first.
    #[must_use]
    pub(crate) fn break_glass(&self) -> Vec<Arc<BreakGlassRecord>> {
        self.read().glass.values().cloned().collect()
    }

    /// How much break-glass each person has open.
    pub(crate) fn open_break_glass(&self) -> HashMap<String, usize> {
        let now = self.0.clock.now();
        let mut counts = HashMap::new();
        for glass in self.read().glass.values() {
            if now < glass.ends_at {
                *counts.entry(glass.requester.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// The approved break-glass of a workload that is in force.
    #[must_use]
    pub(crate) fn glass_in_force(
        &self,
        spiffe_id: &SpiffeId,
        now: Timestamp,
    ) -> Option<Arc<BreakGlassRecord>> {
        let view = self.read();
        let mut all = view.glass.values();
        all.find(|g| g.spiffe_id == *spiffe_id && g.approver.is_some() && now < g.ends_at)
            .cloned()
    }

    /// Stores break-glass as it is now; `before` is what it was, `None` for a new one.
    /// What ended long ago goes in the same commit, and when too much is kept, more of
    /// what has ended.
    ///
    /// # Errors
    /// The requester has too much of it open, it was changed at the same time, or the
    /// store or journal failed.
    pub(crate) async fn put_break_glass(
        &self,
        caller: &Caller,
        before: Option<&BreakGlassRecord>,
        now_is: &BreakGlassRecord,
        what: &str,
    ) -> Result<(), Failure> {
        let td = &self.0.trust_domain;
        let _sets = self.hold_sets().await?;
        let now = self.0.clock.now();
        let kept = self.break_glass();
        if before.is_none() {
            may_open(&kept, &now_is.requester, now)?;
        }
        let (key, put) = stored::put_glass(td, now_is).map_err(Failure::invalid)?;
        let old: Vec<Key> = ended(&kept, now)
            .filter(|g| g.id != now_is.id)
            .map(|g| key::break_glass(td, &g.id).into())
            .collect();
        let keys = old.iter().cloned().chain([Arc::clone(&key)]);
        let decided = self.decide(caller, keys.collect(), |rows| {
            if rows.read(&key, records::decode_break_glass)?.as_ref() != before {
                return Err(Failure::unavailable(
                    "this break-glass was changed at the same time; look again",
                ));
            }
            let detail = format!("{what} {} until {}", now_is.id, now_is.ends_at.0);
            let mut record = self.0.audit.record(AuditKind::BreakGlass, caller);
            record.for_whom = now_is.spiffe_id.as_str();
            record.reason = &now_is.ticket;
            record.detail = &detail;
            let mut writes = vec![put.clone()];
            writes.extend(old.iter().cloned().map(Write::Delete));
            let change = Change {
                drafts: vec![self.0.audit.draft(&record)?],
                writes,
                ..Change::default()
            };
            Ok(Decision::Change(change, ()))
        });
        decided.await?;
        Ok(())
    }
}

/// Whether somebody may open more break-glass. Only what is open counts: what has
/// ended is in nobody's way.
fn may_open(kept: &[Arc<BreakGlassRecord>], who: &str, now: Timestamp) -> Result<(), Failure> {
    let open = kept.iter().filter(|glass| now < glass.ends_at);
    let (own, all) = open.fold((0, 0), |(own, all), glass| {
        (own + usize::from(glass.requester == who), all + 1)
    });
    if own >= limits::MAX_OPEN_GLASS_EACH {
        let text = format!("{who} has {own} break-glass open, the most allowed; end some first");
        return Err(Failure::new(Kind::Exhausted, text));
    }
    if all >= limits::MAX_OPEN_GLASS {
        let text = format!("{all} break-glass are open, the most allowed; end some first");
        return Err(Failure::new(Kind::Exhausted, text));
    }
    Ok(())
}

/// Break-glass to be forgotten: what ended long ago and, beyond the most that is kept,
/// what has ended at all, the oldest first.
fn ended(
    kept: &[Arc<BreakGlassRecord>],
    now: Timestamp,
) -> impl Iterator<Item = &Arc<BreakGlassRecord>> {
    let horizon = now.minus(limits::GLASS_KEPT);
    let mut surplus = (kept.len() + 1).saturating_sub(limits::MAX_BREAK_GLASS);
    let gone = kept.iter().filter(move |glass| {
        let goes = glass.ends_at < horizon || (surplus > 0 && glass.ends_at <= now);
        surplus = surplus.saturating_sub(usize::from(goes));
        goes
    });
    gone.take(limits::MAX_BATCH)
}

#[cfg(test)]
mod tests {
    use identity::Seconds;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn glass(n: i64, who: &str, ends_at: Timestamp) -> Arc<BreakGlassRecord> {
        Arc::new(BreakGlassRecord {
            id: format!("bg_{n:012x}"),
            spiffe_id: SpiffeId::parse("spiffe://example.org/payments").unwrap(),
            ticket: "OPS-1".into(),
            requester: who.into(),
            requester_node: None,
            approver: None,
            approver_node: None,
            lasts: Seconds(60),
            opened_at: NOW,
            ends_at,
        })
    }

    #[test]
    fn s11_only_what_is_open_counts_and_each_person_has_a_share() {
        let later = Timestamp(NOW.0 + 1);
        let over: Vec<_> = (0..2_000).map(|n| glass(n, "uid:1", NOW)).collect();
        assert_eq!(may_open(&over, "uid:1", NOW), Ok(()));
        let most = limits::MAX_OPEN_GLASS_EACH as i64;
        let own: Vec<_> = (0..most).map(|n| glass(n, "uid:1", later)).collect();
        let refused = may_open(&own, "uid:1", NOW).unwrap_err();
        assert_eq!(refused.kind(), Kind::Exhausted);
        assert_eq!(may_open(&own, "uid:2", NOW), Ok(()));
        let all = (0..limits::MAX_OPEN_GLASS as i64)
            .map(|n| glass(n, &format!("uid:{}", 10 + n / 10), later))
            .collect::<Vec<_>>();
        assert!(may_open(&all, "uid:2", NOW).is_err());
    }

    #[test]
    fn what_is_open_is_never_forgotten() {
        let later = Timestamp(NOW.0 + 1);
        let long_ago = Timestamp(NOW.0 - i64::from(limits::GLASS_KEPT.0) - 1);
        let kept = [
            glass(1, "a", later),
            glass(2, "a", NOW),
            glass(3, "a", long_ago),
        ];
        let gone: Vec<_> = ended(&kept, NOW).map(|g| g.id.as_str()).collect();
        assert_eq!(gone, ["bg_000000000003"]);
        let full: Vec<_> = (0..limits::MAX_BREAK_GLASS as i64 + 5)
            .map(|n| glass(n, "a", if n % 2 == 0 { later } else { NOW }))
            .collect();
        let gone: Vec<_> = ended(&full, NOW).collect();
        assert_eq!(gone.len(), 6, "room for one more");
        assert!(gone.iter().all(|g| g.ends_at == NOW));
    }
}
