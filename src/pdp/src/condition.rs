//! The conditions of a policy, one by one: each alone is text for people, and a policy
//! that is evaluated by itself. Whether its answer is known of a registered workload
//! depends on what it reads: some things attestation and the catalogue settle, some the
//! workload chooses when it asks, the rest only the moment tells.

use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, Expr, PrincipalConstraint, ResourceConstraint,
    StaticPolicy, Template, Var,
};
use cedar_policy::{Authorizer, Decision, Entities, Policy, PolicySet, Request, pst};
use policy::limits::CONDITION_BYTES_MAX;

/// What decides whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depends {
    /// The entry, its SPIFFE ID and the catalogue: it holds always or never.
    Settled,
    /// Also what the workload asks for: the profile, the lifetime, the details.
    Chosen,
    /// Also what only the moment tells: the time, the address, what attestation finds,
    /// counts, break-glass.
    Open,
}

/// One condition of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// In Cedar, as people read it.
    pub(crate) text: String,
    pub(crate) depends: Depends,
    alone: Option<PolicySet>,
}

/// A policy's conditions, those that `&&` joins apart.
pub(crate) fn conditions(policy: &Policy) -> Vec<Condition> {
    let Ok(pst::Policy::Static(policy)) = policy.to_pst() else {
        return Vec::new();
    };
    let mut single = Vec::new();
    for clause in policy.body().clauses() {
        match clause {
            Clause::When(all) => split(all, &mut single),
            Clause::Unless(_) => single.push(clause.clone()),
        }
    }
    single.into_iter().map(Condition::of).collect()
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

impl Condition {
    fn of(clause: Clause) -> Self {
        let (Clause::When(read) | Clause::Unless(read)) = &clause;
        Self {
            text: shown(&clause),
            depends: depends(read),
            alone: alone(clause),
        }
    }

    /// Whether it holds for a request; one that fails to evaluate does not.
    pub(crate) fn holds(
        &self,
        authorizer: &Authorizer,
        request: &Request,
        entities: &Entities,
    ) -> bool {
        self.alone.as_ref().is_some_and(|alone| {
            let response = authorizer.is_authorized(request, alone, entities);
            response.decision() == Decision::Allow
        })
    }
}

fn shown(clause: &Clause) -> String {
    let text = match clause {
        Clause::When(condition) => condition.to_string(),
        Clause::Unless(condition) => format!("unless {condition}"),
    };
    text.chars().take(CONDITION_BYTES_MAX).collect()
}

fn alone(clause: Clause) -> Option<PolicySet> {
    let template = Template::new(
        "condition",
        Effect::Permit,
        PrincipalConstraint::Any,
        ActionConstraint::Any,
        ResourceConstraint::Any,
    );
    let policy = StaticPolicy::try_from(template.try_with_clauses([clause]).ok()?).ok()?;
    let policy = Policy::from_pst(pst::Policy::Static(policy)).ok()?;
    let mut set = PolicySet::new();
    set.add(policy).ok()?;
    Some(set)
}

/// What an attribute depends on, whatever it is read of.
fn attribute(name: &str) -> Depends {
    match name {
        "id" | "entry" | "owner" | "requirePop" | "risk" | "needsPossession" | "needsShortLife"
        | "pastSunset" => Depends::Settled,
        "pop" | "profile" | "ttl" | "detailTypes" => Depends::Chosen,
        _ => Depends::Open,
    }
}

/// What an expression depends on: at least what any part of it does.
fn depends(expression: &Expr) -> Depends {
    let of_all = |parts: &mut dyn Iterator<Item = &Arc<Expr>>| {
        parts
            .map(|part| depends(part))
            .max()
            .unwrap_or(Depends::Settled)
    };
    // An attribute of a variable is known by its name; the variable itself, by nothing.
    let base = |expr: &Arc<Expr>| match expr.as_ref() {
        Expr::Var(_) => Depends::Settled,
        other => depends(other),
    };
    match expression {
        Expr::Literal(_) | Expr::Slot(_) => Depends::Settled,
        Expr::Var(Var::Context) => Depends::Open,
        Expr::Var(_) => Depends::Settled,
        Expr::GetAttr { expr, attr } => attribute(attr).max(base(expr)),
        Expr::HasAttr { expr, attrs } => {
            let named = attrs.iter().map(|attr| attribute(attr)).max();
            named.unwrap_or(Depends::Open).max(base(expr))
        }
        Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => depends(expr),
        Expr::BinaryOp { left, right, .. } => of_all(&mut [left, right].into_iter()),
        Expr::Is { expr, in_expr, .. } => of_all(&mut in_expr.iter().chain([expr])),
        Expr::IfThenElse {
            cond,
            then_expr,
            else_expr,
        } => of_all(&mut [cond, then_expr, else_expr].into_iter()),
        Expr::Set(items) => of_all(&mut items.iter()),
        Expr::Record(members) => of_all(&mut members.values()),
        _ => Depends::Open,
    }
}
