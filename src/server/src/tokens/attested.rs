//! What workload attestation found of entries' workloads, as their agents said with
//! the newest request for a token: for plans and questions, which must know more of a
//! workload than the selectors of its entry.

use std::collections::HashMap;

use identity::{EntryId, Selectors};

use crate::limits::{MAX_ATTESTED, MAX_ATTESTED_BYTES};

/// The newest selectors of each entry that asked for a token since the server started.
#[derive(Default)]
pub(super) struct Attested(HashMap<EntryId, Selectors>);

impl Attested {
    /// Takes what was found. Of an entry that is not known yet while there are too many,
    /// another one goes; what is too long is not kept.
    pub(super) fn note(&mut self, entry: &EntryId, found: &Selectors) {
        let bytes: usize = found.iter().map(|one| one.as_str().len()).sum();
        if bytes > MAX_ATTESTED_BYTES || self.0.get(entry) == Some(found) {
            return;
        }
        if self.0.len() >= MAX_ATTESTED && !self.0.contains_key(entry) {
            let another = self.0.keys().next().cloned();
            another.and_then(|another| self.0.remove(&another));
        }
        self.0.insert(entry.clone(), found.clone());
    }

    /// What was found last, if anything was.
    pub(super) fn of(&self, entry: &EntryId) -> Option<Selectors> {
        self.0.get(entry).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::selectors;

    #[test]
    fn the_newest_is_known_and_there_are_never_too_many() {
        let mut attested = Attested::default();
        let entry = |n: usize| EntryId::parse(&format!("e{n}")).unwrap();
        attested.note(&entry(0), &selectors(&["unix:uid:1"]));
        attested.note(&entry(0), &selectors(&["unix:uid:2"]));
        assert_eq!(attested.of(&entry(0)), Some(selectors(&["unix:uid:2"])));
        for n in 0..MAX_ATTESTED + 9 {
            attested.note(&entry(n), &selectors(&["unix:uid:1"]));
        }
        assert_eq!(attested.0.len(), MAX_ATTESTED);
        let each = 1_000;
        let long = |n: usize| format!("unix:path:/{n}/{}", "x".repeat(each));
        let long: Vec<String> = (0..=MAX_ATTESTED_BYTES / each).map(long).collect();
        let long = selectors(&long.iter().map(String::as_str).collect::<Vec<_>>());
        attested.note(&entry(7), &long);
        assert_ne!(attested.of(&entry(7)), Some(long));
    }
}
