//! One entry of the cache with its X.509-SVID, and when the next one is due.

use std::sync::Arc;

use identity::{Entry, PrivateKeyDer, Seconds, Timestamp, X509Svid};

use crate::Limits;

/// An X.509-SVID with its key, as it came from the server or from disk.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificates.
    pub svid: X509Svid,
    /// The leaf's key.
    pub key: PrivateKeyDer,
    /// When this agent received it: its half life counts from here, since
    /// certificates are backdated.
    pub received_at: Timestamp,
}

impl Issued {
    /// By when its successor is here if all goes well: the end of the window
    /// that renewals are spread over.
    #[must_use]
    pub fn renewed_by(&self) -> Timestamp {
        renew_at(self.received_at, self.svid.not_after, Jitter(u32::MAX))
    }
}

/// Chance from the shell, evenly spread over all values: it keeps agents and
/// entries that started together from asking together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter(pub u32);

impl Jitter {
    /// Jitter that moves nothing: the middle.
    pub const NONE: Self = Self(u32::MAX / 2);

    /// Scales to 0..=`span`.
    fn of(self, span: i64) -> i64 {
        let wide = i128::from(span.max(0)) * i128::from(self.0) / i128::from(u32::MAX);
        i64::try_from(wide).unwrap_or(span)
    }
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) entry: Arc<Entry>,
    pub(crate) issued: Option<Arc<Issued>>,
    /// Kept ready although nobody asks.
    pub(crate) prefetched: bool,
    /// The entry itself has expired: it counts for nothing any more.
    pub(crate) lapsed: bool,
    /// How many open views the entry is in.
    pub(crate) watchers: usize,
    /// When to ask next; meaningful while somebody wants the SVID.
    pub(crate) due_at: Timestamp,
    /// Where it stands in the schedule, if it does.
    pub(crate) scheduled: Option<Timestamp>,
    /// Failed issuances since the last good one.
    pub(crate) failures: u32,
}

/// Due at once: a workload waits.
pub(crate) const AT_ONCE: Timestamp = Timestamp(i64::MIN);
/// Due now, after everything that a workload waits for.
pub(crate) const PREFETCH: Timestamp = Timestamp(i64::MIN + 1);

impl Held {
    pub(crate) fn new(entry: Arc<Entry>, now: Timestamp) -> Self {
        Self {
            lapsed: entry.is_expired(now),
            entry,
            issued: None,
            prefetched: false,
            watchers: 0,
            due_at: PREFETCH,
            scheduled: None,
            failures: 0,
        }
    }

    pub(crate) const fn is_wanted(&self) -> bool {
        !self.lapsed && (self.prefetched || self.watchers > 0)
    }

    pub(crate) fn may_be_prefetched(&self) -> bool {
        !self.entry.disable_x509_prefetch && !self.entry.store_svid
    }

    /// When the next thing here expires.
    pub(crate) fn next_expiry(&self) -> Timestamp {
        let svid = self.issued.as_ref().map(|i| i.svid.not_after);
        let entry = self.entry.expires_at.filter(|_| !self.lapsed);
        let at = |at: Option<Timestamp>| at.unwrap_or(Timestamp::MAX);
        at(svid).min(at(entry))
    }

    /// Whether a view must wait for this SVID: it was never issued, and no
    /// attempt has failed yet. One poison entry must not hold up the others.
    pub(crate) const fn is_awaited(&self) -> bool {
        self.issued.is_none() && self.failures == 0
    }

    /// Takes over a changed entry. An SVID that names another SPIFFE ID goes; one
    /// with other contents is replaced at once but served until then.
    pub(crate) fn replace_entry(&mut self, entry: Arc<Entry>, now: Timestamp) {
        if self.entry.spiffe_id != entry.spiffe_id {
            self.issued = None;
        }
        if !gives_same_certificate(&self.entry, &entry) {
            self.due_at = AT_ONCE;
            self.failures = 0;
        }
        self.lapsed = entry.is_expired(now);
        self.entry = entry;
    }

    /// Takes over an SVID asked for as `asked`. When the entry has changed in
    /// between, the next one is already due or in flight.
    pub(crate) fn accept(&mut self, issued: Arc<Issued>, asked: &Entry, jitter: Jitter) {
        self.failures = 0;
        if gives_same_certificate(&self.entry, asked) {
            self.due_at = renew_at(issued.received_at, issued.svid.not_after, jitter);
        }
        self.issued = Some(issued);
    }

    pub(crate) fn fail(&mut self, limits: &Limits, jitter: Jitter, now: Timestamp) {
        let left = self.issued.as_ref().map(|i| i.svid.not_after.since(now));
        self.due_at = now.plus(pause(self.failures, left, limits, jitter));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Whether both entries lead to the same X.509-SVID, key and dates aside.
pub(crate) fn gives_same_certificate(a: &Entry, b: &Entry) -> bool {
    a.spiffe_id == b.spiffe_id && a.dns_names == b.dns_names && a.x509_ttl == b.x509_ttl
}

/// Half of the lifetime that was left on receipt, give or take a tenth of it.
fn renew_at(received_at: Timestamp, not_after: Timestamp, jitter: Jitter) -> Timestamp {
    let life = i64::from(not_after.since(received_at).0);
    let earliest = life / 2 - life / 10;
    let wait = earliest + jitter.of(life / 5);
    received_at.plus(Seconds(u32::try_from(wait).unwrap_or(u32::MAX)))
}

/// The pause after `failures` earlier failures: doubling from `retry_min` to
/// `retry_max`, its upper half jittered; never more than half of what is left of
/// the SVID in hand, never less than a second.
fn pause(failures: u32, left: Option<Seconds>, limits: &Limits, jitter: Jitter) -> Seconds {
    let (min, max) = (i64::from(limits.retry_min.0), i64::from(limits.retry_max.0));
    let mut pause = (min << failures.min(16)).min(max);
    if let Some(left) = left.filter(|left| left.0 > 0) {
        pause = pause.min(i64::from(left.0) / 2);
    }
    let pause = (pause / 2 + jitter.of(pause - pause / 2)).max(1);
    Seconds(u32::try_from(pause).unwrap_or(u32::MAX))
}
