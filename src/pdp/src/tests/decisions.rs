//! How decisions come about: defaults, errors, strictest obligations.

use policy::{Outcome, Refusal, RefusalCode, TokenRequest, admit};

use super::*;

const CHECKOUT: &str = "spiffe://example.org/checkout/web";

fn permit(id: &str, annotations: &str, action: &str, rest: &str) -> String {
    format!(
        "@id(\"{id}\") @owner(\"t\") @rationale(\"r\") {annotations} permit (principal in Path::\"spiffe://example.org/checkout\", action == Action::\"{action}\", resource) {rest};\n"
    )
}

fn forbid(id: &str, rest: &str) -> String {
    format!(
        "@id(\"{id}\") @owner(\"t\") @rationale(\"r\") forbid (principal, action, resource) {rest};\n"
    )
}

#[test]
fn nothing_is_permitted_unless_a_policy_says_so() {
    let engine = Engine::load(&small("", "")).unwrap();
    let who = principal(CHECKOUT, TUESDAY);
    let decision = decide(
        &engine,
        &who,
        &context(TUESDAY),
        &asking("shop", &["shop:read"]),
    );
    assert_eq!(decision.outcome(), Outcome::Refused);
    assert_eq!(decision.refused[0].code, RefusalCode::AccessDenied);
    assert_eq!(
        decision.refused[0].reason,
        "no policy permits shop:read to this workload"
    );
}

/// Cedar skips a policy that fails to evaluate; a forbid that is skipped would
/// let through what it was written against.
#[test]
fn an_evaluation_error_denies() {
    let overflow = forbid(
        "guard",
        "when { context.mints5m + 9223372036854775807 > 5 }",
    );
    let policies = permit("a", "", "shop:read", "");
    let engine = Engine::load(&small(&policies, &overflow)).unwrap();
    let who = principal(CHECKOUT, TUESDAY);
    let request = asking("shop", &["shop:read"]);
    let mut context = context(TUESDAY);
    context.mints_5m = 1;
    let decision = decide(&engine, &who, &context, &request);
    assert_eq!(decision.outcome(), Outcome::Refused);
    assert_eq!(decision.refused[0].policies[0].id, "guard");
    assert!(
        decision.refused[0].reason.contains("failed to evaluate"),
        "{decision:?}"
    );
}

