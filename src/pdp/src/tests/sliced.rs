//! Sliced answers are whole answers: whatever policies and requests are made up,
//! evaluating only what can matter says the same as evaluating everything,
//! policies that fail to evaluate included.

use cedar_policy::PolicySet;
use policy::WantedPermission;
use proptest::prelude::*;

use super::*;
use crate::facts::Facts;
use crate::slices::Bucket;
use crate::survey::supposed;
use crate::verdict::Verdict;

const CATALOGUE: [(&str, &str); 2] = [
    (
        "catalogue/a.yaml",
        "{audience: a, owner: t, permissions: [{name: 'a:read', risk: low}, {name: 'a:write', risk: high}]}",
    ),
    (
        "catalogue/b.yaml",
        "{audience: b, owner: t, permissions: [{name: 'b:read', risk: low}, {name: 'b:write', risk: high}]}",
    ),
];

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal is Workload",
    "principal == Workload::\"spiffe://example.org/x/y\"",
    "principal in Path::\"spiffe://example.org/x\"",
    "principal in Path::\"spiffe://example.org/x/y\"",
    "principal is Workload in Path::\"spiffe://example.org/z\"",
    "principal in TrustDomain::\"example.org\"",
    "principal in TrustDomain::\"other.org\"",
];
const ACTIONS: &[&str] = &[
    "action",
    "action == Action::\"a:read\"",
    "action == Action::\"b:write\"",
    "action in [Action::\"a:read\", Action::\"a:write\"]",
    "action in Action::\"service=b\"",
    "action in Action::\"risk=high\"",
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource is Audience",
    "resource == Audience::\"a\"",
    "resource in Audience::\"b\"",
];
const CONDITIONS: &[&str] = &[
    "",
    "when { context.weekday == 2 }",
    "when { context.weekday == 7 }",
    "when { context.pop }",
    // Overflows, and so fails, as soon as there was a mint.
    "when { context.mints5m + 9223372036854775807 > 0 }",
    "unless { context.ttl * 9223372036854775807 > 5 }",
];
const WORKLOADS: &[&str] = &[
    "spiffe://example.org/x",
    "spiffe://example.org/x/y",
    "spiffe://example.org/xx",
    "spiffe://example.org/z/deep/er",
    "spiffe://other.org/x/y",
];

type Made = (bool, usize, usize, usize, usize);

fn sources(made: &[Made]) -> Sources {
    let file = |(name, text): (&str, &str)| SourceFile {
        name: name.into(),
        text: text.into(),
    };
    let mut sources = Sources {
        catalogue: CATALOGUE.into_iter().map(file).collect(),
        ..Sources::default()
    };
    for (at, (permits, principal, action, resource, condition)) in made.iter().enumerate() {
        let effect = if *permits { "permit" } else { "forbid" };
        let text = format!(
            "@id(\"p{at}\") @owner(\"t\") @rationale(\"r\") {effect} ({}, {}, {}) {};",
            PRINCIPALS[*principal], ACTIONS[*action], RESOURCES[*resource], CONDITIONS[*condition]
        );
        sources
            .policies
            .push(file((&format!("policies/{at}.cedar"), &text)));
    }
    sources
}

/// All policies in one set, as Cedar itself would take them.
fn whole(engine: &Engine) -> Bucket {
    let policies = engine.rules().map(|rule| rule.policy.clone());
    Bucket {
        policies: PolicySet::from_policies(policies).unwrap(),
        timed: false,
    }
}

fn agree(engine: &Engine, whole: &Bucket, who: &str, mints: u32) {
    let who = principal(who, TUESDAY);
    let mut context = context(TUESDAY);
    context.mints_5m = mints;
    for service in engine.catalogue().services() {
        for permission in service.permissions.values() {
            let wanted = supposed(service, permission, &who);
            let loaded = &engine.0;
            let facts =
                Facts::new(&loaded.types, &loaded.offered, &who, &context, &wanted).unwrap();
            let asked = WantedPermission {
                name: permission.name.clone(),
                details: Vec::new(),
            };
            let sliced = engine.verdict(&facts, permission, &asked, TUESDAY).unwrap();
            let request = facts
                .request(&loaded.types, permission, &[], TUESDAY)
                .unwrap();
            let all = std::iter::once(whole);
            let full = Verdict::of(&loaded.authorizer, &request, &facts.entities, all);
            assert_eq!(
                sliced.permits, full.permits,
                "{} {}",
                who.spiffe_id, permission.name
            );
            assert_eq!(
                sliced.forbids, full.forbids,
                "{} {}",
                who.spiffe_id, permission.name
            );
            assert_eq!(
                sliced.errors, full.errors,
                "{} {}",
                who.spiffe_id, permission.name
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sliced_answers_are_whole_answers(
        made in proptest::collection::vec(
            (any::<bool>(), 0..PRINCIPALS.len(), 0..ACTIONS.len(), 0..RESOURCES.len(), 0..CONDITIONS.len()),
            0..12,
        ),
        mints in 0..2u32,
    ) {
        // A policy that could never apply is refused when it is loaded.
        let never = |m: &Made| matches!((m.2, m.3), (1 | 3, 3) | (2 | 4, 2));
        let made: Vec<Made> = made.into_iter().filter(|m| !never(m)).collect();
        let engine = Engine::load(&sources(&made)).unwrap();
        let whole = whole(&engine);
        for who in WORKLOADS {
            agree(&engine, &whole, who, mints);
        }
    }
}

/// A policy that reaches more permissions than a slice holds is kept for all.
#[test]
fn wide_policies_matter_everywhere() {
    let mut sources = sources(&[(true, 3, 5, 0, 0), (false, 0, 5, 0, 1)]);
    for at in 0..70 {
        let name = format!("catalogue/c{at}.yaml");
        let text = format!(
            "{{audience: c{at}, owner: t, permissions: [{{name: 'c{at}:x', risk: high}}]}}"
        );
        sources.catalogue.push(SourceFile { name, text });
    }
    let engine = Engine::load(&sources).unwrap();
    let whole = whole(&engine);
    for who in WORKLOADS {
        agree(&engine, &whole, who, 0);
    }
}

/// What the host makes is what the schema, against which policies were validated,
/// describes.
#[test]
fn facts_are_of_the_schema() {
    let engine = Engine::load(&example()).unwrap();
    let who = principal("spiffe://example.org/checkout/web", TUESDAY);
    let mut context = context(TUESDAY);
    context.break_glass = Some(policy::BreakGlass {
        ticket: "INC-1".into(),
        approver: "uid:0".into(),
    });
    let loaded = &engine.0;
    for service in engine.catalogue().services() {
        for permission in service.permissions.values() {
            let wanted = supposed(service, permission, &who);
            let facts =
                Facts::new(&loaded.types, &loaded.offered, &who, &context, &wanted).unwrap();
            let details = &wanted.permissions[0].details;
            let request = facts
                .request(&loaded.types, permission, details, TUESDAY)
                .unwrap();
            let action = request.action().unwrap();
            request
                .context()
                .unwrap()
                .validate(&loaded.schema, action)
                .unwrap();
            let entities = facts.entities.to_json_value().unwrap();
            let checked = cedar_policy::Entities::from_json_value(entities, Some(&loaded.schema));
            assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
