//! What a request comes to before any policy is asked: it names a service and
//! permissions of the catalogue, stays under every cap, and has a profile.

use std::collections::BTreeMap;

use identity::Seconds;
use serde_json::Value;

use crate::limits::{
    ASKED_MAX, BREAK_GLASS_TTL_MAX, DETAILS_BYTES_MAX, DETAILS_MAX, HIGH_RISK_TTL_MAX,
};
use crate::{
    Audience, Catalogue, PermissionName, Principal, Profile, Refusal, RefusalCode, Refused,
    RequestContext, Service, TokenRequest,
};

/// What is to be decided: asked ∩ catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The service.
    pub audience: Audience,
    /// The form of the token.
    pub profile: Profile,
    /// The permissions to decide, in order of names.
    pub permissions: Vec<WantedPermission>,
    /// What was asked for and is in no catalogue.
    pub unknown: Vec<Refused>,
    /// The lifetime asked for, or the default; within the caps of service and entry.
    pub ttl: Seconds,
    /// Whether the token proves possession: it is bound, and its profile's
    /// verifiers check that.
    pub pop: bool,
    /// No token rather than a smaller one.
    pub all_or_nothing: bool,
}

/// One permission to decide, with its `authorization_details`.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedPermission {
    /// Which.
    pub name: PermissionName,
    /// RFC 9396 objects of its types, checked against their schemas.
    pub details: Vec<Value>,
}

/// Brings a request down to what policies decide.
///
/// # Errors
/// `invalid_target`: no such audience, or the entry does not allow it;
/// `invalid_scope`: nothing asked for is in the catalogue; `invalid_request`: a
/// limit, lifetime or profile; `invalid_authorization_details`: unknown type or
/// not what its schema asks for.
pub fn admit(
    request: &TokenRequest,
    catalogue: &Catalogue,
    principal: &Principal,
    context: &RequestContext,
) -> Result<Wanted, Refusal> {
    let service = target(request, catalogue, principal)?;
    let (profile, pop) = profile(request, service, context)?;
    let (names, unknown) = asked(request, service)?;
    let mut details = details(request, service, &names)?;
    let mut permissions = Vec::with_capacity(names.len());
    for name in names {
        let details = details.remove(&name).unwrap_or_default();
        permissions.push(WantedPermission { name, details });
    }
    Ok(Wanted {
        ttl: lifetime(request, service, &permissions, principal, context)?,
        audience: service.audience.clone(),
        profile,
        permissions,
        unknown,
        pop,
        all_or_nothing: request.all_or_nothing,
    })
}

fn refuse<T>(code: RefusalCode, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, reason))
}

fn target<'a>(
    request: &TokenRequest,
    catalogue: &'a Catalogue,
    principal: &Principal,
) -> Result<&'a Service, Refusal> {
    let shown: String = request.audience.chars().take(80).collect();
    let Some(service) = catalogue.service(&request.audience) else {
        let known = catalogue.services().map(|s| s.audience.as_str());
        let advice = nearest_name(&request.audience, known).map_or_else(
            || "ask the service's owner for its catalogue entry".into(),
            |name| format!("did you mean {name}?"),
        );
        let reason = format!("no service of the catalogue has the audience {shown:?}; {advice}");
        return refuse(RefusalCode::InvalidTarget, reason);
    };
    if !principal.limits.allow(service.audience.as_str()) {
        let reason = format!(
            "the registration entry {} does not allow the audience {shown:?}; its audiences are limited",
            principal.entry_id.as_str()
        );
        return refuse(RefusalCode::InvalidTarget, reason);
    }
    Ok(service)
}

fn profile(
    request: &TokenRequest,
    service: &Service,
    context: &RequestContext,
) -> Result<(Profile, bool), Refusal> {
    let accepted = || {
        let names: Vec<&str> = service.profiles.iter().map(|p| p.as_str()).collect();
        names.join(" or ")
    };
    let bound = context.binding.is_some();
    let usable = |p: &&Profile| bound || **p == Profile::JwtSvid;
    let profile = match &request.profile {
        Some(text) => match text.parse::<Profile>() {
            Err(reason) => return refuse(RefusalCode::InvalidRequest, reason),
            Ok(profile) if service.profiles.contains(&profile) => profile,
            Ok(profile) => {
                let reason = format!(
                    "{} does not accept {profile}; ask for {}",
                    service.audience,
                    accepted()
                );
                return refuse(RefusalCode::InvalidRequest, reason);
            }
        },
        None => *service
            .profiles
            .iter()
            .find(usable)
            .unwrap_or(&Profile::AccessToken),
    };
    if profile == Profile::AccessToken && !bound {
        let reason = format!(
            "an at+jwt token is bound to the caller's certificate or key, and there is none to bind it to; {} accepts {}",
            service.audience,
            accepted()
        );
        return refuse(RefusalCode::InvalidRequest, reason);
    }
    Ok((profile, profile == Profile::AccessToken))
}

fn asked(
    request: &TokenRequest,
    service: &Service,
) -> Result<(Vec<PermissionName>, Vec<Refused>), Refusal> {
    if request.permissions.len() > ASKED_MAX {
        let reason = format!(
            "{} permissions asked for; at most {ASKED_MAX}",
            request.permissions.len()
        );
        return refuse(RefusalCode::InvalidRequest, reason);
    }
    if request.permissions.is_empty() {
        if !service.all_if_none_asked {
            let reason = format!(
                "name the permissions wanted; {} offers {}",
                service.audience,
                offered(service)
            );
            return refuse(RefusalCode::InvalidScope, reason);
        }
        return Ok((service.permissions.keys().cloned().collect(), Vec::new()));
    }
    let mut names = Vec::new();
    let mut unknown = Vec::new();
    for text in &request.permissions {
        match service.permissions.get(text.as_str()) {
            Some(permission) => names.push(permission.name.clone()),
            // Advice is dear, and one piece of it is enough.
            None => unknown.push(unknown_permission(text, service, unknown.is_empty())),
        }
    }
    names.sort();
    names.dedup();
    match unknown.first() {
        Some(first) if names.is_empty() || request.all_or_nothing => {
            refuse(RefusalCode::InvalidScope, first.reason.clone())
        }
        _ => Ok((names, unknown)),
    }
}

