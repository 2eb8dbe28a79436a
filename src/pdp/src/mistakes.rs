//! Conditions that can never hold, or always do: a day of the week that does not
//! exist, a profile that nobody has, one thing that is to be two at once. They are
//! valid Cedar, and almost certainly typing errors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Var};
use cedar_policy::{Policy, pst};
use identity::{SpiffeId, TrustDomain};
use policy::Fault;
use policy::limits::TTL_MAX;

use crate::rule::{Layer, Rule};

/// What is wrong with conditions, rule by rule.
pub(crate) fn conditions(rules: &BTreeMap<String, Rule>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for rule in written(rules) {
        for what in of(&rule.policy) {
            let what = format!("{}: {what}", rule.id());
            let fault = Fault::error(&rule.file, rule.line, what);
            faults.push(fault.next("correct the condition, or take the policy away"));
        }
    }
    faults
}

/// Policies for workloads of another trust domain, which ask their own server.
pub(crate) fn foreign(rules: &BTreeMap<String, Rule>, own: &TrustDomain) -> Vec<Fault> {
    let mut faults = Vec::new();
    for rule in written(rules) {
        for (name, trust_domain) in named(&rule.policy) {
            if trust_domain != own.as_str() {
                let what = format!(
                    "{} names {name}, and this is trust domain {own}: it matches nothing",
                    rule.id()
                );
                let next = format!("write {own}, or take it away");
                faults.push(Fault::error(&rule.file, rule.line, what).next(next));
            }
        }
    }
    faults
}

/// Policies that name another trust domain than most do: what a typing error looks like
/// to whoever does not know which one is meant.
pub(crate) fn odd(rules: &BTreeMap<String, Rule>) -> Vec<Fault> {
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for rule in written(rules) {
        let own: BTreeSet<String> = named(&rule.policy).into_iter().map(|(_, td)| td).collect();
        for trust_domain in own {
            *used.entry(trust_domain).or_default() += 1;
        }
    }
    let most = used.iter().max_by_key(|(_, count)| **count);
    let Some((most, _)) = most.filter(|_| used.len() > 1) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for rule in written(rules) {
        for (name, trust_domain) in named(&rule.policy) {
            if trust_domain != *most {
                let what = format!(
                    "{} names {name}, where most policies name {most}",
                    rule.id()
                );
                let fault = Fault::warning(&rule.file, rule.line, what);
                faults.push(fault.next("a server decides for its own trust domain alone"));
            }
        }
    }
    faults
}

fn written(rules: &BTreeMap<String, Rule>) -> impl Iterator<Item = &Rule> {
    rules.values().filter(|rule| rule.layer != Layer::Builtin)
}

/// The workloads, paths and trust domains a policy names, each with its trust domain.
fn named(policy: &Policy) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for literal in policy.entity_literals() {
        let name = literal.id().unescaped();
        let trust_domain = match literal.type_name().to_string().as_str() {
            "Workload" | "Path" => SpiffeId::parse(name)
                .ok()
                .map(|id| id.trust_domain_str().to_owned()),
            "TrustDomain" => Some(name.to_owned()),
            _ => None,
        };
        found.extend(trust_domain.map(|td| (literal.to_string(), td)));
    }
    found
}

fn of(policy: &Policy) -> Vec<String> {
    let Ok(pst::Policy::Static(policy)) = policy.to_pst() else {
        return Vec::new();
    };
    let mut found = Found::default();
    let mut together = Vec::new();
    for clause in policy.body().clauses() {
        match clause {
            Clause::When(all) => flatten(all, &mut together),
            Clause::Unless(one) => found.expression(one),
        }
    }
    found.conjunction(&together);
    found.told
}

/// The operands of `&&`, however it is nested.
fn flatten<'a>(expression: &'a Arc<Expr>, into: &mut Vec<&'a Arc<Expr>>) {
    match expression.as_ref() {
        Expr::BinaryOp {
            op: BinaryOp::And,
            left,
            right,
        } => {
            flatten(left, into);
            flatten(right, into);
        }
        _ => into.push(expression),
    }
}

#[derive(Default)]
struct Found {
    told: Vec<String>,
}

