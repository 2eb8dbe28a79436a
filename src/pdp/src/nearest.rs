//! Why nothing permitted it: the policies that came nearest, and the first of
//! their conditions that did not hold.

use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, Expr, PrincipalConstraint, ResourceConstraint,
    StaticPolicy, Template,
};
use cedar_policy::{Authorizer, Decision, Entities, Policy, PolicySet, Request, pst};
use policy::NearMiss;
use policy::limits::{CONDITION_BYTES_MAX, NEAREST_MAX};

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
        let failed: Vec<Clause> = conditions(rule)
            .into_iter()
            .filter(|clause| !holds(&authorizer, clause, request, entities))
            .collect();
        if let Some(first) = failed.first() {
            let miss = NearMiss {
                policy: rule.id().to_owned(),
                failed: shown(first),
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

/// A policy's conditions, one by one.
fn conditions(rule: &Rule) -> Vec<Clause> {
    let Ok(pst::Policy::Static(policy)) = rule.policy.to_pst() else {
        return Vec::new();
    };
    let mut single = Vec::new();
    for clause in policy.body().clauses() {
        match clause {
            Clause::When(all) => split(all, &mut single),
            Clause::Unless(_) => single.push(clause.clone()),
        }
    }
    single
}

fn split(expression: &Arc<Expr>, into: &mut Vec<Clause>) {
    match expression.as_ref() {
        Expr::BinaryOp {
            op: BinaryOp::And,
            left,
            right,
        } => {
            split(left, into);
            split(right, into);
        }
        _ => into.push(Clause::When(Arc::clone(expression))),
    }
}

fn shown(clause: &Clause) -> String {
    let text = match clause {
        Clause::When(condition) => condition.to_string(),
        Clause::Unless(condition) => format!("unless {condition}"),
    };
    text.chars().take(CONDITION_BYTES_MAX).collect()
}

fn holds(authorizer: &Authorizer, clause: &Clause, request: &Request, entities: &Entities) -> bool {
    let alone = Template::new(
        "condition",
        Effect::Permit,
        PrincipalConstraint::Any,
        ActionConstraint::Any,
        ResourceConstraint::Any,
    );
    let policy = alone
        .try_with_clauses([clause.clone()])
        .and_then(|template| StaticPolicy::try_from(template).map_err(Into::into))
        .and_then(|policy| Policy::from_pst(pst::Policy::Static(policy)));
    let Ok(policy) = policy else {
        return false;
    };
    let mut set = PolicySet::new();
    set.add(policy).is_ok() && decides(authorizer, &set, request, entities)
}

fn decides(a: &Authorizer, set: &PolicySet, request: &Request, entities: &Entities) -> bool {
    a.is_authorized(request, set, entities).decision() == Decision::Allow
}
