//! From a catalogue file to a valid service: every rule of the catalogue.

use std::collections::{BTreeMap, HashMap};

use identity::{Seconds, Timestamp};

use super::document::{self, PermissionFile, RelaxFile, RiskFile, ServiceFile};
use super::{
    DEFAULT_TTL, Details, Endpoint, Permission, Profile, Relaxed, Risk, Service, endpoint,
};
use crate::limits::{ASKED_MAX, ENDPOINTS_MAX, PERMISSIONS_MAX, TEXT_BYTES_MAX, TTL_MAX};
use crate::{Audience, Fault, PermissionName, SourceFile, parse_duration};

/// Collects what is wrong in one file.
struct Complaints<'a> {
    file: &'a str,
    line: Option<u64>,
    faults: &'a mut Vec<Fault>,
}

impl Complaints<'_> {
    fn say(&mut self, what: impl Into<String>, next: &str) {
        let fault = Fault::error(self.file, self.line, what);
        self.faults.push(if next.is_empty() {
            fault
        } else {
            fault.next(next)
        });
    }

    fn text(&mut self, what: &str, text: &str) {
        if text.len() > TEXT_BYTES_MAX || text.contains(char::is_control) {
            self.say(
                format!("{what} is too long or has control characters"),
                "write one plain line",
            );
        }
    }

    fn ttl(&mut self, what: &str, text: Option<&String>) -> Option<Seconds> {
        let text = text?;
        match parse_duration(text) {
            Some(span) if (1..=TTL_MAX).contains(&span.0) => Some(span),
            _ => {
                self.say(
                    format!("{what} {text:?} is no lifetime"),
                    "write it such as 5m, from 1s to 24h",
                );
                None
            }
        }
    }

    fn day(&mut self, what: &str, text: Option<&String>) -> Option<Timestamp> {
        let text = text?;
        let day = crate::day(text);
        if day.is_none() {
            self.say(
                format!("{what} {text:?} is no date"),
                "write it such as 2027-01-15",
            );
        }
        day
    }
}

/// One service of one file.
pub(super) fn service(file: &SourceFile, faults: &mut Vec<Fault>) -> Option<Service> {
    let before = faults.len();
    let mut complaints = Complaints {
        file: &file.name,
        line: None,
        faults,
    };
    let read = match document::read(&file.text) {
        Ok(read) => read,
        Err((line, what)) => {
            complaints.line = line;
            complaints.say(what, "");
            return None;
        }
    };
    complaints.line = Some(read.audience.referenced.line());
    let service = build(&read, file, &mut complaints);
    service.filter(|_| complaints.faults.len() == before)
}

fn build(read: &ServiceFile, file: &SourceFile, say: &mut Complaints<'_>) -> Option<Service> {
    let audience = Audience::parse(&read.audience.value);
    if let Err(error) = &audience {
        say.say(error.to_string(), "");
    }
    if read.owner.trim().is_empty() {
        say.say(
            "the service has no owner",
            "name the team that answers for it",
        );
    }
    say.text("the owner", &read.owner);
    for (label, value) in &read.labels {
        say.text("a label", label);
        say.text("a label", value);
    }
    let profiles = profiles(read, say);
    let max_ttl = say.ttl("max_ttl", read.max_ttl.as_ref());
    let default_ttl = say.ttl("default_ttl", read.default_ttl.as_ref());
    let longest = max_ttl.or(default_ttl).unwrap_or(DEFAULT_TTL);
    let default_ttl = default_ttl.unwrap_or_else(|| DEFAULT_TTL.min(longest));
    if default_ttl > longest {
        say.say("default_ttl is longer than max_ttl", "shorten it");
    }
    let mut service = Service {
        audience: audience.ok()?,
        owner: read.owner.clone(),
        description: read.description.clone(),
        profiles,
        require_pop: read.require_pop,
        max_ttl: longest,
        default_ttl,
        all_if_none_asked: read.all_if_none_asked,
        labels: read.labels.clone(),
        permissions: BTreeMap::new(),
        source: file.clone(),
        endpoints: endpoint::Table::default(),
        types: HashMap::new(),
    };
    permissions(read, &mut service, say);
    if service.all_if_none_asked && service.permissions.len() > ASKED_MAX {
        say.say(
            format!("all_if_none_asked with more than the {ASKED_MAX} permissions of one request"),
            "take it away, or split the service",
        );
    }
    Some(service)
}

