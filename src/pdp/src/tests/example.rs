//! The example folder: what the guide shows.

use policy::{Outcome, TokenRequest};

use super::*;

#[test]
fn its_own_tests_pass_and_touch_every_policy() {
    let engine = Engine::load(&example()).unwrap();
    let report = engine.run_tests();
    assert!(report.passed(), "{report:#?}");
    assert_eq!(report.trials.len(), 14);
    assert_eq!(report.untested, Vec::<String>::new());
    assert_eq!(engine.warnings(), []);
}

#[test]
fn a_token_is_granted_in_part_with_reasons() {
    let engine = Engine::load(&example()).unwrap();
    let night = Timestamp(TUESDAY.0 + 10 * 3600);
    let who = principal("spiffe://example.org/checkout/web", night);
    let request = asking(
        "payments",
        &["payments:charge.create", "payments:refund.create"],
    );
    let decision = decide(&engine, &who, &context(night), &request);
    assert_eq!(decision.outcome(), Outcome::Partial);
    assert_eq!(decision.scope(), "payments:charge.create");
    assert_eq!(decision.granted[0].policies[0].id, "pay-0001");
    assert_eq!(decision.obligations.max_ttl.unwrap().0, 300);
    let refused = &decision.refused[0];
    assert_eq!(refused.nearest[0].policy, "pay-0002");
    assert_eq!(
        refused.reason,
        "no policy permits it now; pay-0002 would, but its condition does not hold: context.now.toTime() < duration(\"18h\")"
    );
}

#[test]
fn a_token_ends_with_the_office_hours() {
    let engine = Engine::load(&example()).unwrap();
    let evening = Timestamp(TUESDAY.0 + 8 * 3600 + 29 * 60);
    let who = principal("spiffe://example.org/checkout/web", evening);
    let request = asking("payments", &["payments:refund.create"]);
    let decision = decide(&engine, &who, &context(evening), &request);
    let closing = Timestamp(TUESDAY.0 + 8 * 3600 + 30 * 60);
    assert_eq!(decision.window_end, Some(closing));
    let noon = Timestamp(TUESDAY.0 + 2 * 3600);
    let decision = decide(&engine, &who, &context(noon), &request);
    assert_eq!(decision.window_end, None);
}

#[test]
fn deprecated_warns_and_past_sunset_is_denied() {
    let engine = Engine::load(&example()).unwrap();
    let request = asking("payments", &["payments:refund"]);
    let who = principal("spiffe://example.org/checkout/web", TUESDAY);
    let decision = decide(&engine, &who, &context(TUESDAY), &request);
    assert_eq!(
        decision.warnings[0].text,
        "payments:refund is deprecated and ends on 2027-01-15; ask for payments:refund.create instead"
    );
    let friday = policy::rfc3339::parse("2027-01-15T09:30:00Z").unwrap();
    let who = principal("spiffe://example.org/checkout/web", friday);
    let decision = decide(&engine, &who, &context(friday), &request);
    assert_eq!(decision.outcome(), Outcome::Refused);
    assert_eq!(decision.refused[0].policies[0].id, "builtin:sunset");
}

#[test]
fn in_an_emergency_the_on_call_engineer_gets_a_short_token() {
    let engine = Engine::load(&example()).unwrap();
    let who = principal("spiffe://example.org/oncall/console", TUESDAY);
    let request = asking("payments", &["payments:refund.create"]);
    let calm = decide(&engine, &who, &context(TUESDAY), &request);
    assert_eq!(calm.outcome(), Outcome::Refused);
    assert_eq!(calm.refused[0].nearest[0].failed, "context has breakGlass");
    let mut emergency = context(TUESDAY);
    emergency.break_glass = Some(policy::BreakGlass {
        ticket: "INC-7".into(),
        approver: "uid:1001".into(),
    });
    let decision = decide(&engine, &who, &emergency, &request);
    assert_eq!(decision.outcome(), Outcome::Granted);
    assert_eq!(decision.granted[0].policies[0].id, "pay-0003");
}

#[test]
fn a_guardrail_forbids_what_a_team_permits() {
    let engine = Engine::load(&example()).unwrap();
    let mut who = principal("spiffe://example.org/checkout/web", TUESDAY);
    who.node.attested_at = Timestamp(TUESDAY.0 - 2 * 86_400);
    let request = asking("payments", &["payments:charge.create"]);
    let decision = decide(&engine, &who, &context(TUESDAY), &request);
    assert_eq!(
        decision.refused[0].reason,
        "forbidden by guard-attested-today (production tokens go to nodes attested within the last day; attest the node again)"
    );
}

#[test]
fn details_are_kept_with_what_they_belong_to() {
    let engine = Engine::load(&example()).unwrap();
    let who = principal("spiffe://example.org/checkout/web", TUESDAY);
    let details = serde_json::json!({"type": "urn:example:payments:refund", "amount_max": 50});
    let request = TokenRequest {
        authorization_details: vec![details.clone()],
        ..asking(
            "payments",
            &["payments:charge.read", "payments:refund.create"],
        )
    };
    let decision = decide(&engine, &who, &context(TUESDAY), &request);
    assert_eq!(decision.authorization_details(), [details]);
    assert_eq!(
        decision.obligations.max_ttl.unwrap().0,
        120,
        "the strictest wins"
    );
    assert_eq!(String::from(decision.obligations.rate.unwrap()), "60/1m");
}
