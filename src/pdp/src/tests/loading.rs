//! What is refused when a policy set is loaded, and what is reported.

use policy::Fault;

use super::*;

const HEAD: &str = "@id(\"a\") @owner(\"team\") @rationale(\"because\") ";

fn complaint(policies: &str, guardrails: &str) -> String {
    let faults = Engine::load(&small(policies, guardrails)).expect_err("it should be refused");
    faults
        .iter()
        .map(Fault::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Policies (HEAD stands for the annotations each one needs), and what is said about them.
const MISTAKES: &[(&str, &str)] = &[
    ("permit (principal, action, resource);", "has no @id"),
    (
        "@id(\"a\") @owner(\"t\") permit (principal, action, resource);",
        "no @rationale",
    ),
    (
        "@id(\"a b\") permit (principal, action, resource);",
        "is no policy id",
    ),
    (
        "@id(\"builtin:a\") permit (principal, action, resource);",
        "is no policy id",
    ),
    (
        "HEAD @max_tll(\"5m\") permit (principal, action, resource);",
        "@max_tll is unknown",
    ),
    (
        "HEAD @guardrail permit (principal, action, resource);",
        "@guardrail is unknown",
    ),
    (
        "HEAD @max_ttl(\"5\") permit (principal, action, resource);",
        "is no lifetime",
    ),
    (
        "HEAD @rate(\"often\") permit (principal, action, resource);",
        "is no rate",
    ),
    (
        "HEAD @rate(\"1/1s\") forbid (principal, action, resource);",
        "grants nothing",
    ),
    (
        "HEAD permit (principal, action == Action::\"shop:raed\", resource);",
        "shop:raed",
    ),
    (
        "HEAD permit (principal, action, resource == Audience::\"shp\");",
        "matches nothing",
    ),
    (
        "HEAD permit (principal in Path::\"/checkout\", action, resource);",
        "matches nothing",
    ),
    (
        "HEAD permit (principal == Workload::\"checkout\", action, resource);",
        "matches nothing",
    ),
    (
        "HEAD permit (principal, action, resource) when { context.hour > 5 };",
        "hour",
    ),
    (
        "HEAD permit (principal, action, resource) when { context.sourceIp.isLoopback() };",
        "sourceIp",
    ),
    (
        "HEAD permit (principal, action, resource) when { principal.selectors.contains(5) };",
        "type",
    ),
    (
        "HEAD permit (principal, action, resource) when { false };",
        "impossible",
    ),
    (
        "HEAD permit (principal == ?principal, action, resource);",
        "template",
    ),
    (
        "HEAD permit (principal, action, resource) when { context.now > };",
        "unexpected token",
    ),
    (
        "HEAD permit (principal, action, resource);\nHEAD permit (principal, action, resource);",
        "is also that of",
    ),
];

#[test]
fn every_mistake_in_a_policy_is_told_with_its_line() {
    for (text, expected) in MISTAKES {
        let said = complaint(&text.replace("HEAD ", HEAD), "");
        assert!(said.contains(expected), "{text}: {said}");
        assert!(said.starts_with("policies/shop.cedar:"), "{said}");
    }
    let said = complaint(
        &format!("\n\n{HEAD}permit (principal, action, resource) when {{ 1 }};"),
        "",
    );
    assert!(said.starts_with("policies/shop.cedar:3: "), "{said}");
}

#[test]
fn a_guardrail_only_forbids() {
    let said = complaint("", &format!("{HEAD}permit (principal, action, resource);"));
    assert!(said.contains("a guardrail only forbids"), "{said}");
    assert!(said.starts_with("guardrails/security.cedar:1: "), "{said}");
    let other = format!("{HEAD}forbid (principal, action, resource);");
    let said = complaint(&other, &other);
    assert!(
        said.contains("is also that of guardrails/security.cedar:1"),
        "{said}"
    );
}

#[test]
fn broad_permits_and_wildcards_are_reported() {
    let warnings = |rest: &str| {
        let engine = Engine::load(&small(&format!("{HEAD}{rest}"), "")).unwrap();
        let warnings = engine.warnings().iter().map(Fault::to_string);
        warnings.collect::<Vec<_>>().join("\n")
    };
    let cases = [
        (
            "permit (principal, action == Action::\"shop:read\", resource);",
            "permits every workload;",
        ),
        (
            "permit (principal is Workload, action == Action::\"shop:read\", resource);",
            "permits every workload;",
        ),
        (
            "permit (principal in TrustDomain::\"example.org\", action == Action::\"shop:read\", resource);",
            "every workload of example.org",
        ),
        (
            "permit (principal in Path::\"spiffe://example.org\", action == Action::\"shop:read\", resource);",
            "every workload of spiffe://example.org",
        ),
        (
            "permit (principal in Path::\"spiffe://example.org/a\", action, resource);",
            "every permission of every service",
        ),
        (
            "permit (principal in Path::\"spiffe://example.org/a\", action, resource == Audience::\"shop\");",
            "of the service, those to come included",
        ),
        (
            "permit (principal in Path::\"spiffe://example.org/a\", action in Action::\"service=shop\", resource);",
            "whole group service=shop",
        ),
        (
            "permit (principal in Path::\"spiffe://example.org/a\", action in [Action::\"risk=low\"], resource);",
            "whole group risk=low",
        ),
        (
            "permit (principal in Path::\"spiffe://example.org/a\", action == Action::\"shop:read\", resource) when { context.profile like \"*\" };",
            "like \"*\"",
        ),
    ];
    for (text, expected) in cases {
        let said = warnings(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    let narrow = "permit (principal in Path::\"spiffe://example.org/a\", action == Action::\"shop:read\", resource);";
    assert_eq!(warnings(narrow), "");
}

#[test]
fn the_digest_names_what_decides_and_not_the_tests() {
    let mut sources = example();
    let digest = Engine::load(&sources).unwrap().digest();
    sources.tests.clear();
    assert_eq!(Engine::load(&sources).unwrap().digest(), digest);
    sources.policies[0].text.push_str("// reviewed\n");
    assert_ne!(Engine::load(&sources).unwrap().digest(), digest);
}

/// Conditions that are valid Cedar and cannot be meant, and what is said about them.
const NOT_MEANT: &[(&str, &str)] = &[
    ("when { context.weekday == 8 }", "context.weekday is 1 to 7"),
    ("when { context.weekday != 0 }", "context.weekday is 1 to 7"),
    ("when { 8 == context.weekday || context.pop }", "is 1 to 7"),
    (
        "unless { [6, 7, 8].contains(context.weekday) }",
        "is 1 to 7",
    ),
    ("when { context.weekday > 7 }", "is 1 to 7"),
    ("when { 1 <= context.weekday }", "is 1 to 7"),
    ("when { context.ttl < 0 }", "context.ttl is 1 to"),
    ("when { context.profile == \"jwt\" }", "jwt-svid or at+jwt"),
    ("when { context.risk == \"hihg\" }", "low or medium or high"),
    (
        "when { context.weekday == 1 && context.weekday == 2 }",
        "context.weekday is to be 1 and 2 at once",
    ),
    (
        "when { context.weekday == 1 } when { context.weekday == 2 }",
        "context.weekday is to be 1 and 2 at once",
    ),
    (
        "when { context.pop || (principal.entry == \"a\" && context.pop && principal.entry == \"b\") }",
        "principal.entry is to be",
    ),
];

#[test]
fn u12_conditions_that_cannot_be_meant_are_told() {
    let head = format!("{HEAD}permit (principal, action, resource) ");
    for (condition, expected) in NOT_MEANT {
        let engine = Engine::load(&small(&format!("{head}{condition};"), "")).unwrap();
        let said: Vec<String> = engine.mistakes().iter().map(Fault::to_string).collect();
        assert_eq!(said.len(), 1, "{condition}: {said:?}");
        assert!(said[0].contains(expected), "{condition}: {said:?}");
    }
    for condition in [
        "when { context.weekday == 1 || context.weekday == 2 }",
        "when { context.weekday > 5 && context.ttl <= 300 }",
        "when { context.profile == \"at+jwt\" } unless { context.weekday == 7 }",
    ] {
        let engine = Engine::load(&small(&format!("{head}{condition};"), "")).unwrap();
        assert_eq!(engine.mistakes(), [], "{condition}");
    }
    assert_eq!(Engine::load(&example()).unwrap().mistakes(), []);
}

#[test]
fn u12_a_mistyped_action_is_named_with_the_nearest() {
    let said = complaint(
        &format!("{HEAD}permit (principal, action in [Action::\"shop:raed\"], resource);"),
        "",
    );
    assert!(said.contains("a names Action::\"shop:raed\""), "{said}");
    assert!(
        said.contains("did you mean Action::\"shop:read\"?"),
        "{said}"
    );
    let said = complaint(
        &format!("{HEAD}permit (principal, action in Action::\"service=shpo\", resource);"),
        "",
    );
    assert!(
        said.contains("did you mean Action::\"service=shop\"?"),
        "{said}"
    );
}

#[test]
fn u12_another_trust_domain_is_told() {
    let path = |id: &str, td: &str| {
        format!(
            "@id(\"{id}\") @owner(\"t\") @rationale(\"r\") permit (principal in \
             Path::\"spiffe://{td}/a\", action == Action::\"shop:read\", resource);\n"
        )
    };
    let both = path("p", "example.org") + &path("q", "example.org") + &path("r", "exmaple.org");
    let engine = Engine::load(&small(&both, "")).unwrap();
    let own = identity::TrustDomain::parse("example.org").unwrap();
    let said: Vec<String> = engine.foreign(&own).iter().map(Fault::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("r names Path::\"spiffe://exmaple.org/a\""),
        "{said:?}"
    );
    // Who does not know the trust domain sees which one is odd.
    let odd = engine.warnings().iter().map(Fault::to_string);
    let odd: Vec<String> = odd.filter(|w| w.contains("most policies")).collect();
    assert_eq!(odd.len(), 1, "{odd:?}");
}