impl Found {
    /// Conditions that must all hold.
    fn conjunction(&mut self, all: &[&Arc<Expr>]) {
        let mut equal: BTreeMap<String, String> = BTreeMap::new();
        for expression in all {
            if let Some((read, value)) = equality(expression) {
                let (read, value) = (read.to_string(), value.to_string());
                let before = equal.entry(read.clone()).or_insert_with(|| value.clone());
                if *before != value {
                    let what = format!("{read} is to be {before} and {value} at once");
                    self.told.push(what);
                }
            }
            self.expression(expression);
        }
    }

    fn expression(&mut self, expression: &Arc<Expr>) {
        match expression.as_ref() {
            Expr::BinaryOp {
                op: BinaryOp::And, ..
            } => {
                let mut all = Vec::new();
                flatten(expression, &mut all);
                self.conjunction(&all);
            }
            Expr::BinaryOp { op, left, right } => {
                self.comparison(*op, left, right, expression);
                self.expression(left);
                self.expression(right);
            }
            Expr::UnaryOp { expr, .. } => self.expression(expr),
            Expr::IfThenElse {
                cond,
                then_expr,
                else_expr,
            } => {
                for part in [cond, then_expr, else_expr] {
                    self.expression(part);
                }
            }
            _ => {}
        }
    }

    fn comparison(&mut self, op: BinaryOp, left: &Expr, right: &Expr, whole: &Expr) {
        let wrong = match op {
            BinaryOp::Eq | BinaryOp::NotEq => {
                impossible(left, right).or_else(|| impossible(right, left))
            }
            BinaryOp::Contains => match left {
                Expr::Set(items) => items.iter().find_map(|item| impossible(right, item)),
                _ => None,
            },
            BinaryOp::Less | BinaryOp::LessEq | BinaryOp::Greater | BinaryOp::GreaterEq => {
                beyond(op, left, right)
            }
            _ => None,
        };
        if let Some(why) = wrong {
            self.told.push(format!("{whole} decides nothing: {why}"));
        }
    }
}

fn equality(expression: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::BinaryOp {
        op: BinaryOp::Eq,
        left,
        right,
    } = expression
    else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (read @ Expr::GetAttr { .. }, value @ Expr::Literal(_))
        | (value @ Expr::Literal(_), read @ Expr::GetAttr { .. }) => Some((read, value)),
        _ => None,
    }
}

/// The name of an attribute of the circumstances.
fn circumstance(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::GetAttr { expr, attr } if matches!(expr.as_ref(), Expr::Var(Var::Context)) => {
            Some(attr)
        }
        _ => None,
    }
}

/// The least and the greatest value a number among the circumstances has.
fn range(name: &str) -> Option<(i64, i64)> {
    match name {
        "weekday" => Some((1, 7)),
        "ttl" => Some((1, i64::from(TTL_MAX))),
        "mints5m" => Some((0, i64::from(u32::MAX))),
        _ => None,
    }
}

/// Why what is read never has a value.
fn impossible(read: &Expr, value: &Expr) -> Option<String> {
    let name = circumstance(read)?;
    match value {
        Expr::Literal(Literal::Long(value)) => {
            let (least, most) = range(name)?;
            let is_outside = !(least..=most).contains(value);
            is_outside.then(|| format!("context.{name} is {least} to {most}"))
        }
        Expr::Literal(Literal::String(value)) => {
            let known: &[&str] = match name {
                "profile" => &["jwt-svid", "at+jwt"],
                "risk" => &["low", "medium", "high"],
                _ => return None,
            };
            let is_unknown = !known.contains(&value.as_str());
            is_unknown.then(|| format!("context.{name} is {}", known.join(" or ")))
        }
        _ => None,
    }
}

/// Why an order between two numbers always holds, or never.
fn beyond(op: BinaryOp, left: &Expr, right: &Expr) -> Option<String> {
    let mirrored = match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        _ => BinaryOp::LessEq,
    };
    let (op, name, value) = match (left, right) {
        (read, Expr::Literal(Literal::Long(value))) => (op, circumstance(read)?, *value),
        (Expr::Literal(Literal::Long(value)), read) => (mirrored, circumstance(read)?, *value),
        _ => return None,
    };
    let (least, most) = range(name)?;
    // Whether the comparison holds for the least and for the greatest value there is: an
    // order that says the same of both says the same of all.
    let holds = |number: i64| match op {
        BinaryOp::Less => number < value,
        BinaryOp::LessEq => number <= value,
        BinaryOp::Greater => number > value,
        _ => number >= value,
    };
    (holds(least) == holds(most)).then(|| format!("context.{name} is {least} to {most}"))
}