fn profiles(read: &ServiceFile, say: &mut Complaints<'_>) -> Vec<Profile> {
    let mut profiles = Vec::new();
    for text in &read.profiles {
        match text.parse::<Profile>() {
            Ok(profile) if profiles.contains(&profile) => {
                say.say(
                    format!("the profile {profile} is listed twice"),
                    "remove one",
                );
            }
            Ok(Profile::JwtSvid) if read.require_pop => say.say(
                "jwt-svid tokens prove no possession, and require_pop is set",
                "accept at+jwt only, or drop require_pop",
            ),
            Ok(profile) => profiles.push(profile),
            Err(what) => say.say(what, ""),
        }
    }
    if profiles.is_empty() {
        profiles.push(Profile::AccessToken);
    }
    profiles
}

fn permissions(read: &ServiceFile, service: &mut Service, say: &mut Complaints<'_>) {
    if read.permissions.is_empty() || read.permissions.len() > PERMISSIONS_MAX {
        let what = format!(
            "the service declares {} permissions",
            read.permissions.len()
        );
        say.say(what, &format!("declare 1 to {PERMISSIONS_MAX}"));
    }
    let mut endpoints = 0;
    for written in &read.permissions {
        say.line = Some(written.referenced.line());
        let Some(permission) = permission(&written.value, say) else {
            continue;
        };
        if service.permissions.contains_key(&permission.name) {
            say.say(
                format!("the permission {} is declared twice", permission.name),
                "remove one",
            );
            continue;
        }
        for kind in permission.details.keys() {
            if let Some(other) = service.types.insert(kind.clone(), permission.name.clone()) {
                let what = format!("the authorization_details type {kind} is also that of {other}");
                say.say(
                    what,
                    "a type belongs to one permission: give it a URI of its own",
                );
            }
        }
        endpoints += permission.endpoints.len();
        for endpoint in &permission.endpoints {
            let taken = service.endpoints.insert(endpoint.clone(), &permission.name);
            if let Err((other, whose)) = taken {
                let what = format!("the endpoint {endpoint} overlaps {other} of {whose}");
                say.say(
                    what,
                    "a call needs exactly one permission: make one of them narrower",
                );
            }
        }
        service
            .permissions
            .insert(permission.name.clone(), permission);
    }
    if endpoints > ENDPOINTS_MAX {
        say.say(
            format!("{endpoints} endpoints"),
            &format!("at most {ENDPOINTS_MAX} for one service"),
        );
    }
}

fn permission(read: &PermissionFile, say: &mut Complaints<'_>) -> Option<Permission> {
    let name = match PermissionName::parse(&read.name) {
        Ok(name) => name,
        Err(error) => {
            say.say(error.to_string(), "");
            return None;
        }
    };
    say.text("the description", &read.description);
    let replaced_by = read
        .replaced_by
        .as_ref()
        .map(|text| PermissionName::parse(text));
    if let Some(Err(error)) = &replaced_by {
        say.say(format!("replaced_by: {error}"), "");
    }
    let risk = match read.risk {
        RiskFile::Low => Risk::Low,
        RiskFile::Medium => Risk::Medium,
        RiskFile::High => Risk::High,
    };
    let permission = Permission {
        description: read.description.clone(),
        risk,
        relaxed: relaxed(&read.relax, risk, &name, say),
        max_ttl: say.ttl("max_ttl", read.max_ttl.as_ref()),
        since: say.day("since", read.since.as_ref()),
        deprecated: say.day("deprecated", read.deprecated.as_ref()),
        sunset: say.day("sunset", read.sunset.as_ref()),
        replaced_by: replaced_by.and_then(Result::ok),
        details: details(read, say),
        details_required: read.details_required,
        endpoints: endpoints(read, say),
        name,
    };
    if permission.details_required && permission.details.is_empty() {
        say.say(
            "details_required without details",
            "declare a type, or drop it",
        );
    }
    let ordered = [permission.since, permission.deprecated, permission.sunset];
    let dates: Vec<Timestamp> = ordered.into_iter().flatten().collect();
    if !dates.is_sorted() {
        say.say(
            "since, deprecated and sunset are not in this order",
            "correct the dates",
        );
    }
    Some(permission)
}

