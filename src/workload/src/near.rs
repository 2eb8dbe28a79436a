//! Which entries nearly applied to a caller, and what was in the way: the answer
//! to "why did my service get no identity?". For an admin's eyes: it tells of
//! entries that are not the caller's.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use identity::{Entry, EntryId, Selector, Selectors, Timestamp};

use crate::svid_order;

/// An entry that gives a caller nothing, though not for much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The entry.
    pub entry: Arc<Entry>,
    /// What is in the way.
    pub why: Obstacle,
}

/// What keeps an entry from a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The caller lacks these of the entry's selectors; never empty.
    Lacks(Vec<Lack>),
    /// All selectors match, but the entry has expired.
    Expired(Timestamp),
    /// All selectors match, but the SVID is meant for an external store.
    StoredElsewhere,
    /// All selectors match, but this other entry has the same hint and comes first.
    HintTaken(EntryId),
}

/// One selector an entry asks for and a caller has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What the entry asks for.
    pub wanted: Selector,
    /// What the caller has of the same sort: another path for a path, another uid
    /// for a uid. At most [`MAX_INSTEAD`].
    pub instead: Vec<Selector>,
}

/// The most selectors listed in [`Lack::instead`].
pub const MAX_INSTEAD: usize = 8;

/// The nearest misses of a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NearMisses {
    /// Nearest first.
    pub list: Vec<NearMiss>,
    /// How many more there are.
    pub left_out: usize,
}

struct Candidate<'a> {
    entry: &'a Arc<Entry>,
    lacking: usize,
    held: usize,
}

/// The entries that nearly apply to `caller`, nearest first, at most `most`.
///
/// An entry is near when it is not among `matched` (what the caller has) and the
/// caller has at least one of its selectors, or when its one selector is of an
/// attestor that stated something else of the caller. Fewer lacking selectors come first, then more that are held, then
/// [`svid_order`].
#[must_use]
pub fn near_misses(
    entries: &[Arc<Entry>],
    matched: &[Arc<Entry>],
    caller: &Selectors,
    now: Timestamp,
    most: usize,
) -> NearMisses {
    let facts: HashSet<&Selector> = caller.iter().collect();
    let kinds: HashSet<&str> = caller.iter().map(Selector::kind).collect();
    let has: HashSet<&EntryId> = matched.iter().map(|e| &e.id).collect();
    let is_of_known_kind = |entry: &Entry| entry.selectors.iter().any(|s| kinds.contains(s.kind()));
    let mut near: Vec<Candidate<'_>> = entries
        .iter()
        .filter(|entry| !has.contains(&entry.id))
        .map(|entry| {
            let held = entry.selectors.iter().filter(|s| facts.contains(s)).count();
            let lacking = entry.selectors.iter().count() - held;
            Candidate {
                entry,
                lacking,
                held,
            }
        })
        .filter(|c| c.held > 0 || (c.lacking == 1 && is_of_known_kind(c.entry)))
        .collect();
    near.sort_unstable_by(|a, b| {
        let distance = |c: &Candidate<'_>| (c.lacking, Reverse(c.held));
        let order = distance(a).cmp(&distance(b));
        order.then_with(|| svid_order(a.entry).cmp(&svid_order(b.entry)))
    });
    let left_out = near.len().saturating_sub(most);
    near.truncate(most);
    let list = near.into_iter().map(|candidate| NearMiss {
        why: obstacle(candidate.entry, matched, caller, now),
        entry: Arc::clone(candidate.entry),
    });
    NearMisses {
        list: list.collect(),
        left_out,
    }
}

fn obstacle(entry: &Entry, matched: &[Arc<Entry>], caller: &Selectors, now: Timestamp) -> Obstacle {
    let lacks: Vec<Lack> = entry
        .selectors
        .iter()
        .filter(|wanted| !caller.iter().any(|fact| fact == *wanted))
        .map(|wanted| Lack {
            instead: instead(wanted, caller),
            wanted: wanted.clone(),
        })
        .collect();
    if !lacks.is_empty() {
        return Obstacle::Lacks(lacks);
    }
    match entry.expires_at {
        Some(at) if at <= now => Obstacle::Expired(at),
        _ if entry.store_svid => Obstacle::StoredElsewhere,
        _ => {
            let taken = |e: &&Arc<Entry>| !e.hint.is_empty() && e.hint == entry.hint;
            let by = matched.iter().find(taken);
            Obstacle::HintTaken(by.map_or_else(|| entry.id.clone(), |e| e.id.clone()))
        }
    }
}

/// What the caller has of the sort that is wanted: the same attestor, and the
/// same word before the value's first colon.
fn instead(wanted: &Selector, caller: &Selectors) -> Vec<Selector> {
    let sort = |s: &Selector| {
        let value = s.value();
        let word = value.split_once(':').map_or("", |(word, _)| word);
        (s.kind().to_owned(), word.to_owned())
    };
    let wanted = sort(wanted);
    let same = caller.iter().filter(|fact| sort(fact) == wanted);
    same.take(MAX_INSTEAD).cloned().collect()
}
