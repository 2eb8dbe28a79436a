//! The rows of the budget table for what is stored, recorded and attested. Whoever holds
//! these resources decides on them; here they are only shown.

use std::collections::HashMap;

use records::TrustOwner;

use crate::attest::Attestation;
use crate::audit::Audit;
use crate::budgets::{Budgets, Meter, Principal, Reading};
use crate::limits;
use crate::state::State;

/// Registers a row for each.
pub(crate) fn register(budgets: &Budgets, state: &State, audit: &Audit, attestation: &Attestation) {
    stored(budgets, state);
    trusted(budgets, state);
    recorded(budgets, audit);
    attested(budgets, attestation);
}

fn row(
    budgets: &Budgets,
    (principal, resource, bound): (Principal, &'static str, usize),
    read: impl Fn() -> Reading + Send + Sync + 'static,
) {
    budgets.register(Meter {
        principal,
        resource,
        bound: whole(bound),
        read: Box::new(read),
    });
}

/// Entries, nodes, join tokens, break-glass and policies.
fn stored(budgets: &Budgets, state: &State) {
    use Principal::{Administrator, Everyone};
    let of = state.clone();
    let entries = (Everyone, "entries", limits::MAX_ENTRIES);
    row(budgets, entries, move || {
        Reading::of(whole(of.registry().counts().entries))
    });
    let of = state.clone();
    let nodes = (Everyone, "nodes", limits::MAX_NODES);
    row(budgets, nodes, move || {
        Reading::of(whole(of.registry().counts().nodes))
    });
    let of = state.clone();
    let tokens = (Everyone, "join_tokens", limits::MAX_JOIN_TOKENS);
    row(budgets, tokens, move || {
        Reading::of(whole(of.token_creators().values().sum()))
    });
    let of = state.clone();
    let tokens = (Administrator, "join_tokens", limits::MAX_JOIN_TOKENS_EACH);
    row(budgets, tokens, move || {
        largest(of.token_creators(), limits::MAX_JOIN_TOKENS_EACH)
    });
    let of = state.clone();
    let glass = (
        Administrator,
        "open_break_glass",
        limits::MAX_OPEN_GLASS_EACH,
    );
    row(budgets, glass, move || {
        let open = of.open_break_glass();
        largest(open, limits::MAX_OPEN_GLASS_EACH)
    });
    let policies = (Administrator, "policy_bytes", limits::MAX_POLICY_BYTES);
    // A set is uploaded whole, judged, and kept or not: nothing is held between uploads.
    row(budgets, policies, Reading::default);
}

/// What others than the server's own authorities brought into the bundle.
fn trusted(budgets: &Budgets, state: &State) {
    let of = state.clone();
    let keys = (
        Principal::Downstream,
        "bundle_keys",
        limits::MAX_DOWNSTREAM_KEYS,
    );
    row(budgets, keys, move || {
        let records = of.trust_records();
        let downstream = records.iter().filter_map(|record| match &record.owner {
            TrustOwner::Entry(entry) => Some((entry.as_str().to_owned(), record.jwt.len())),
            TrustOwner::Administrator | TrustOwner::Unrecorded => None,
        });
        largest(downstream.collect(), limits::MAX_DOWNSTREAM_KEYS)
    });
    let of = state.clone();
    let roots = (
        Principal::Administrator,
        "bundle_roots",
        limits::MAX_APPENDED_ROOTS,
    );
    row(budgets, roots, move || {
        let records = of.trust_records();
        let appended = records
            .iter()
            .filter(|record| record.owner == TrustOwner::Administrator);
        Reading::of(whole(appended.map(|record| record.x509.len()).sum()))
    });
}

/// Bytes of the decision log that a peer, and one of its entries, caused and that its
/// allowance has not won back yet.
fn recorded(budgets: &Budgets, audit: &Audit) {
    for (principal, of_entries) in [(Principal::Node, false), (Principal::Workload, true)] {
        let of = audit.clone();
        let bound = of.recorded_bound(of_entries);
        budgets.register(Meter {
            principal,
            resource: "journal_bytes",
            bound,
            read: Box::new(move || of.recorded(of_entries)),
        });
    }
}

fn attested(budgets: &Budgets, attestation: &Attestation) {
    let of = attestation.clone();
    let open = (
        Principal::Everyone,
        "open_challenges",
        limits::MAX_CHALLENGES,
    );
    row(budgets, open, move || {
        Reading::of(whole(of.open_challenges().0))
    });
    let of = attestation.clone();
    let each = limits::MAX_CHALLENGES_OF_A_SOURCE;
    let open = (Principal::Address, "open_challenges", each);
    row(budgets, open, move || {
        Reading::of(whole(of.open_challenges().1))
    });
    let of = attestation.clone();
    let waiting = (
        Principal::Everyone,
        "attestations_waiting",
        limits::MAX_ATTEST_QUEUE,
    );
    row(budgets, waiting, move || Reading::of(whole(of.waiting())));
}

/// Of counts by principal: the largest, and who is at the bound.
fn largest(counts: HashMap<String, usize>, bound: usize) -> Reading {
    let used = whole(counts.values().copied().max().unwrap_or_default());
    let mut at_bound: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count >= bound)
        .map(|(who, _)| who)
        .collect();
    at_bound.sort();
    at_bound.truncate(Reading::NAMED);
    Reading {
        used,
        at_bound,
        refused: 0,
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Rig;

    #[test]
    fn the_largest_is_shown_and_who_is_at_the_bound() {
        let counts = [("a", 3), ("b", 5), ("c", 5)].map(|(who, n)| (who.to_owned(), n));
        let reading = largest(counts.into_iter().collect(), 5);
        assert_eq!(
            (reading.used, reading.at_bound),
            (5, vec!["b".to_owned(), "c".to_owned()])
        );
    }

    #[tokio::test]
    async fn every_kind_of_principal_has_rows() {
        let rig = Rig::memory().await;
        let table = rig.server.budgets.table();
        for principal in [
            Principal::Address,
            Principal::Node,
            Principal::Workload,
            Principal::Downstream,
            Principal::Administrator,
            Principal::Everyone,
        ] {
            let has_rows = table.iter().any(|row| row.principal == principal);
            assert!(has_rows, "{} has no row", principal.as_str());
        }
    }
}
