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

#[test]
fn every_mistake_in_a_policy_is_told_with_its_line() {
    let with = |rest: &str| format!("\n\n{HEAD}{rest}");
    let cases = [
        (
            "permit (principal, action, resource);".to_owned(),
            "has no @id",
        ),
        (
            "@id(\"a\") @owner(\"t\") permit (principal, action, resource);".to_owned(),
            "no @rationale",
        ),
        (
            "@id(\"a b\") permit (principal, action, resource);".to_owned(),
            "is no policy id",
        ),
        (
            "@id(\"builtin:a\") permit (principal, action, resource);".to_owned(),
            "is no policy id",
        ),
        (
            with("@max_tll(\"5m\") permit (principal, action, resource);"),
            "@max_tll is unknown",
        ),
        (
            with("@guardrail permit (principal, action, resource);"),
            "@guardrail is unknown",
        ),
        (
            with("@max_ttl(\"5\") permit (principal, action, resource);"),
            "is no lifetime",
        ),
        (
            with("@rate(\"often\") permit (principal, action, resource);"),
            "is no rate",
        ),
        (
            with("@rate(\"1/1s\") forbid (principal, action, resource);"),
            "grants nothing",
        ),
        (
            with("permit (principal, action == Action::\"shop:raed\", resource);"),
            "shop:raed",
        ),
        (
            with("permit (principal, action, resource == Audience::\"shp\");"),
            "matches nothing",
        ),
        (
            with("permit (principal in Path::\"/checkout\", action, resource);"),
            "matches nothing",
        ),
        (
            with("permit (principal == Workload::\"checkout\", action, resource);"),
            "matches nothing",
        ),
        (
            with("permit (principal, action, resource) when { context.hour > 5 };"),
            "hour",
        ),
        (
            with("permit (principal, action, resource) when { context.sourceIp.isLoopback() };"),
            "sourceIp",
        ),
        (
            with("permit (principal, action, resource) when { principal.selectors.contains(5) };"),
            "type",
        ),
        (
            with("permit (principal, action, resource) when { false };"),
            "impossible",
        ),
        (
            with("permit (principal == ?principal, action, resource);"),
            "template",
        ),
        (
            with("permit (principal, action, resource) when { context.now > };"),
            "unexpected token",
        ),
        (
            with(&format!(
                "permit (principal, action, resource);\n{HEAD}permit (principal, action, resource);"
            )),
            "is also that of",
        ),
    ];
    for (text, expected) in cases {
        let said = complaint(&text, "");
        assert!(said.contains(expected), "{text}: {said}");
        assert!(said.starts_with("policies/shop.cedar:"), "{said}");
    }
    let said = complaint(
        &with("permit (principal, action, resource) when { 1 };"),
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
