//! What policies see: entities from attestation and the catalogue, context from
//! the host. Nothing here is the caller's word.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use identity::{Selectors, SpiffeId, Timestamp};
use policy::{
    Catalogue, Permission, PermissionName, Principal, RequestContext, Service, Wanted, weekday,
};
use serde_json::Value;

use crate::schema::{risk_group, service_group};

/// A fact that Cedar refuses: a fault of ours, told in the refusal.
pub(crate) type FactError = String;

/// The names of entity types, parsed once.
#[derive(Debug, Clone)]
pub(crate) struct Types {
    workload: EntityTypeName,
    path: EntityTypeName,
    trust_domain: EntityTypeName,
    audience: EntityTypeName,
    action: EntityTypeName,
}

impl Types {
    pub(crate) fn new() -> Result<Self, FactError> {
        let name = |text: &str| EntityTypeName::from_str(text).map_err(|e| e.to_string());
        Ok(Self {
            workload: name("Workload")?,
            path: name("Path")?,
            trust_domain: name("TrustDomain")?,
            audience: name("Audience")?,
            action: name("Action")?,
        })
    }

    fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
    }

    pub(crate) fn workload(&self, id: &SpiffeId) -> EntityUid {
        Self::uid(&self.workload, id.as_str())
    }

    pub(crate) fn audience(&self, audience: &str) -> EntityUid {
        Self::uid(&self.audience, audience)
    }

    pub(crate) fn action(&self, name: &str) -> EntityUid {
        Self::uid(&self.action, name)
    }

    /// What a workload is: itself first, then its paths and its trust domain.
    pub(crate) fn names(&self, id: &SpiffeId) -> Vec<EntityUid> {
        let text = id.as_str();
        let start = text.len() - id.path().len();
        let mut names = vec![
            self.workload(id),
            Self::uid(&self.trust_domain, id.trust_domain_str()),
        ];
        let ends = text
            .char_indices()
            .filter(|(at, c)| *at > start && *c == '/');
        let ends = ends.map(|(at, _)| at).chain([text.len()]);
        names.push(Self::uid(&self.path, text.get(..start).unwrap_or_default()));
        let paths = ends
            .filter(|end| *end > start)
            .filter_map(|end| text.get(..end));
        names.extend(paths.map(|path| Self::uid(&self.path, path)));
        names
    }
}

/// Entities of the catalogue, made once.
#[derive(Debug)]
pub(crate) struct Offered {
    audiences: HashMap<String, Entity>,
    actions: HashMap<PermissionName, Entity>,
}

impl Offered {
    pub(crate) fn new(types: &Types, catalogue: &Catalogue) -> Result<Self, FactError> {
        let mut offered = Self {
            audiences: HashMap::new(),
            actions: HashMap::new(),
        };
        for service in catalogue.services() {
            let audience = audience(types, service)?;
            offered
                .audiences
                .insert(service.audience.as_str().to_owned(), audience);
            for permission in service.permissions.values() {
                let groups = [
                    service_group(service.audience.as_str()),
                    risk_group(permission.risk),
                ];
                let parents = groups.iter().map(|group| types.action(group)).collect();
                let action = Entity::new_no_attrs(types.action(permission.name.as_str()), parents);
                offered.actions.insert(permission.name.clone(), action);
            }
        }
        Ok(offered)
    }

    pub(crate) fn audience(&self, audience: &str) -> Option<&Entity> {
        self.audiences.get(audience)
    }
}

