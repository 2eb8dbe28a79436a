//! Why nothing permitted it: the policies that came nearest, and the first of
//! their conditions that did not hold.

use cedar_policy::{Authorizer, Entities, Request};
use policy::NearMiss;
use policy::limits::NEAREST_MAX;

use crate::condition::Condition;
use crate::rule::Rule;

/// The most policies looked at for one refusal.
const LOOKED_AT_MAX: usize = 64;

/// The nearest misses among permits whose scope matches.
pub(crate) fn misses<'a>(
    candidates: impl Iterator<Item = &'a Rule>,
    request: &Request,
    entities: &Entities,
) -> Vec<NearMiss> {
    let authorizer = Authorizer::new();
    let mut found: Vec<(usize, NearMiss)> = Vec::new();
    for rule in candidates.take(LOOKED_AT_MAX) {
        let failed: Vec<&Condition> = rule
            .conditions()
            .iter()
            .filter(|condition| !condition.holds(&authorizer, request, entities))
            .collect();
        if let Some(first) = failed.first() {
            let miss = NearMiss {
                policy: rule.id().to_owned(),
                failed: first.text.clone(),
            };
            found.push((failed.len(), miss));
        }
    }
    found.sort_by(|(a, one), (b, two)| a.cmp(b).then_with(|| one.policy.cmp(&two.policy)));
    found
        .into_iter()
        .take(NEAREST_MAX)
        .map(|(_, miss)| miss)
        .collect()
}
