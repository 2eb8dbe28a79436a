//! The decision on one request: each permission by itself, then what holds for
//! the token as a whole.

use identity::{Seconds, Timestamp};
use policy::{
    Decision, Granted, Obligations, Permission, PolicyRef, Principal, RefusalCode, Refused,
    RequestContext, Service, Wanted, WantedPermission, Warning,
};

use crate::engine::Engine;
use crate::facts::Facts;
use crate::rule::{Effect, Rule, Whose};
use crate::verdict::Verdict;
use crate::{nearest, window};

impl Engine {
    /// Decides what of `wanted` is granted, why, and what is attached. Errors of
    /// evaluation deny; nothing here fails.
    #[must_use]
    pub fn decide(
        &self,
        principal: &Principal,
        context: &RequestContext,
        wanted: &Wanted,
    ) -> Decision {
        let decided = self.evaluating(|| self.decided(principal, context, wanted));
        decided.unwrap_or_else(|error| self.undecided(wanted, &error.to_string()))
    }

    /// Nothing is granted, and why.
    fn undecided(&self, wanted: &Wanted, why: &str) -> Decision {
        let nothing =
            |w: &WantedPermission| denied(w, format!("the request cannot be decided: {why}"));
        let mut decision = self.nothing_yet(wanted);
        decision
            .refused
            .extend(wanted.permissions.iter().map(nothing));
        decision
    }

    fn nothing_yet(&self, wanted: &Wanted) -> Decision {
        Decision {
            granted: Vec::new(),
            refused: wanted.unknown.clone(),
            obligations: Obligations::default(),
            window_end: None,
            under_break_glass: false,
            warnings: Vec::new(),
            policy_set: self.digest(),
            catalogue: self.catalogue().digest(),
        }
    }

    fn decided(
        &self,
        principal: &Principal,
        context: &RequestContext,
        wanted: &Wanted,
    ) -> Decision {
        let loaded = &self.0;
        let facts = Facts::new(&loaded.types, &loaded.offered, principal, context, wanted);
        let service = self.catalogue().service(wanted.audience.as_str());
        let (Ok(facts), Some(service)) = (&facts, service) else {
            let why = facts
                .err()
                .unwrap_or_else(|| "the audience is not in the catalogue".into());
            return self.undecided(wanted, &why);
        };
        let mut decision = self.nothing_yet(wanted);
        let mut timed = false;
        for asked in &wanted.permissions {
            timed |= self.decide_one(facts, service, asked, context.now, &mut decision);
        }
        if timed && !decision.granted.is_empty() {
            decision.window_end =
                self.window_end(facts, service, principal, context, wanted, &decision);
        }
        decision.under_break_glass = context.break_glass.is_some()
            && !self.holds_without_break_glass(service, (principal, context), wanted, &decision);
        decision
    }

    /// Whether everything that is granted would be granted without break-glass, too.
    fn holds_without_break_glass(
        &self,
        service: &Service,
        (principal, context): (&Principal, &RequestContext),
        wanted: &Wanted,
        decision: &Decision,
    ) -> bool {
        let calm = RequestContext {
            break_glass: None,
            ..context.clone()
        };
        let loaded = &self.0;
        let facts = Facts::new(&loaded.types, &loaded.offered, principal, &calm, wanted);
        facts.is_ok_and(|facts| {
            granted(service, wanted, decision).all(|(permission, asked)| {
                let verdict = self.verdict(&facts, permission, asked, calm.now);
                verdict.is_ok_and(|verdict| verdict.allows())
            })
        })
    }

    /// Decides one permission; whether time alone can change the answer.
    fn decide_one(
        &self,
        facts: &Facts<'_>,
        service: &Service,
        asked: &WantedPermission,
        now: Timestamp,
        decision: &mut Decision,
    ) -> bool {
        let Some(permission) = service.permissions.get(&asked.name) else {
            decision
                .refused
                .push(denied(asked, "the service no longer declares it".into()));
            return false;
        };
        match self.verdict(facts, permission, asked, now) {
            Ok(verdict) if verdict.allows() => {
                self.grant(permission, asked, now, &verdict, decision);
                verdict.timed || permission.sunset.is_some() || permission.deprecated.is_some()
            }
            Ok(verdict) => {
                let refused = self.refuse(facts, permission, asked, now, &verdict);
                decision.refused.push(refused);
                false
            }
            Err(why) => {
                let reason = format!("the request cannot be decided: {why}");
                decision.refused.push(denied(asked, reason));
                false
            }
        }
    }

    /// What all policies that can matter say of a permission at a time.
    pub(crate) fn verdict(
        &self,
        facts: &Facts<'_>,
        permission: &Permission,
        asked: &WantedPermission,
        now: Timestamp,
    ) -> Result<Verdict, String> {
        let loaded = &self.0;
        let request = facts.request(&loaded.types, permission, &asked.details, now)?;
        let buckets = loaded.slices.for_request(&permission.name, &facts.names);
        Ok(Verdict::of(
            &loaded.authorizer,
            &request,
            &facts.entities,
            buckets,
        ))
    }