fn audience(types: &Types, service: &Service) -> Result<Entity, FactError> {
    let attributes = HashMap::from([
        (
            "owner".to_owned(),
            RestrictedExpression::new_string(service.owner.clone()),
        ),
        (
            "requirePop".to_owned(),
            RestrictedExpression::new_bool(service.require_pop),
        ),
    ]);
    let tag = |(name, value): (&String, &String)| {
        (
            name.clone(),
            RestrictedExpression::new_string(value.clone()),
        )
    };
    let uid = types.audience(service.audience.as_str());
    Entity::new_with_tags(
        uid,
        attributes,
        HashSet::new(),
        service.labels.iter().map(tag),
    )
    .map_err(|e| e.to_string())
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn time(at: Timestamp) -> RestrictedExpression {
    RestrictedExpression::new_datetime(policy::rfc3339_text(at))
}

fn selectors(list: &Selectors) -> RestrictedExpression {
    RestrictedExpression::new_set(list.iter().map(|selector| text(selector.as_str())))
}

/// The workload with everything attestation and its entry say.
pub(crate) fn workload(principal: &Principal, names: &[EntityUid]) -> Result<Entity, FactError> {
    let node = RestrictedExpression::new_record([
        ("id".to_owned(), text(principal.node.spiffe_id.as_str())),
        ("attestor".to_owned(), text(&principal.node.attestor)),
        ("selectors".to_owned(), selectors(&principal.node.selectors)),
        ("attestedAt".to_owned(), time(principal.node.attested_at)),
    ]);
    let attributes = HashMap::from([
        ("id".to_owned(), text(principal.spiffe_id.as_str())),
        ("entry".to_owned(), text(principal.entry_id.as_str())),
        ("selectors".to_owned(), selectors(&principal.selectors)),
        ("attestedAt".to_owned(), time(principal.attested_at)),
        ("node".to_owned(), node.map_err(|e| e.to_string())?),
    ]);
    let (uid, parents) = names.split_first().ok_or("the workload has no name")?;
    let parents = parents.iter().cloned().collect();
    Entity::new(uid.clone(), attributes, parents).map_err(|e| e.to_string())
}

/// One request's facts, from which each permission is decided.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) names: Vec<EntityUid>,
    pub(crate) entities: Entities,
    resource: EntityUid,
    context: &'a RequestContext,
    wanted: &'a Wanted,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(
        types: &Types,
        offered: &Offered,
        principal: &Principal,
        context: &'a RequestContext,
        wanted: &'a Wanted,
    ) -> Result<Self, FactError> {
        let names = types.names(&principal.spiffe_id);
        let audience = offered.audience(wanted.audience.as_str());
        let actions = wanted
            .permissions
            .iter()
            .filter_map(|w| offered.actions.get(&w.name));
        let all = actions
            .chain(audience)
            .cloned()
            .chain([workload(principal, &names)?]);
        Ok(Self {
            names,
            entities: Entities::from_entities(all, None).map_err(|e| e.to_string())?,
            resource: types.audience(wanted.audience.as_str()),
            context,
            wanted,
        })
    }

    /// The request that Cedar decides for one permission at one time.
    pub(crate) fn request(
        &self,
        types: &Types,
        permission: &Permission,
        details: &[Value],
        now: Timestamp,
    ) -> Result<Request, FactError> {
        let pairs = circumstances(self.context, self.wanted, permission, details, now)?;
        let context = Context::from_pairs(pairs).map_err(|e| e.to_string())?;
        let principal = self
            .names
            .first()
            .cloned()
            .ok_or("the workload has no name")?;
        let action = types.action(permission.name.as_str());
        Request::new(principal, action, self.resource.clone(), context, None)
            .map_err(|e| e.to_string())
    }
}

type Pairs = Vec<(String, RestrictedExpression)>;

fn circumstances(
    context: &RequestContext,
    wanted: &Wanted,
    permission: &Permission,
    details: &[Value],
    now: Timestamp,
) -> Result<Pairs, FactError> {
    let kinds = details
        .iter()
        .filter_map(|value| value.get("type").and_then(Value::as_str));
    let flag = RestrictedExpression::new_bool;
    let number = RestrictedExpression::new_long;
    let mut pairs: Pairs = [
        ("now", time(now)),
        ("weekday", number(weekday(now))),
        ("pop", flag(wanted.pop)),
        ("profile", text(wanted.profile.as_str())),
        ("ttl", number(i64::from(wanted.ttl.0))),
        ("mints5m", number(i64::from(context.mints_5m))),
        ("risk", text(permission.risk.as_str())),
        ("needsPossession", flag(permission.needs_possession())),
        ("needsShortLife", flag(permission.needs_short_life())),
        ("deprecated", flag(permission.is_deprecated(now))),
        ("pastSunset", flag(permission.is_past_sunset(now))),
        (
            "detailTypes",
            RestrictedExpression::new_set(kinds.map(text)),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if let Some(ip) = context.source_ip {
        pairs.push((
            "sourceIp".into(),
            RestrictedExpression::new_ip(ip.to_string()),
        ));
    }
    if let Some(emergency) = &context.break_glass {
        let record = RestrictedExpression::new_record([
            ("ticket".to_owned(), text(&emergency.ticket)),
            ("approver".to_owned(), text(&emergency.approver)),
        ]);
        pairs.push(("breakGlass".into(), record.map_err(|e| e.to_string())?));
    }
    Ok(pairs)
}
