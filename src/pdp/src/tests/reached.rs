//! Three answers: now, under conditions, never. Nothing that could be granted is left out.

use identity::{Selector, Selectors};
use policy::BreakGlass;
use proptest::prelude::*;

use super::*;
use crate::{Access, Difference, difference};

const ID: &str = "spiffe://example.org/shop";

fn permit(id: &str, permission: &str, condition: &str) -> String {
    format!(
        "@id(\"{id}\") @owner(\"t\") @rationale(\"r\") permit (principal in Path::\"{ID}\", \
         action == Action::\"shop:{permission}\", resource) {condition};\n"
    )
}

fn forbid(id: &str, condition: &str) -> String {
    format!(
        "@id(\"{id}\") @owner(\"t\") @rationale(\"r\") forbid (principal, action, resource) {condition};\n"
    )
}

fn engine(policies: &str, guardrails: &str) -> Engine {
    Engine::load(&small(policies, guardrails)).unwrap()
}

/// What is said of the one workload and `shop:drop`, which is of high risk.
fn ways(engine: &Engine) -> (bool, Vec<String>) {
    let who = [principal(ID, TUESDAY)];
    let found = engine.who_can("shop:drop", "shop", &who, &calm()).unwrap();
    let survey = &found[0];
    let ways = survey.possible.iter().map(crate::Way::text).collect();
    (survey.answer.is_granted(), ways)
}

/// As the server supposes it: no address is known.
fn calm() -> RequestContext {
    RequestContext {
        source_ip: None,
        ..context(TUESDAY)
    }
}

const CIRCUMSTANCES: [&str; 5] = [
    // A selector that the entry does not name.
    "principal.selectors.contains(\"unix:gid:7\")",
    // Another time of the day, another day.
    "context.now.toTime() > duration(\"20h\")",
    "context.weekday == 6",
    // The network.
    "context has sourceIp && context.sourceIp.isInRange(ip(\"10.0.0.0/8\"))",
    // An emergency.
    "context has breakGlass",
];

#[test]
fn u3_what_other_circumstances_would_grant_is_told_with_its_conditions() {
    for circumstance in CIRCUMSTANCES {
        let engine = engine(
            &permit("p", "drop", &format!("when {{ {circumstance} }}")),
            "",
        );
        let (now, ways) = ways(&engine);
        assert!(!now, "{circumstance}");
        let condition = circumstance.split(" && ").next().unwrap();
        assert!(
            ways[0].starts_with(&format!("p if {condition}")),
            "{ways:?}"
        );
        let what = engine.what_can(&principal(ID, TUESDAY), &calm());
        let drop = what.iter().find(|s| !s.possible.is_empty());
        assert!(drop.is_some(), "{circumstance}");
    }
    let always = engine(&permit("p", "drop", ""), "");
    assert_eq!(ways(&always), (true, Vec::new()));
}

#[test]
fn u3_what_is_settled_is_never() {
    for condition in [
        "when { principal.entry == \"another\" }",
        "when { resource.owner == \"nobody\" && context has breakGlass }",
        "when { context.risk == \"low\" }",
        "unless { principal.id == \"spiffe://example.org/shop\" }",
    ] {
        let found = ways(&engine(&permit("p", "drop", condition), ""));
        assert_eq!(found, (false, Vec::new()), "{condition}");
    }
    // Forbidden whatever happens, and forbidden at this moment.
    let permit = permit("p", "drop", "");
    let never = engine(&permit, &forbid("g", "when { context.risk == \"high\" }"));
    assert_eq!(ways(&never), (false, Vec::new()));
    let today = engine(&permit, &forbid("g", "when { context.weekday == 2 }"));
    assert_eq!(ways(&today), (false, vec!["p always".to_owned()]));
    let mut who = principal(ID, TUESDAY);
    who.limits.audiences = Some(vec!["other".into()]);
    let limited = today.who_can("shop:drop", "shop", &[who], &calm()).unwrap();
    assert!(limited[0].possible.is_empty(), "the entry's limits");
}

fn changed(old: &Engine, new: &Engine) -> Difference {
    difference(old, new, &[principal(ID, TUESDAY)], &calm())
}

fn told(list: &[Access]) -> Vec<String> {
    let one = |a: &Access| format!("{} {}", a.permission, a.conditions.join(" | "));
    list.iter().map(one).collect()
}

