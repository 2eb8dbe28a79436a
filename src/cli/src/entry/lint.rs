//! What is allowed and probably not meant: selectors that are no boundary, entries
//! that shadow others, identities that overlap.

use std::collections::{BTreeSet, HashMap};

use super::known_selectors::doubts;
use super::plan::{described, is_alias};
use super::weakness;
use crate::admin::id_text;
use crate::wire::types;

/// The most findings that are told.
const FINDINGS_MAX: usize = 50;
/// The most pairs that are looked at.
const PAIRS_MAX: usize = 2_000_000;

struct Looked<'a> {
    entry: &'a types::Entry,
    parent: String,
    selectors: BTreeSet<(&'a str, &'a str)>,
}

/// Looks at entries; one line for each finding.
pub(super) fn findings(entries: &[types::Entry]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let looked: Vec<Looked<'_>> = entries.iter().filter(|e| !is_alias(e)).map(look).collect();
    for one in &looked {
        for doubt in doubts(&one.entry.selectors) {
            found.push(format!("{}: {doubt}", described(one.entry)));
        }
        if let Some(weakness) = weakness(&one.entry.selectors) {
            found.push(format!("{}: {weakness}", described(one.entry)));
        }
    }
    pairs(&looked, &mut found);
    let more = found.len().saturating_sub(FINDINGS_MAX);
    found.truncate(FINDINGS_MAX);
    if more > 0 {
        found.push(format!("and {more} more findings"));
    }
    found
}

fn look(entry: &types::Entry) -> Looked<'_> {
    let selectors = entry.selectors.iter();
    Looked {
        entry,
        parent: id_text(entry.parent_id.as_ref()),
        selectors: selectors
            .map(|s| (s.r#type.as_str(), s.value.as_str()))
            .collect(),
    }
}

/// Entries under one parent where all that one asks for is also asked for by the
/// other: whoever matches the second matches the first too.
fn pairs(looked: &[Looked<'_>], found: &mut Vec<String>) {
    let mut count: HashMap<(&str, &str), usize> = HashMap::new();
    for selector in looked.iter().flat_map(|one| &one.selectors) {
        *count.entry(*selector).or_default() += 1;
    }
    // Each entry is filed under its rarest selector, so that few pairs are looked at.
    let mut filed: HashMap<(&str, (&str, &str)), Vec<&Looked<'_>>> = HashMap::new();
    for one in looked {
        let rarest = one.selectors.iter().min_by_key(|s| count.get(*s));
        if let Some(rarest) = rarest {
            let place = (one.parent.as_str(), *rarest);
            filed.entry(place).or_default().push(one);
        }
    }
    let mut left = PAIRS_MAX;
    for narrow in looked {
        for selector in &narrow.selectors {
            let place = (narrow.parent.as_str(), *selector);
            for broad in filed.get(&place).into_iter().flatten() {
                left = left.saturating_sub(1);
                if left == 0 || found.len() > 20 * FINDINGS_MAX {
                    found.push("too many entries are alike to compare them all".into());
                    return;
                }
                found.extend(finding(broad, narrow));
            }
        }
    }
}

fn finding(broad: &Looked<'_>, narrow: &Looked<'_>) -> Option<String> {
    if std::ptr::eq(broad.entry, narrow.entry) || !broad.selectors.is_subset(&narrow.selectors) {
        return None;
    }
    let (wide, close) = (described(broad.entry), described(narrow.entry));
    if broad.entry.spiffe_id == narrow.entry.spiffe_id {
        return Some(format!("shadowed: {close} adds nobody to {wide}"));
    }
    // Of two with the same selectors each is the other's: said once.
    let twins = broad.selectors.len() == narrow.selectors.len();
    if twins && wide > close {
        return None;
    }
    Some(format!(
        "overlap: whoever matches {close} also receives {}; give one of them the hint \"default\" \
         or a selector of its own",
        id_text(broad.entry.spiffe_id.as_ref())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{wire_id, wire_selector};

    fn entry(name: &str, selectors: &[&str]) -> types::Entry {
        types::Entry {
            spiffe_id: Some(wire_id(&format!("spiffe://example.org/{name}")).unwrap()),
            parent_id: Some(wire_id("spiffe://example.org/node").unwrap()),
            selectors: selectors
                .iter()
                .map(|s| wire_selector(s).unwrap())
                .collect(),
            ..types::Entry::default()
        }
    }

    fn kinds(entries: &[types::Entry]) -> Vec<String> {
        let first = |line: String| line.split(':').next().unwrap().to_owned();
        findings(entries).into_iter().map(first).collect()
    }

    #[test]
    fn overlaps_shadows_and_weak_selectors_are_found() {
        let (uid, path) = ("unix:uid:1", "unix:path:/usr/bin/api");
        let broad = || entry("all", &[uid]);
        assert!(kinds(&[broad(), entry("other", &["unix:uid:2"])]).is_empty());
        assert_eq!(kinds(&[broad(), entry("api", &[uid, path])]), ["overlap"]);
        assert_eq!(kinds(&[broad(), entry("all", &[uid, path])]), ["shadowed"]);
        assert_eq!(kinds(&[broad(), entry("api", &[uid])]), ["overlap"]);
        let mut elsewhere = entry("api", &[uid, path]);
        elsewhere.parent_id = Some(wire_id("spiffe://example.org/other").unwrap());
        assert!(kinds(&[broad(), elsewhere]).is_empty());
        let weak = findings(&[entry("api", &[path])]);
        assert!(weak[0].contains("no boundary"), "{weak:?}");
    }

    #[test]
    fn many_alike_are_told_shortly() {
        let many: Vec<_> = (0..3000)
            .map(|n| entry(&format!("n{n}"), &["unix:uid:1"]))
            .collect();
        assert!(findings(&many).len() <= FINDINGS_MAX + 1);
    }
}