#[test]
fn the_strictest_of_several_obligations_wins() {
    let policies = [
        permit("a", "@max_ttl(\"5m\") @rate(\"10/1m\")", "shop:read", ""),
        permit("b", "@max_ttl(\"2m\") @rate(\"60/1h\")", "shop:read", ""),
        permit(
            "c",
            "@max_ttl(\"1s\") @rate(\"1/1h\")",
            "shop:read",
            "when { context.mints5m > 5 }",
        ),
    ];
    let engine = Engine::load(&small(&policies.concat(), "")).unwrap();
    let who = principal(CHECKOUT, TUESDAY);
    let decision = decide(
        &engine,
        &who,
        &context(TUESDAY),
        &asking("shop", &["shop:read"]),
    );
    assert_eq!(decision.obligations.max_ttl.unwrap().0, 120);
    assert_eq!(String::from(decision.obligations.rate.unwrap()), "60/1h");
    let ids: Vec<&str> = decision.granted[0]
        .policies
        .iter()
        .map(|p| p.id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn high_risk_demands_possession_and_a_short_life() {
    let engine = Engine::load(&small(&permit("a", "", "shop:drop", ""), "")).unwrap();
    let who = principal(CHECKOUT, TUESDAY);
    let ask = |ttl, profile: &str| TokenRequest {
        ttl,
        profile: Some(profile.into()),
        ..asking("shop", &["shop:drop"])
    };
    let decided = |request| decide(&engine, &who, &context(TUESDAY), &request);
    assert_eq!(decided(ask(None, "at+jwt")).outcome(), Outcome::Granted);
    let long = decided(ask(Some(301), "at+jwt"));
    assert_eq!(long.refused[0].policies[0].id, "builtin:high-risk-life");
    let bearer = decided(ask(None, "jwt-svid"));
    assert_eq!(
        bearer.refused[0].policies[0].id,
        "builtin:high-risk-possession"
    );
}

#[test]
fn a_catalogue_relaxes_high_risk_only_explicitly() {
    let mut sources = small(&permit("a", "", "shop:drop", ""), "");
    let relaxed =
        "risk: high, relax: {possession: 'terminals hold no key', lifetime: 'drops take an hour'}";
    let text = sources.catalogue[0].text.replace("risk: high", relaxed);
    sources.catalogue[0].text = text;
    let engine = Engine::load(&sources).unwrap();
    let who = principal(CHECKOUT, TUESDAY);
    let request = TokenRequest {
        ttl: Some(3600),
        profile: Some("jwt-svid".into()),
        ..asking("shop", &["shop:drop"])
    };
    let decision = decide(&engine, &who, &context(TUESDAY), &request);
    assert_eq!(decision.outcome(), Outcome::Granted);
}

#[test]
fn the_nearest_policy_is_the_one_with_the_fewest_failed_conditions() {
    let policies = [
        permit(
            "far",
            "",
            "shop:read",
            "when { context.weekday == 7 && context.ttl < 5 && context.pop }",
        ),
        permit(
            "near",
            "",
            "shop:read",
            "when { context.pop && context.weekday == 7 }",
        ),
        permit("unless", "", "shop:read", "unless { context.pop }"),
    ];
    let engine = Engine::load(&small(&policies.concat(), "")).unwrap();
    let who = principal(CHECKOUT, TUESDAY);
    let decision = decide(
        &engine,
        &who,
        &context(TUESDAY),
        &asking("shop", &["shop:read"]),
    );
    let nearest = &decision.refused[0].nearest;
    let ids: Vec<&str> = nearest.iter().map(|miss| miss.policy.as_str()).collect();
    assert_eq!(ids, ["near", "unless", "far"]);
    assert_eq!(nearest[0].failed, "context.weekday == 7");
    assert_eq!(nearest[1].failed, "unless context.pop");
}

#[test]
fn a_policy_for_others_is_no_near_miss() {
    let engine = Engine::load(&small(
        &permit("a", "", "shop:read", "when { context.ttl < 5 }"),
        "",
    ))
    .unwrap();
    let who = principal("spiffe://example.org/checkouts", TUESDAY);
    let decision = decide(
        &engine,
        &who,
        &context(TUESDAY),
        &asking("shop", &["shop:read"]),
    );
    assert_eq!(decision.refused[0].nearest, []);
}

fn refused(request: &TokenRequest, context: &RequestContext, who: &Principal) -> Refusal {
    let engine = Engine::load(&example()).unwrap();
    admit(request, engine.catalogue(), who, context).expect_err("refused")
}

fn said(request: &TokenRequest) -> String {
    refused(request, &context(TUESDAY), &principal(CHECKOUT, TUESDAY)).to_string()
}

fn read() -> TokenRequest {
    asking("payments", &["payments:charge.read"])
}

#[test]
fn what_is_asked_for_wrongly_is_refused_with_an_oauth_code() {
    assert_eq!(
        said(&asking("paymets", &["payments:charge.read"])),
        "invalid_target: no service of the catalogue has the audience \"paymets\"; did you mean payments?"
    );
    assert_eq!(
        said(&asking("payments", &["payments:charge.raed"])),
        "invalid_scope: payments declares no permission \"payments:charge.raed\"; did you mean payments:charge.read?"
    );
    let none = said(&asking("payments", &[]));
    assert!(
        none.starts_with("invalid_scope: name the permissions wanted"),
        "{none}"
    );
    assert_eq!(
        said(&TokenRequest {
            ttl: Some(901),
            ..read()
        }),
        "invalid_request: a lifetime of 901 s is asked for; the service allows 1 to 900 s"
    );
    let zero = said(&TokenRequest {
        ttl: Some(0),
        ..read()
    });
    assert!(zero.starts_with("invalid_request"), "{zero}");
    let bearer = TokenRequest {
        profile: Some("jwt-svid".into()),
        ..asking("ledger", &["ledger:entry.append"])
    };
    let bearer = said(&bearer);
    assert!(
        bearer.starts_with("invalid_request: ledger does not accept jwt-svid"),
        "{bearer}"
    );
}

#[test]
fn details_that_fit_no_schema_are_refused() {
    let details = |value| TokenRequest {
        authorization_details: vec![value],
        ..asking("payments", &["payments:refund.create"])
    };
    let much = serde_json::json!({"type": "urn:example:payments:refund", "amount_max": 501});
    let much = said(&details(much));
    assert!(
        much.starts_with("invalid_authorization_details: "),
        "{much}"
    );
    assert!(
        much.contains("do not fit its schema: ") && much.contains("/amount_max"),
        "{much}"
    );
    let other = said(&details(serde_json::json!({"type": "urn:example:other"})));
    assert!(
        other.starts_with("invalid_authorization_details: payments declares no"),
        "{other}"
    );
    let number = said(&details(serde_json::json!(5)));
    assert!(
        number.starts_with("invalid_authorization_details"),
        "{number}"
    );
}

#[test]
fn entries_and_missing_keys_limit_what_can_be_asked_for() {
    let who = principal(CHECKOUT, TUESDAY);
    let usual = context(TUESDAY);
    let unbound = RequestContext {
        binding: None,
        ..context(TUESDAY)
    };
    let bound = TokenRequest {
        profile: Some("at+jwt".into()),
        ..read()
    };
    assert_eq!(
        refused(&bound, &unbound, &who).code,
        RefusalCode::InvalidRequest
    );
    let mut limited = who.clone();
    limited.limits.audiences = Some(vec!["ledger".into()]);
    assert_eq!(
        refused(&read(), &usual, &limited).code,
        RefusalCode::InvalidTarget
    );
    let mut brief = who;
    brief.limits.max_ttl = Some(identity::Seconds(60));
    let long = TokenRequest {
        ttl: Some(61),
        ..read()
    };
    let reason = refused(&long, &usual, &brief).reason;
    assert!(
        reason.contains("the registration entry allows 1 to 60 s"),
        "{reason}"
    );
    let engine = Engine::load(&example()).unwrap();
    let wanted = admit(&read(), engine.catalogue(), &brief, &usual).unwrap();
    assert_eq!(wanted.ttl.0, 60);
}