#[test]
fn u3_a_grant_under_conditions_is_a_gain_and_taking_it_away_a_loss() {
    let nothing = engine("", "");
    for circumstance in CIRCUMSTANCES {
        let with = permit("p", "drop", &format!("when {{ {circumstance} }}"));
        let with = engine(&with, "");
        let found = changed(&nothing, &with);
        assert_eq!((found.allowed.len(), found.denied.len()), (1, 0));
        assert!(told(&found.allowed)[0].starts_with("shop:drop p if "));
        let found = changed(&with, &nothing);
        assert_eq!((found.allowed.len(), found.denied.len()), (0, 1));
        assert!(changed(&with, &with).is_empty());
    }
    // A wider condition is both: other conditions than before.
    let narrow = engine(&permit("p", "drop", "when { context.weekday < 6 }"), "");
    let wide = engine(&permit("p", "drop", "when { context.weekday < 7 }"), "");
    let found = changed(&narrow, &wide);
    assert_eq!(told(&found.allowed), ["shop:drop p if context.weekday < 7"]);
    assert_eq!(told(&found.denied), ["shop:drop p if context.weekday < 6"]);
    // A guardrail that goes lets through what it held back.
    let held = engine(
        &permit("p", "drop", ""),
        &forbid("g", "when { context.weekday == 7 }"),
    );
    let free = engine(&permit("p", "drop", ""), "");
    let found = changed(&held, &free);
    assert_eq!(
        told(&found.allowed),
        ["shop:drop no longer forbidden by g if context.weekday == 7"]
    );
    assert_eq!(changed(&free, &held).denied.len(), 1);
    // What is permitted anyway gains nothing by a second policy.
    let twice = permit("p", "drop", "") + &permit("q", "drop", "when { context has breakGlass }");
    let found = changed(&free, &engine(&twice, ""));
    assert_eq!((found.allowed.len(), found.denied.len()), (0, 0));
}

const CONDITIONS: &[&str] = &[
    "",
    "when { context.weekday == 2 }",
    "when { context.weekday == 7 || context has breakGlass }",
    "unless { context.now.toTime() < duration(\"12h\") }",
    "when { context has sourceIp && context.sourceIp.isInRange(ip(\"10.0.0.0/8\")) }",
    "when { principal.selectors.contains(\"unix:gid:7\") && context.pop }",
    "when { context.risk == \"high\" && context.ttl < 200 }",
    "when { context has breakGlass && context.breakGlass.ticket like \"INC-*\" }",
    "unless { principal.node.attestor == \"x509pop\" }",
    "when { context.mints5m > 3 }",
    "when { principal.entry == \"entry-1\" }",
    "when { if context.weekday > 5 then context.pop else context has breakGlass }",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever any moment grants, the question about this one has told of.
    #[test]
    fn u3_nothing_that_could_be_granted_is_left_out(
        permits in prop::collection::vec(0..CONDITIONS.len(), 0..4),
        forbids in prop::collection::vec(0..CONDITIONS.len(), 0..2),
        hours in 0_i64..168,
        address in prop::option::of(any::<[u8; 4]>()),
        gid in any::<bool>(),
        emergency in any::<bool>(),
        mints_5m in 0_u32..6,
    ) {
        let permits: String = permits.iter().enumerate()
            .map(|(n, c)| permit(&format!("p{n}"), "drop", CONDITIONS[*c]))
            .collect();
        let forbids: String = forbids.iter().enumerate()
            .map(|(n, c)| forbid(&format!("g{n}"), CONDITIONS[*c]))
            .collect();
        let engine = engine(&permits, &forbids);
        let (now, ways) = ways(&engine);
        let at = Timestamp(TUESDAY.0 + hours * 3600);
        let mut who = principal(ID, at);
        if gid {
            who.selectors = Selectors::new(vec![Selector::parse("unix:gid:7").unwrap()]).unwrap();
        }
        let then = RequestContext {
            source_ip: address.map(Into::into),
            mints_5m,
            break_glass: emergency.then(|| BreakGlass {
                ticket: "INC-7".into(),
                approver: "uid:1".into(),
            }),
            ..context(at)
        };
        for ttl in [None, Some(60)] {
            let request = TokenRequest { ttl, ..asking("shop", &["shop:drop"]) };
            let decision = decide(&engine, &who, &then, &request);
            if !decision.granted.is_empty() {
                prop_assert!(now || !ways.is_empty(), "{permits}{forbids}");
            }
        }
    }
}
