//! The Cedar schema, made from the catalogue: permissions are actions, services
//! are resources, attested workloads are principals.

use std::fmt::Write as _;

use policy::{Catalogue, Permission, Service};

/// What every policy set speaks of. `Path` and `TrustDomain` group workloads by
/// their SPIFFE IDs; everything in `Workload` comes from attestation and the
/// registration entry; everything in `Circumstances` is derived by the host.
pub(crate) const WORLD: &str = r#"
entity TrustDomain;
entity Path;
type Node = {
  id: String,
  attestor: String,
  selectors: Set<String>,
  attestedAt: datetime
};
entity Workload in [Path, TrustDomain] = {
  id: String,
  entry: String,
  selectors: Set<String>,
  attestedAt: datetime,
  node: Node
};
entity Audience = {
  owner: String,
  requirePop: Bool
} tags String;
type Circumstances = {
  now: datetime,
  weekday: Long,
  sourceIp?: ipaddr,
  pop: Bool,
  profile: String,
  ttl: Long,
  mints5m: Long,
  risk: String,
  needsPossession: Bool,
  needsShortLife: Bool,
  deprecated: Bool,
  pastSunset: Bool,
  detailTypes: Set<String>,
  breakGlass?: { ticket: String, approver: String }
};
"#;

const SERVICE: &str = "service=";

/// The action group of all permissions of a service.
pub(crate) fn service_group(audience: &str) -> String {
    format!("{SERVICE}{audience}")
}

/// The service whose group an action is, if it is one.
pub(crate) fn group_of_service(action: &str) -> Option<&str> {
    action.strip_prefix(SERVICE)
}

/// The action group of all permissions of a risk.
pub(crate) fn risk_group(risk: policy::Risk) -> String {
    format!("risk={}", risk.as_str())
}

/// A string literal of Cedar.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// The schema's text.
pub(crate) fn text(catalogue: &Catalogue) -> String {
    of(catalogue.services())
}

/// The schema's text as far as one service needs it.
pub(crate) fn text_of(service: &Service) -> String {
    of(std::iter::once(service))
}

fn of<'a>(services: impl Iterator<Item = &'a Service>) -> String {
    let mut out = String::from(WORLD);
    for risk in [policy::Risk::Low, policy::Risk::Medium, policy::Risk::High] {
        declare(&mut out, &format!("action {};", quoted(&risk_group(risk))));
    }
    for service in services {
        let group = quoted(&service_group(service.audience.as_str()));
        declare(&mut out, &format!("action {group};"));
        for permission in service.permissions.values() {
            action(&mut out, service, permission);
        }
    }
    out
}

fn declare(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn action(out: &mut String, service: &Service, permission: &Permission) {
    let date = |name: &str, at: Option<identity::Timestamp>| {
        at.map(|at| format!("@{name}({}) ", quoted(&policy::rfc3339_text(at))))
            .unwrap_or_default()
    };
    let successor = permission.replaced_by.as_ref();
    let successor = successor.map(|name| format!("@replaced_by({}) ", quoted(name.as_str())));
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "@owner({}) @risk({}) {}{}{}action {} in [{}, {}] appliesTo {{ principal: [Workload], resource: [Audience], context: Circumstances }};",
        quoted(&service.owner),
        quoted(permission.risk.as_str()),
        date("deprecated", permission.deprecated),
        date("sunset", permission.sunset),
        successor.unwrap_or_default(),
        quoted(permission.name.as_str()),
        quoted(&service_group(service.audience.as_str())),
        quoted(&risk_group(permission.risk)),
    );
}