    fn grant(
        &self,
        permission: &Permission,
        asked: &WantedPermission,
        now: Timestamp,
        verdict: &Verdict,
        decision: &mut Decision,
    ) {
        let own = Obligations {
            max_ttl: permission.max_ttl,
            rate: None,
        };
        decision.obligations = decision.obligations.strictest(own);
        for rule in self.named(&verdict.permits) {
            decision.obligations = decision.obligations.strictest(rule.obligations);
        }
        if permission.is_deprecated(now) {
            decision.warnings.push(Warning {
                permission: permission.name.clone(),
                text: deprecation(permission),
            });
        }
        decision.granted.push(Granted {
            permission: permission.name.clone(),
            policies: self.references(&verdict.permits),
            details: asked.details.clone(),
        });
    }

    fn refuse(
        &self,
        facts: &Facts<'_>,
        permission: &Permission,
        asked: &WantedPermission,
        now: Timestamp,
        verdict: &Verdict,
    ) -> Refused {
        let mut refused = denied(asked, String::new());
        if let Some((id, why)) = verdict.errors.first() {
            let ids: Vec<String> = verdict.errors.iter().map(|(id, _)| id.clone()).collect();
            refused.policies = self.references(&ids);
            refused.reason =
                format!("the policy {id} failed to evaluate, which denies: {why}; tell its owner");
            return refused;
        }
        if !verdict.forbids.is_empty() {
            refused.policies = self.references(&verdict.forbids);
            let told = |p: &PolicyRef| format!("{} ({})", p.id, p.rationale);
            let told: Vec<String> = refused.policies.iter().map(told).collect();
            refused.reason = format!("forbidden by {}", told.join(" and by "));
            return refused;
        }
        let loaded = &self.0;
        if let Ok(request) = facts.request(&loaded.types, permission, &asked.details, now) {
            let candidates = self.could_permit(facts, permission);
            refused.nearest = nearest::misses(candidates, &request, &facts.entities);
        }
        refused.reason = match refused.nearest.first() {
            Some(miss) => format!(
                "no policy permits it now; {} would, but its condition does not hold: {}",
                miss.policy, miss.failed
            ),
            None => format!("no policy permits {} to this workload", permission.name),
        };
        refused
    }

    /// Permits whose scope matches, though their conditions may not.
    fn could_permit<'a>(
        &'a self,
        facts: &'a Facts<'_>,
        permission: &'a Permission,
    ) -> impl Iterator<Item = &'a Rule> {
        self.in_scope(facts, permission)
            .filter(|rule| rule.effect == Effect::Permit)
    }

    /// Policies whose scope matches, though their conditions may not.
    pub(crate) fn in_scope<'a>(
        &'a self,
        facts: &'a Facts<'_>,
        permission: &'a Permission,
    ) -> impl Iterator<Item = &'a Rule> {
        let buckets = self.0.slices.for_request(&permission.name, &facts.names);
        let ids = buckets.flat_map(|bucket| bucket.policies.policies());
        let rules = ids.filter_map(|policy| self.rule(policy.id().as_ref()));
        rules.filter(|rule| {
            let whose = match &rule.principal {
                Whose::Anyone => true,
                Whose::Of(uid) => facts.names.contains(uid),
            };
            whose && rule.covers.contains(&permission.name)
        })
    }

    fn window_end(
        &self,
        facts: &Facts<'_>,
        service: &Service,
        principal: &Principal,
        context: &RequestContext,
        wanted: &Wanted,
        decision: &Decision,
    ) -> Option<Timestamp> {
        let spans = [
            Some(service.max_ttl),
            decision.obligations.max_ttl,
            principal.limits.max_ttl,
        ];
        let life: Seconds = spans.into_iter().flatten().fold(wanted.ttl, Seconds::min);
        let still = |at: Timestamp| {
            granted(service, wanted, decision).all(|(permission, asked)| {
                self.verdict(facts, permission, asked, at)
                    .is_ok_and(|v| v.allows())
            })
        };
        window::first_refusal(context.now, context.now.plus(life), still)
    }

    fn named<'a>(&'a self, ids: &'a [String]) -> impl Iterator<Item = &'a Rule> {
        ids.iter().filter_map(|id| self.rule(id))
    }

    fn references(&self, ids: &[String]) -> Vec<PolicyRef> {
        self.named(ids).map(|rule| rule.about.clone()).collect()
    }
}

/// What of a wish is granted.
fn granted<'a>(
    service: &'a Service,
    wanted: &'a Wanted,
    decision: &'a Decision,
) -> impl Iterator<Item = (&'a Permission, &'a WantedPermission)> {
    let asked = wanted.permissions.iter();
    asked
        .filter(|w| decision.granted.iter().any(|g| g.permission == w.name))
        .filter_map(|w| Some((service.permissions.get(&w.name)?, w)))
}

fn denied(asked: &WantedPermission, reason: String) -> Refused {
    Refused {
        permission: asked.name.as_str().to_owned(),
        code: RefusalCode::AccessDenied,
        reason,
        policies: Vec::new(),
        nearest: Vec::new(),
    }
}

fn deprecation(permission: &Permission) -> String {
    let mut text = format!("{} is deprecated", permission.name);
    if let Some(end) = permission.sunset {
        let end = policy::rfc3339_text(end);
        text.push_str(&format!(
            " and ends on {}",
            end.split('T').next().unwrap_or(&end)
        ));
    }
    if let Some(successor) = &permission.replaced_by {
        text.push_str(&format!("; ask for {successor} instead"));
    }
    text
}
