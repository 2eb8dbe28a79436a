//! From Cedar files to rules: parsed, annotated, known to the catalogue.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr as _;
use std::sync::OnceLock;

use cedar_policy::{
    ActionConstraint, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint,
};
use identity::{SpiffeId, TrustDomain};
use miette::Diagnostic;
use policy::limits::{TEXT_BYTES_MAX, TTL_MAX};
use policy::{
    Catalogue, Fault, Obligations, PermissionName, PolicyRef, Rate, Risk, SourceFile, nearest_name,
    parse_duration,
};

use crate::builtin;
use crate::rule::{Covers, Effect, Layer, Rule, Whose};
use crate::schema::{risk_group, service_group};
use crate::shape;

pub(crate) const KNOWN: &str = "@id, @owner, @rationale, @ticket, @max_ttl and @rate";

/// Reads files one after another.
pub(crate) struct Reader<'a> {
    catalogue: &'a Catalogue,
    groups: HashMap<String, BTreeSet<PermissionName>>,
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) faults: Vec<Fault>,
    /// The levels of the deepest policy.
    pub(crate) deepest: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(catalogue: &'a Catalogue) -> Self {
        let mut groups: HashMap<String, BTreeSet<PermissionName>> = HashMap::new();
        for service in catalogue.services() {
            for permission in service.permissions.values() {
                let name = &permission.name;
                for group in [
                    service_group(service.audience.as_str()),
                    risk_group(permission.risk),
                ] {
                    groups.entry(group).or_default().insert(name.clone());
                }
            }
        }
        Self {
            catalogue,
            groups,
            rules: BTreeMap::new(),
            faults: Vec::new(),
            deepest: 0,
        }
    }

    /// Takes every policy of a file. What nests too deep never reaches Cedar.
    pub(crate) fn read(&mut self, file: &SourceFile, layer: Layer) {
        match shape::measure(&file.name, &file.text) {
            Ok(shape) => self.deepest = self.deepest.max(shape.depth),
            Err(fault) => return self.faults.push(fault),
        }
        let set = match PolicySet::from_str(&file.text) {
            Ok(set) => set,
            Err(errors) => {
                self.faults
                    .extend(errors.iter().map(|error| unreadable(file, error)));
                return;
            }
        };
        for _ in set.templates() {
            let fault = Fault::error(
                &file.name,
                None,
                "the file has a template (?principal or ?resource)",
            );
            self.faults.push(fault.next("write policies without slots"));
        }
        let mut from = 0;
        for policy in set.policies() {
            let text = policy.to_cedar().unwrap_or_default();
            let rest = file.text.get(from..).unwrap_or_default();
            let at = rest.find(text.as_str()).map_or(from, |found| from + found);
            let before = file.text.get(..at).unwrap_or_default();
            let line = (layer != Layer::Builtin).then(|| 1 + before.matches('\n').count() as u64);
            from = at + text.len();
            let mut one = One {
                file: &file.name,
                line,
                faults: &mut self.faults,
            };
            let Some(rule) = one.rule(policy, layer, self.catalogue, &self.groups) else {
                continue;
            };
            if let Some(other) = self.rules.get(rule.id()) {
                let what = format!("the id {:?} is also that of {}", rule.id(), other.place());
                one.say(what, "give each policy an id of its own");
                continue;
            }
            self.rules.insert(rule.id().to_owned(), rule);
        }
    }
}

fn unreadable(file: &SourceFile, error: &dyn Diagnostic) -> Fault {
    let at = error
        .labels()
        .and_then(|mut labels| labels.next())
        .map(|label| label.offset());
    let line = at.map(|at| {
        let before = file.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count() as u64
    });
    let fault = Fault::error(&file.name, line, error.to_string());
    match error.help() {
        Some(help) => fault.next(help.to_string()),
        None => fault,
    }
}

/// One policy being read.
struct One<'a> {
    file: &'a str,
    line: Option<u64>,
    faults: &'a mut Vec<Fault>,
}

