//! Who calls: what is known of a process, and what could not be found out.
//!
//! An attestor that does not answer leaves a hole: selectors of its kind may be
//! missing. Selectors only ever add to what a caller has, so whatever it has by the
//! others it would have anyway. What could be another for the hole is withheld: see
//! [`Cache::resolve`].

use std::sync::Arc;

use identity::{Entry, Selectors, Timestamp};

use crate::Cache;
use crate::order::{arrange, svid_order};

/// A caller of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    selectors: Selectors,
    /// Kinds of selectors that could not be found out, sorted.
    unknown: Option<Arc<[&'static str]>>,
}

impl From<&Selectors> for Caller {
    fn from(selectors: &Selectors) -> Self {
        Self {
            selectors: selectors.clone(),
            unknown: None,
        }
    }
}

impl From<&Self> for Caller {
    fn from(caller: &Self) -> Self {
        caller.clone()
    }
}

/// Why a caller is given nothing now: the attestor of this kind does not answer, and
/// what the caller is depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attestor {0} does not answer, and the identity of this process depends on it")]
pub struct Withheld(pub &'static str);

impl Caller {
    /// A caller that has these selectors, and of whom those of the kinds `unknown`
    /// could not be found out.
    #[must_use]
    pub fn new(selectors: Selectors, mut unknown: Vec<&'static str>) -> Self {
        unknown.sort_unstable();
        unknown.dedup();
        Self {
            selectors,
            unknown: (!unknown.is_empty()).then(|| unknown.into()),
        }
    }

    /// What is known of it.
    #[must_use]
    pub const fn selectors(&self) -> &Selectors {
        &self.selectors
    }

    /// Whether something could not be found out.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.unknown.is_some()
    }

    fn unknown(&self) -> &[&'static str] {
        self.unknown.as_deref().unwrap_or_default()
    }

    /// The kind on which it depends whether the caller meets these conditions; `None`
    /// when it meets them, or does not, whatever is unknown.
    pub(crate) fn depends(&self, conditions: &Selectors) -> Option<&'static str> {
        let unknown = self.unknown();
        let mut on = None;
        for condition in conditions {
            if self.selectors.contains(condition) {
                continue;
            }
            let kind = unknown.iter().find(|kind| **kind == condition.kind())?;
            on = on.or(Some(*kind));
        }
        on
    }
}

impl Cache {
    /// The entries that a caller has for certain, in the order they are delivered in,
    /// each hint once.
    ///
    /// With something unknown these are the entries whose selectors it all has, if
    /// that is what it would be given first anyway:
    ///
    /// - An entry that the caller may or may not have, and that would come before all
    ///   of them, would be another default identity. Then nothing is given.
    /// - An entry that such a one may displace, having the same hint, is left out.
    /// - Whoever has no entry for certain, but may have one, is told to come again.
    ///
    /// # Errors
    /// [`Withheld`] names an attestor on which it depends.
    pub fn resolve(&self, caller: &Caller, now: Timestamp) -> Result<Vec<Arc<Entry>>, Withheld> {
        self.resolve_among(caller, now, |_| true)
    }

    /// As [`Cache::resolve`], as if there were only these entries.
    ///
    /// # Errors
    /// As there.
    pub fn resolve_among(
        &self,
        caller: &Caller,
        now: Timestamp,
        among: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Arc<Entry>>, Withheld> {
        // Before a hint displaces anything: what does not count takes no hint away.
        let mut certain = self.meeting(&caller.selectors, now);
        certain.retain(|entry| among(entry));
        arrange(&mut certain);
        if !caller.is_partial() {
            return Ok(certain);
        }
        let counts =
            |entry: &&Arc<Entry>| !entry.store_svid && !entry.is_expired(now) && among(entry);
        let possible: Vec<Possible<'_>> = self
            .entries()
            .filter(counts)
            .filter_map(|entry| Some((caller.depends(&entry.selectors)?, entry)))
            .collect();
        certain.retain(|entry| !is_displaced(entry, &possible));
        let first = possible
            .iter()
            .min_by(|(_, a), (_, b)| svid_order(a).cmp(&svid_order(b)));
        if let Some((kind, first)) = first
            && certain
                .first()
                .is_none_or(|certain| svid_order(first) < svid_order(certain))
        {
            return Err(Withheld(kind));
        }
        Ok(certain)
    }
}

/// An entry that a caller may have, and the kind on which that depends.
type Possible<'a> = (&'static str, &'a Arc<Entry>);

/// Whether an entry would give way to one of these, having the same hint.
fn is_displaced(entry: &Entry, possible: &[Possible<'_>]) -> bool {
    let displaces =
        |other: &Entry| other.hint == entry.hint && svid_order(other) < svid_order(entry);
    !entry.hint.is_empty() && possible.iter().any(|(_, other)| displaces(other))
}
