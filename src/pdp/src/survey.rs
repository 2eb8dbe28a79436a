//! Questions about everybody: who can have a permission, what can a workload have.

use std::collections::BTreeMap;

use identity::Seconds;
use policy::limits::HIGH_RISK_TTL_MAX;
use policy::{
    Audience, Granted, Permission, Principal, Profile, RefusalCode, Refused, RequestContext,
    Service, Wanted, WantedPermission,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::engine::Engine;
use crate::reach::Way;

/// What a workload would get for one permission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// The workload.
    pub spiffe_id: String,
    /// The service.
    pub audience: Audience,
    /// The answer, with its reasons.
    pub answer: Answer,
    /// Of a refusal: what would permit it under other circumstances. None is never.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub possible: Vec<Way>,
}

/// Granted or refused, with the reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It would be granted.
    Granted(Granted),
    /// It would be refused.
    Refused(Refused),
}

impl Answer {
    /// Whether it would be granted.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }
}

impl Engine {
    /// What each candidate would get if it asked for a permission under these
    /// circumstances, with the service's first profile, the default lifetime and
    /// whatever `authorization_details` the permission needs; and if it would be
    /// refused, by what it could be had under other circumstances. `None`: no such
    /// permission, or not of that audience.
    #[must_use]
    pub fn who_can(
        &self,
        permission: &str,
        audience: &str,
        candidates: &[Principal],
        context: &RequestContext,
    ) -> Option<Vec<Survey>> {
        let (service, permission) = self.catalogue().permission(permission)?;
        if service.audience.as_str() != audience {
            return None;
        }
        let one = |who| self.survey(service, permission, who, context);
        Some(self.surveying(|| candidates.iter().map(one).collect()))
    }

    /// What a workload would get for every permission of the catalogue.
    #[must_use]
    pub fn what_can(&self, principal: &Principal, context: &RequestContext) -> Vec<Survey> {
        let all = self.catalogue().services().flat_map(|service| {
            service
                .permissions
                .values()
                .map(move |permission| (service, permission))
        });
        let all: Vec<_> = all.collect();
        let one = |(service, permission)| self.survey(service, permission, principal, context);
        self.surveying(|| all.iter().copied().map(one).collect())
    }

    fn survey(
        &self,
        service: &Service,
        permission: &Permission,
        principal: &Principal,
        context: &RequestContext,
    ) -> Survey {
        let mut survey = self.suppose(service, permission, principal, context);
        if !survey.answer.is_granted() {
            let reach = self.reach(service, permission, principal, context);
            survey.possible = reach.permits;
        }
        survey
    }

    pub(crate) fn suppose(
        &self,
        service: &Service,
        permission: &Permission,
        principal: &Principal,
        context: &RequestContext,
    ) -> Survey {
        Survey {
            spiffe_id: principal.spiffe_id.as_str().to_owned(),
            audience: service.audience.clone(),
            answer: self.answer(service, permission, principal, context),
            possible: Vec::new(),
        }
    }

    fn answer(
        &self,
        service: &Service,
        permission: &Permission,
        principal: &Principal,
        context: &RequestContext,
    ) -> Answer {
        let refused = |code, reason: String| {
            Answer::Refused(Refused {
                permission: permission.name.as_str().to_owned(),
                code,
                reason,
                policies: Vec::new(),
                nearest: Vec::new(),
            })
        };
        if !principal.limits.allow(service.audience.as_str()) {
            let reason = "the registration entry does not allow this audience";
            return refused(RefusalCode::InvalidTarget, reason.into());
        }
        let decision = self.decide(
            principal,
            context,
            &supposed(service, permission, principal),
        );
        match (
            decision.granted.into_iter().next(),
            decision.refused.into_iter().next(),
        ) {
            (Some(granted), _) => Answer::Granted(Granted {
                details: Vec::new(),
                ..granted
            }),
            (None, Some(refused)) => Answer::Refused(refused),
            (None, None) => refused(RefusalCode::AccessDenied, "nothing was decided".into()),
        }
    }
}

/// The most favourable ordinary request for one permission.
pub(crate) fn supposed(
    service: &Service,
    permission: &Permission,
    principal: &Principal,
) -> Wanted {
    let profile = service
        .profiles
        .first()
        .copied()
        .unwrap_or(Profile::AccessToken);
    let bound = service.profiles.contains(&Profile::AccessToken);
    let profile = if permission.needs_possession() && bound {
        Profile::AccessToken
    } else {
        profile
    };
    let mut ttl = principal
        .limits
        .max_ttl
        .map_or(service.default_ttl, |cap| cap.min(service.default_ttl));
    if permission.needs_short_life() {
        ttl = ttl.min(Seconds(HIGH_RISK_TTL_MAX));
    }
    // Policies see the types of details only, so their types are enough.
    let kinds: BTreeMap<_, _> = permission.details.iter().collect();
    let details = kinds
        .into_keys()
        .map(|kind| json!({"type": kind}))
        .collect();
    Wanted {
        audience: service.audience.clone(),
        profile,
        permissions: vec![WantedPermission {
            name: permission.name.clone(),
            details,
        }],
        unknown: Vec::new(),
        ttl,
        pop: profile == Profile::AccessToken,
        all_or_nothing: false,
    }
}