impl One<'_> {
    fn say(&mut self, what: impl Into<String>, next: impl Into<String>) {
        self.faults
            .push(Fault::error(self.file, self.line, what).next(next));
    }

    fn rule(
        &mut self,
        policy: &Policy,
        layer: Layer,
        catalogue: &Catalogue,
        groups: &HashMap<String, BTreeSet<PermissionName>>,
    ) -> Option<Rule> {
        let before = self.faults.len();
        let effect = match policy.effect() {
            cedar_policy::Effect::Permit => Effect::Permit,
            cedar_policy::Effect::Forbid => Effect::Forbid,
        };
        let (about, obligations) = self.annotations(policy, layer, effect)?;
        if layer == Layer::Guardrail && effect == Effect::Permit {
            self.say(
                format!("{} permits, and a guardrail only forbids", about.id),
                "move it to policies/, or turn it into a forbid",
            );
        }
        self.literals(policy, &about.id, catalogue);
        self.actions(policy, &about.id, (catalogue, groups));
        let covers = self.covers(policy, &about.id, catalogue, groups);
        let text = policy.to_cedar().unwrap_or_default();
        let rule = Rule {
            effect,
            layer,
            file: self.file.to_owned(),
            line: self.line,
            obligations,
            covers,
            principal: whose(policy),
            timed: text.contains("now") || text.contains("weekday"),
            policy: policy.new_id(PolicyId::new(&about.id)),
            conditions: OnceLock::new(),
            about,
        };
        (self.faults.len() == before).then_some(rule)
    }

    fn annotations(
        &mut self,
        policy: &Policy,
        layer: Layer,
        effect: Effect,
    ) -> Option<(PolicyRef, Obligations)> {
        let mut about = PolicyRef {
            id: String::new(),
            owner: String::new(),
            rationale: String::new(),
            ticket: None,
        };
        let mut obligations = Obligations::default();
        for (key, value) in policy.annotations() {
            if value.len() > TEXT_BYTES_MAX || value.contains(char::is_control) {
                self.say(
                    format!("@{key} is too long or has control characters"),
                    "write one plain line",
                );
            }
            match key {
                "id" => value.clone_into(&mut about.id),
                "owner" => value.clone_into(&mut about.owner),
                "rationale" => value.clone_into(&mut about.rationale),
                "ticket" => about.ticket = Some(value.to_owned()),
                "max_ttl" => {
                    obligations.max_ttl =
                        parse_duration(value).filter(|t| (1..=TTL_MAX).contains(&t.0));
                    if obligations.max_ttl.is_none() {
                        self.say(
                            format!("@max_ttl({value:?}) is no lifetime"),
                            "write it such as 5m, from 1s to 24h",
                        );
                    }
                }
                "rate" => {
                    obligations.rate = Rate::parse(value);
                    if obligations.rate.is_none() {
                        self.say(
                            format!("@rate({value:?}) is no rate"),
                            "write it such as 60/1m",
                        );
                    }
                }
                _ => self.say(
                    format!("the annotation @{key} is unknown, and would do nothing"),
                    format!("known are {KNOWN}"),
                ),
            }
        }
        if effect == Effect::Forbid && obligations != Obligations::default() {
            self.say(
                "a forbid grants nothing that @max_ttl or @rate could limit",
                "drop the annotation",
            );
        }
        self.named(&about, layer).then_some((about, obligations))
    }

    fn named(&mut self, about: &PolicyRef, layer: Layer) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
        if about.id.is_empty() {
            self.say(
                "the policy has no @id",
                "name it, for records and tests: @id(\"pay-0001\")",
            );
            return false;
        }
        let fits = about.id.len() <= 128 && about.id.bytes().all(plain);
        let ours = layer == Layer::Builtin && about.id.starts_with(builtin::PREFIX);
        if !fits && !ours {
            self.say(
                format!("{:?} is no policy id", about.id),
                "use letters, digits and . _ - /, at most 128",
            );
            return false;
        }
        if about.owner.trim().is_empty() {
            self.say(
                format!("{} has no @owner", about.id),
                "name the team that answers for it",
            );
        }
        if about.rationale.trim().is_empty() {
            self.say(
                format!("{} has no @rationale", about.id),
                "say why, for whoever reads a record of it",
            );
        }
        true
    }

    /// Actions that no service declares, each with the one that is most like it.
    fn actions(
        &mut self,
        policy: &Policy,
        id: &str,
        (catalogue, groups): (&Catalogue, &HashMap<String, BTreeSet<PermissionName>>),
    ) {
        let known = || {
            let services = catalogue.services();
            let permissions = services.flat_map(|service| service.permissions.keys());
            let permissions = permissions.map(PermissionName::as_str);
            permissions.chain(groups.keys().map(String::as_str))
        };
        for literal in policy.entity_literals() {
            let name = literal.id().unescaped();
            let is_action = literal.type_name().to_string() == "Action";
            // Declared, though nothing may be of that risk.
            let risk = [Risk::Low, Risk::Medium, Risk::High];
            let is_risk = risk.iter().any(|risk| risk_group(*risk) == name);
            let is_known = catalogue.permission(name).is_some() || groups.contains_key(name);
            if !is_action || is_known || is_risk {
                continue;
            }
            let next = nearest_name(name, known()).map_or_else(
                || "name a permission of the catalogue, or a group such as service=payments".into(),
                |near| format!("did you mean Action::{near:?}?"),
            );
            let what = format!("{id} names {literal}, which no service of the catalogue declares");
            self.say(what, next);
        }
    }

    /// Names in policies that nothing will ever have are mistakes.
    fn literals(&mut self, policy: &Policy, id: &str, catalogue: &Catalogue) {
        for literal in policy.entity_literals() {
            let name = literal.id().unescaped();
            let kind = literal.type_name().to_string();
            let wrong = match kind.as_str() {
                "Workload" | "Path" => SpiffeId::parse(name).err().map(|e| e.to_string()),
                "TrustDomain" => TrustDomain::parse(name).err().map(|e| e.to_string()),
                "Audience" if catalogue.service(name).is_none() => {
                    Some("no service of the catalogue has this audience".into())
                }
                _ => None,
            };
            if let Some(why) = wrong {
                let next = match kind.as_str() {
                    "Audience" => "name an audience of the catalogue",
                    "TrustDomain" => "write it such as TrustDomain::\"example.org\"",
                    _ => {
                        "write the whole SPIFFE ID, such as Path::\"spiffe://example.org/checkout\""
                    }
                };
                self.say(
                    format!("{id} names {literal}, which matches nothing: {why}"),
                    next,
                );
            }
        }
    }

    fn covers(
        &mut self,
        policy: &Policy,
        id: &str,
        catalogue: &Catalogue,
        groups: &HashMap<String, BTreeSet<PermissionName>>,
    ) -> Covers {
        let of = |action: &EntityUid| -> BTreeSet<PermissionName> {
            let name = action.id().unescaped();
            let one = catalogue.permission(name).map(|(_, p)| p.name.clone());
            groups
                .get(name)
                .cloned()
                .unwrap_or_default()
                .into_iter()
                .chain(one)
                .collect()
        };
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => Covers::All,
            ActionConstraint::Eq(action) => Covers::Only(of(&action)),
            ActionConstraint::In(actions) => Covers::Only(actions.iter().flat_map(of).collect()),
        };
        let (ResourceConstraint::Eq(resource)
        | ResourceConstraint::In(resource)
        | ResourceConstraint::IsIn(_, resource)) = policy.resource_constraint()
        else {
            return actions;
        };
        // An unknown audience is told by `literals`.
        let Some(service) = catalogue.service(resource.id().unescaped()) else {
            return actions;
        };
        let own = service
            .permissions
            .keys()
            .filter(|name| actions.contains(name));
        let own: BTreeSet<PermissionName> = own.cloned().collect();
        if own.is_empty() {
            self.say(
                format!(
                    "{id} can never apply: {} declares none of its actions",
                    service.audience
                ),
                "name a permission of that service",
            );
        }
        Covers::Only(own)
    }
}

fn whose(policy: &Policy) -> Whose {
    match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Whose::Anyone,
        PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::In(uid)
        | PrincipalConstraint::IsIn(_, uid) => Whose::Of(uid),
    }
}