fn relaxed(
    read: &RelaxFile,
    risk: Risk,
    name: &PermissionName,
    say: &mut Complaints<'_>,
) -> Relaxed {
    for reason in [&read.possession, &read.lifetime].into_iter().flatten() {
        say.text("the reason to relax", reason);
        if reason.trim().len() < 10 {
            say.say(
                format!("{name} is relaxed without a reason"),
                "write why it is safe without",
            );
        }
        if risk != Risk::High {
            say.say(
                format!("{name} is relaxed, but its risk is not high"),
                "drop relax",
            );
        }
    }
    Relaxed {
        possession: read.possession.clone(),
        lifetime: read.lifetime.clone(),
    }
}

fn details(read: &PermissionFile, say: &mut Complaints<'_>) -> BTreeMap<String, Details> {
    let mut compiled = BTreeMap::new();
    for (kind, schema) in &read.details {
        let uri =
            kind.contains(':') && kind.len() <= 255 && kind.bytes().all(|b| b.is_ascii_graphic());
        if !uri {
            say.say(
                format!("{kind:?} is no authorization_details type"),
                "use a URI, such as urn:example:refund",
            );
        }
        match Details::compile(schema) {
            Ok(details) => {
                compiled.insert(kind.clone(), details);
            }
            Err(what) => say.say(
                format!("the schema of {kind} is none: {what}"),
                "correct it",
            ),
        }
    }
    compiled
}

fn endpoints(read: &PermissionFile, say: &mut Complaints<'_>) -> Vec<Endpoint> {
    let http = read.endpoints.http.iter().map(|text| Endpoint::http(text));
    let grpc = read.endpoints.grpc.iter().map(|text| Endpoint::grpc(text));
    let mut endpoints = Vec::new();
    for endpoint in http.chain(grpc) {
        match endpoint {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => say.say(error.to_string(), ""),
        }
    }
    endpoints
}

/// What must hold between services.
pub(super) fn together(
    services: Vec<Service>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<Audience, Service> {
    let mut by_audience: BTreeMap<Audience, Service> = BTreeMap::new();
    let mut names: HashMap<PermissionName, String> = HashMap::new();
    for service in services {
        let file = service.source.name.clone();
        if let Some(other) = by_audience.get(&service.audience) {
            let what = format!(
                "the audience {} is {}'s here and {}'s in {}",
                service.audience, service.owner, other.owner, other.source.name
            );
            faults.push(Fault::error(&file, None, what).next(
                "one service, one audience, one owner: merge the files, or rename one audience",
            ));
            continue;
        }
        for name in service.permissions.keys() {
            if let Some(other) = names.insert(name.clone(), file.clone()) {
                let what = format!("the permission {name} is also declared in {other}");
                faults.push(
                    Fault::error(&file, None, what).next(
                        "names are unique in the catalogue: begin them with the service's name",
                    ),
                );
            }
        }
        by_audience.insert(service.audience.clone(), service);
    }
    replacements(&by_audience, &names, faults);
    by_audience
}

fn replacements(
    services: &BTreeMap<Audience, Service>,
    names: &HashMap<PermissionName, String>,
    faults: &mut Vec<Fault>,
) {
    for service in services.values() {
        for permission in service.permissions.values() {
            let Some(successor) = &permission.replaced_by else {
                continue;
            };
            if successor == &permission.name || !names.contains_key(successor) {
                let what = format!(
                    "{} is replaced by {successor}, which is no other permission",
                    permission.name
                );
                faults.push(
                    Fault::error(&service.source.name, None, what)
                        .next("name a permission of the catalogue"),
                );
            }
        }
    }
}
