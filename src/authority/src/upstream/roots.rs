//! What of the upstream stands in the own bundle, and when a new intermediate is due.
//!
//! What the upstream publishes is published here. A root that it no longer
//! publishes stays while something signed below it may be in use, so that both
//! roots are there while one replaces the other.

use std::sync::Arc;

use identity::{JwtAuthorityKey, Seconds, Timestamp, X509AuthorityCertificate};

/// What an upstream published, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Its roots.
    pub x509: Vec<X509AuthorityCertificate>,
    /// Its JWT keys, and those of others below it.
    pub jwt: Vec<JwtAuthorityKey>,
}

/// A signing key of this server that an upstream certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The root that its intermediate leads to.
    pub anchor: Arc<[u8]>,
    /// What signed its intermediate.
    pub issuer: Arc<[u8]>,
    /// Whether it signs now.
    pub signs: bool,
}

/// Who decides when a root that something still leads to may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// An administrator here: until then it stays.
    UntilRevoked,
    /// The upstream: what it tainted and then took away is gone.
    UpstreamRevokes,
}

/// What of the upstream is known and kept after it was looked at. `given` is `None`
/// when it could not be: then nothing new is known.
#[must_use]
pub fn follow(before: &Given, given: Option<&Given>, keys: &[Anchored], holding: Holding) -> Given {
    let Some(given) = given else {
        return before.clone();
    };
    let mut x509: Vec<X509AuthorityCertificate> = Vec::new();
    for known in &before.x509 {
        let now = given.x509.iter().find(|root| root.der == known.der);
        // Once tainted, always: a file that says nothing of taint takes none back.
        let tainted = known.tainted || now.is_some_and(|root| root.tainted);
        let in_use = keys.iter().filter(|key| key.anchor == known.der);
        let held = match holding {
            Holding::UntilRevoked => in_use.count() > 0,
            Holding::UpstreamRevokes => in_use.filter(|key| !tainted || key.signs).count() > 0,
        };
        if now.is_some() || held {
            let der = Arc::clone(&known.der);
            x509.push(X509AuthorityCertificate { der, tainted });
        }
    }
    for root in &given.x509 {
        if !x509.iter().any(|known| known.der == root.der) {
            x509.push(root.clone());
        }
    }
    Given {
        x509,
        jwt: given.jwt.clone(),
    }
}

/// The roots as the own bundle shows them. While a key below a root signs, holders
/// could replace nothing for the root's taint, so it is not shown yet.
#[must_use]
pub fn shown(known: &Given, keys: &[Anchored]) -> Vec<X509AuthorityCertificate> {
    let roots = known.x509.iter().cloned().map(|mut root| {
        root.tainted &= !keys.iter().any(|key| key.signs && key.anchor == root.der);
        root
    });
    roots.collect()
}

/// Why the key that signs is to have a successor now, whatever its age; `None` when
/// it is not. `active` is `None` in the inside when it is certified by no upstream.
#[must_use]
pub fn needs_successor(
    active: Option<&Anchored>,
    known: &Given,
    given: &Given,
    issuer: Option<&Arc<[u8]>>,
) -> Option<&'static str> {
    let Some(active) = active else {
        return Some("it is self-signed, and there is an upstream authority now");
    };
    let tainted = known
        .x509
        .iter()
        .any(|root| root.tainted && root.der == active.anchor);
    if tainted {
        return Some("the upstream's root is tainted");
    }
    if !given.x509.iter().any(|root| root.der == active.anchor) {
        return Some("the upstream no longer publishes its root");
    }
    match issuer {
        Some(issuer) if *issuer != active.issuer => Some("the upstream CA was replaced"),
        _ => None,
    }
}