fn offered(service: &Service) -> String {
    let mut names: Vec<&str> = service
        .permissions
        .keys()
        .map(PermissionName::as_str)
        .take(8)
        .collect();
    if service.permissions.len() > names.len() {
        names.push("…");
    }
    names.join(", ")
}

fn unknown_permission(text: &str, service: &Service, advised: bool) -> Refused {
    let shown: String = text.chars().take(80).collect();
    let known = service.permissions.keys().map(PermissionName::as_str);
    let near = advised.then(|| nearest_name(text, known)).flatten();
    let advice = match near {
        Some(name) => format!("did you mean {name}?"),
        None => format!("it declares {}", offered(service)),
    };
    Refused {
        reason: format!(
            "{} declares no permission {shown:?}; {advice}",
            service.audience
        ),
        permission: shown,
        code: RefusalCode::InvalidScope,
        policies: Vec::new(),
        nearest: Vec::new(),
    }
}

fn details(
    request: &TokenRequest,
    service: &Service,
    names: &[PermissionName],
) -> Result<BTreeMap<PermissionName, Vec<Value>>, Refusal> {
    let all = &request.authorization_details;
    let bytes: usize = all.iter().map(|value| value.to_string().len()).sum();
    if all.len() > DETAILS_MAX || bytes > DETAILS_BYTES_MAX {
        let reason = format!(
            "{} authorization_details with {bytes} bytes; at most {DETAILS_MAX} and {DETAILS_BYTES_MAX} bytes",
            all.len()
        );
        return refuse(RefusalCode::InvalidRequest, reason);
    }
    let bad = |reason: String| Refusal::new(RefusalCode::InvalidAuthorizationDetails, reason);
    let mut by_permission: BTreeMap<PermissionName, Vec<Value>> = BTreeMap::new();
    for value in all {
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let shown: String = kind.chars().take(120).collect();
        let (permission, schema) = service.details(kind).ok_or_else(|| {
            bad(format!(
                "{} declares no authorization_details type {shown:?}",
                service.audience
            ))
        })?;
        if !names.contains(permission) {
            return Err(bad(format!(
                "authorization_details of type {shown} belong to {permission}, which is not asked for; ask for it, too"
            )));
        }
        let misfit = |what| {
            bad(format!(
                "authorization_details of type {shown} do not fit its schema: {what}"
            ))
        };
        schema.check(value).map_err(misfit)?;
        by_permission
            .entry(permission.clone())
            .or_default()
            .push(value.clone());
    }
    let lacking = names
        .iter()
        .filter_map(|name| service.permissions.get(name));
    let mut lacking =
        lacking.filter(|p| p.details_required && !by_permission.contains_key(&p.name));
    if let Some(permission) = lacking.next() {
        let kinds: Vec<&str> = permission.details.keys().map(String::as_str).collect();
        let reason = format!(
            "{} needs authorization_details of type {}",
            permission.name,
            kinds.join(" or ")
        );
        return Err(bad(reason));
    }
    Ok(by_permission)
}

fn lifetime(
    request: &TokenRequest,
    service: &Service,
    permissions: &[WantedPermission],
    principal: &Principal,
    context: &RequestContext,
) -> Result<Seconds, Refusal> {
    let entry = principal.limits.max_ttl;
    let longest = entry.map_or(service.max_ttl, |cap| cap.min(service.max_ttl));
    if let Some(asked) = request.ttl {
        if asked == 0 || asked > longest.0 {
            let whose = if longest < service.max_ttl {
                "the registration entry"
            } else {
                "the service"
            };
            let reason = format!(
                "a lifetime of {asked} s is asked for; {whose} allows 1 to {} s",
                longest.0
            );
            return refuse(RefusalCode::InvalidRequest, reason);
        }
        return Ok(Seconds(asked));
    }
    // A default never makes a guardrail refuse what a careful request would get.
    let declared = |w: &WantedPermission| service.permissions.get(&w.name);
    let short = permissions
        .iter()
        .filter_map(declared)
        .any(crate::Permission::needs_short_life);
    let mut ttl = service.default_ttl.min(longest);
    if short {
        ttl = ttl.min(Seconds(HIGH_RISK_TTL_MAX));
    }
    if context.break_glass.is_some() {
        ttl = ttl.min(Seconds(BREAK_GLASS_TTL_MAX));
    }
    Ok(ttl)
}

/// The known name most like a mistyped one, if any is alike.
#[must_use]
pub fn nearest_name<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text: String = text.chars().take(128).collect();
    let most = 2.max(text.len() / 5);
    // Each letter too many or too few is one change, so others need not be compared.
    let alike = known.filter(|name| name.len().abs_diff(text.len()) <= most);
    let scored = alike.take(500).map(|name| (distance(&text, name), name));
    let (score, name) = scored.min()?;
    (score <= most).then_some(name)
}

/// Edit distance, with one row of memory.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(at + 1);
        for ((other, pair), left) in two.iter().zip(row.windows(2)).zip(1..) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => (0, 0),
            };
            let beside = next.get(left - 1).copied().unwrap_or_default();
            let swap = diagonal + usize::from(*other != letter);
            next.push(swap.min(above + 1).min(beside + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