/// Whether a new intermediate lives so much longer than the one that signs that it
/// is worth having: near the upstream's own end one would follow the other for ever.
#[must_use]
pub fn is_worth_it(active_end: Timestamp, new_end: Timestamp, now: Timestamp) -> bool {
    let left = active_end.since(now);
    let gain: Seconds = new_end.since(active_end);
    new_end > active_end && u64::from(gain.0) * 4 >= u64::from(left.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(n: u8, tainted: bool) -> X509AuthorityCertificate {
        X509AuthorityCertificate {
            der: Arc::from(&[n][..]),
            tainted,
        }
    }

    fn given(roots: &[X509AuthorityCertificate]) -> Given {
        Given {
            x509: roots.to_vec(),
            jwt: Vec::new(),
        }
    }

    fn key(anchor: u8, signs: bool) -> Anchored {
        Anchored {
            anchor: Arc::from(&[anchor][..]),
            issuer: Arc::from(&[100 + anchor][..]),
            signs,
        }
    }

    #[test]
    fn both_roots_stand_while_something_leads_to_the_old_one() {
        let before = given(&[root(1, false)]);
        let now = given(&[root(2, false)]);
        let both = follow(&before, Some(&now), &[key(1, true)], Holding::UntilRevoked);
        assert_eq!(both, given(&[root(1, false), root(2, false)]));
        let retired = [key(1, false), key(2, true)];
        assert_eq!(
            follow(&both, Some(&now), &retired, Holding::UntilRevoked),
            both
        );
        assert_eq!(
            follow(&both, Some(&now), &[key(2, true)], Holding::UntilRevoked),
            now
        );
        // Away is not the same as empty.
        assert_eq!(follow(&both, None, &[], Holding::UpstreamRevokes), both);
    }

    #[test]
    fn what_the_upstream_tainted_and_took_away_is_gone_once_nothing_signs_below_it() {
        let before = given(&[root(1, true), root(2, false)]);
        let now = given(&[root(2, false)]);
        let retired = [key(1, false), key(2, true)];
        let after = follow(&before, Some(&now), &retired, Holding::UpstreamRevokes);
        assert_eq!(after, now);
        let after = follow(
            &before,
            Some(&now),
            &[key(1, true)],
            Holding::UpstreamRevokes,
        );
        assert_eq!(after, before, "what signs is still verified");
        // An administrator's taint waits for the administrator's revocation.
        assert_eq!(
            follow(&before, Some(&now), &retired, Holding::UntilRevoked),
            before
        );
    }

    #[test]
    fn a_taint_sticks_and_shows_once_nothing_signs_below_the_root() {
        let before = given(&[root(1, true)]);
        let file = given(&[root(1, false), root(2, false)]);
        let known = follow(&before, Some(&file), &[key(1, true)], Holding::UntilRevoked);
        assert!(known.x509[0].tainted);
        assert!(!shown(&known, &[key(1, true)])[0].tainted);
        assert!(shown(&known, &[key(1, false), key(2, true)])[0].tainted);
    }

    #[test]
    fn a_successor_is_due_when_what_is_above_changes() {
        let known = given(&[root(1, false), root(2, false)]);
        let active = key(1, true);
        let same = Some(Arc::clone(&active.issuer));
        assert_eq!(
            needs_successor(Some(&active), &known, &known, same.as_ref()),
            None
        );
        assert_eq!(needs_successor(Some(&active), &known, &known, None), None);
        let other: Arc<[u8]> = Arc::from(&[7][..]);
        assert!(needs_successor(Some(&active), &known, &known, Some(&other)).is_some());
        let gone = given(&[root(2, false)]);
        assert!(needs_successor(Some(&active), &known, &gone, same.as_ref()).is_some());
        let tainted = given(&[root(1, true)]);
        assert!(needs_successor(Some(&active), &tainted, &known, same.as_ref()).is_some());
        assert!(needs_successor(None, &known, &known, None).is_some());
    }

    #[test]
    fn near_the_upstreams_end_intermediates_do_not_chase_it() {
        let at = |end| is_worth_it(Timestamp(1_000), Timestamp(end), Timestamp(0));
        assert!(!at(900) && !at(1_000) && !at(1_200));
        assert!(at(1_250) && at(5_000));
    }
}
