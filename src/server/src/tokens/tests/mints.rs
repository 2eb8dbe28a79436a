//! One mint after another: what is in the token, when it ends, who is refused.

use std::time::Duration;

use identity::{EntryId, Revoked, Seconds, Timestamp};
use policy::Binding;
use records::TokenLimitsRecord;
use serde_json::json;

use super::{World, parts};
use crate::failure::Kind;
use crate::issue::IssueRefusal;
use crate::limits;
use crate::revocation::Order;
use crate::rig::far::Mood;
use crate::rig::{ADMIN, Rig};
use crate::tokens::Question;

#[tokio::test]
async fn a_subset_is_granted_recorded_and_signed_by_the_access_key() {
    let world = World::new().await;
    let ask = world.ask(&["payments:charge", "payments:refund", "payments:typo"]);
    let mint = world.mint(ask).await.unwrap();
    let (header, claims) = parts(&mint);
    let access = world.rig.server.authorities.access().unwrap();
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["kid"], **access.key_id());
    assert_eq!(claims["iss"], "spiffe://example.org");
    assert_eq!(claims["aud"], "payments");
    assert_eq!(claims["sub"], "spiffe://example.org/checkout");
    assert_eq!(claims["client_id"], claims["sub"]);
    assert_eq!(claims["scope"], "payments:charge");
    assert!(claims["cnf"]["x5t#S256"].is_string());
    let record = &mint.record;
    assert_eq!(claims["jti"], record.jti.clone().unwrap());
    assert_eq!(claims["urn:bulla:decision"]["id"], record.id);
    assert_eq!(
        claims["urn:bulla:decision"]["auth"],
        "spiffe://example.org/spire/server"
    );
    // The record says what was asked, granted, refused, by what, and by whom.
    assert_eq!(world.decisions(), std::slice::from_ref(record));
    assert_eq!(record.asked.len(), 3);
    assert_eq!(record.granted[0].policies[0].id, "pay-1");
    let refused: Vec<_> = record.refused.iter().map(|r| r.code.as_str()).collect();
    assert_eq!(refused, ["invalid_scope", "access_denied"]);
    assert_eq!(record.refused[1].nearest[0].policy, "pay-3");
    assert_eq!(record.node, world.agent.id.as_str());
    let at = record.id.clone();
    for question in [
        Question::Decision(at),
        Question::Token(record.jti.clone().unwrap()),
    ] {
        let found = world.rig.server.tokens.explain(question).await.unwrap();
        assert!(found.active && found.json.contains(&record.id));
    }
}

#[tokio::test]
async fn a_jwt_svid_carries_the_same_scope_and_stays_valid() {
    let world = World::new().await;
    let mut ask = world.ask(&["payments:charge"]);
    ask.request.profile = Some("jwt-svid".into());
    let mint = world.mint(ask).await.unwrap();
    let (header, claims) = parts(&mint);
    assert_eq!(header["typ"], "JWT");
    assert_eq!(claims["aud"], json!(["payments"]));
    assert_eq!(claims["scope"], "payments:charge");
    assert_eq!(claims["cnf"], json!(null), "verifiers would not look at it");
    let registry = world.rig.server.state.registry();
    let bundle = registry
        .bundle(world.rig.server.state.trust_domain())
        .unwrap();
    let token = &mint.token.as_ref().unwrap().token;
    let now = world.rig.clock.now();
    let verified = verify::verify_jwt_svid(token, "payments", bundle, now, Seconds(0));
    assert_eq!(
        verified.unwrap().spiffe_id.as_str(),
        "spiffe://example.org/checkout"
    );
}

#[tokio::test]
async fn a_token_ends_at_the_least_of_what_everybody_allows() {
    let world = World::new().await;
    let charge = || world.ask(&["payments:charge"]);
    assert_eq!(world.life(charge()).await, (240, "policy".into()));
    let mut short = charge();
    short.request.ttl = Some(30);
    assert_eq!(world.life(short).await, (30, "asked".into()));
    let mut svid = charge();
    svid.svid_not_after = Some(Timestamp(world.rig.clock.now().0 + 77));
    assert_eq!(world.life(svid).await, (77, "svid".into()));
    let limits = TokenLimitsRecord {
        entry: world.entry.id.clone(),
        audiences: vec!["payments".into()],
        max_ttl: Some(Seconds(60)),
    };
    let state = &world.rig.server.state;
    state.set_token_limits(&ADMIN, &limits).await.unwrap();
    assert_eq!(world.life(charge()).await.0, 60, "the entry's limit");
    let mut over = charge();
    over.request.ttl = Some(61);
    assert_eq!(world.refusal(over).await.0, "invalid_request");
    // Nor is it for an audience that the entry does not allow.
    let limits = TokenLimitsRecord {
        audiences: vec!["ledger".into()],
        max_ttl: None,
        ..limits
    };
    state.set_token_limits(&ADMIN, &limits).await.unwrap();
    let (code, reason) = world.refusal(charge()).await;
    assert_eq!(code, "invalid_target");
    assert!(reason.contains("does not allow the audience"), "{reason}");
}

#[tokio::test]
async fn a_token_ends_with_the_policys_own_window() {
    let world = World::new().await;
    let now = world.rig.clock.now();
    let until = policy::rfc3339_text(Timestamp(now.0 + 100));
    let window = format!(
        r#"@id("night") @owner("team-payments") @rationale("for a while")
        permit (principal, action == Action::"payments:refund", resource == Audience::"payments")
        when {{ context.now < datetime("{until}") }};"#
    );
    world.apply(super::files(&window)).await.1.unwrap();
    let (life, limit) = world.life(world.ask(&["payments:refund"])).await;
    assert_eq!(limit, "window");
    assert!((98..=100).contains(&life), "{life}");
}

#[tokio::test]
async fn what_is_asked_wrongly_gets_its_oauth_code_and_one_record_each() {
    let world = World::new().await;
    let mut cases = Vec::new();
    let mut audience = world.ask(&["payments:charge"]);
    audience.request.audience = "paymints".into();
    cases.push((audience, "invalid_target", "did you mean payments?"));
    let scope = world.ask(&["payments:chargge"]);
    cases.push((scope, "invalid_scope", "did you mean payments:charge?"));
    let mut ttl = world.ask(&["payments:charge"]);
    ttl.request.ttl = Some(6_000);
    cases.push((ttl, "invalid_request", "allows 1 to 600 s"));
    let mut details = world.ask(&["payments:charge"]);
    details.request.authorization_details = vec![json!({"type": "urn:x"})];
    let code = "invalid_authorization_details";
    cases.push((details, code, "declares no authorization_details type"));
    let denied = world.ask(&["payments:refund"]);
    cases.push((denied, "access_denied", "payments:refund"));
    let mut all = world.ask(&["payments:charge", "payments:refund"]);
    all.request.all_or_nothing = true;
    cases.push((all, "access_denied", "payments:refund"));
    let count = cases.len();
    for (ask, code, reason) in cases {
        let (got, why) = world.refusal(ask).await;
        assert_eq!(got, code, "{why}");
        assert!(why.contains(reason), "{why}");
    }
    assert_eq!((world.granted(), world.refused()), (0, count));
    assert_eq!(world.decisions().len(), count);
}

#[tokio::test]
async fn a_rate_is_per_entry_and_audience_and_says_when_to_come_back() {
    let world = World::new().await;
    for _ in 0..2 {
        let mint = world.mint(world.ask(&["payments:read"])).await.unwrap();
        assert!(mint.token.is_some());
    }
    let mint = world.mint(world.ask(&["payments:read"])).await.unwrap();
    assert_eq!(mint.record.error.unwrap().code.as_str(), "slow_down");
    assert_eq!(mint.retry_after, 31);
    assert_eq!(mint.record.context.mints_5m, 2);
    world.rig.clock.advance(Duration::from_secs(31));
    world.rig.settle().await;
    let mint = world.mint(world.ask(&["payments:read"])).await.unwrap();
    assert!(mint.token.is_some());
}

#[tokio::test]
async fn an_agent_mints_for_its_own_entries_only() {
    let world = World::new().await;
    let other = world.rig.agent().await;
    let mut foreign = world.ask(&["payments:charge"]);
    foreign.agent = other.id.clone();
    let error = world.mint(foreign).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let mut unknown = world.ask(&["payments:charge"]);
    unknown.entry = EntryId::parse("no-such-entry").unwrap();
    assert_eq!(world.mint(unknown).await.unwrap_err().kind(), Kind::Denied);
    assert_eq!((world.granted(), world.refused()), (0, 2));
}

#[tokio::test]
async fn a_flood_is_turned_away_and_leaves_one_record_more() {
    let world = World::new().await;
    let most = usize::try_from(limits::MAX_MINTS_A_SECOND).unwrap();
    let mut turned_away = 0;
    for _ in 0..most + 20 {
        let mut ask = world.ask(&["payments:charge"]);
        ask.request.audience = "nothing".into();
        match world.mint(ask).await {
            Ok(mint) => assert!(mint.token.is_none()),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Exhausted);
                turned_away += 1;
            }
        }
    }
    assert_eq!((turned_away, world.refused()), (20, most + 1));
}

#[tokio::test]
async fn an_agent_without_the_entry_uses_up_nobodys_turn() {
    let world = World::new().await;
    let other = world.rig.agent().await;
    let most = usize::try_from(limits::MAX_MINTS_A_SECOND).unwrap();
    let mut kinds = Vec::new();
    for _ in 0..most + 20 {
        let mut foreign = world.ask(&["payments:charge"]);
        foreign.agent = other.id.clone();
        kinds.push(world.mint(foreign).await.unwrap_err().kind());
    }
    let denied = kinds.iter().filter(|kind| **kind == Kind::Denied).count();
    assert_eq!((denied, kinds[most]), (most, Kind::Exhausted));
    let recorded = usize::try_from(limits::ENTRY_REFUSALS.burst).unwrap();
    assert_eq!(
        world.refused(),
        recorded,
        "one each, up to the budget of one entry"
    );
    let mint = world.mint(world.ask(&["payments:charge"])).await.unwrap();
    assert!(mint.token.is_some(), "in the same second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_away_or_hangs_makes_tokens_unavailable_within_the_bound() {
    let (rig, far) = Rig::with_far_keys().await;
    let world = World::without_policies(rig).await;
    world.apply(super::files("")).await.1.unwrap();
    for (mood, reason) in [
        (Mood::Away, "nobody is at home"),
        (Mood::Hangs, "did not answer within 1 s"),
    ] {
        far.set(mood);
        let mint = world.mint(world.ask(&["payments:charge"]));
        let minted = tokio::time::timeout(Duration::from_secs(20), mint).await;
        far.set(Mood::Works);
        let refusal = minted.expect("an answer").unwrap_err();
        assert_eq!(refusal.kind(), Kind::Unavailable);
        assert!(refusal.to_string().contains(reason), "{refusal}");
        let mint = world.mint(world.ask(&["payments:charge"])).await.unwrap();
        assert!(mint.token.is_some());
    }
}

#[tokio::test]
async fn an_access_token_is_bound_or_not_minted() {
    let world = World::new().await;
    let mut unbound = world.ask(&["payments:charge"]);
    unbound.binding = None;
    unbound.request.profile = Some("at+jwt".into());
    assert_eq!(world.refusal(unbound).await.0, "invalid_request");
    let mut key = world.ask(&["payments:charge"]);
    key.binding = Some(Binding::Key([9; 32]));
    let (_, claims) = parts(&world.mint(key).await.unwrap());
    assert!(claims["cnf"]["jkt"].is_string());
    // What the agent holds without an end it does not hold.
    let mut endless = world.ask(&["payments:charge"]);
    endless.svid_not_after = None;
    assert_eq!(world.refusal(endless).await.0, "access_denied");
}

#[tokio::test]
async fn without_a_policy_set_nothing_is_minted() {
    let world = World::without_policies(Rig::memory().await).await;
    let error = world.mint(world.ask(&["payments:charge"])).await;
    assert_eq!(error.unwrap_err().kind(), Kind::Precondition);
    assert_eq!((world.granted(), world.refused()), (0, 0));
}

/// An administrator revokes an ID: it gets no scoped token either, and what it gets
/// after it was lifted begins later.
#[tokio::test]
async fn a_revoked_id_gets_no_scoped_token() {
    let world = World::new().await;
    let what = Revoked::Id(world.entry.spiffe_id.clone());
    let order = Order {
        what: what.clone(),
        reason: "its host was broken into".into(),
        until_lifted: true,
        force: false,
    };
    let revocations = &world.rig.server.revocations;
    revocations.revoke(&ADMIN, &order).await.unwrap();
    let ask = world.ask(&["payments:charge"]);
    let refused = world.mint(ask).await.err().unwrap();
    let id = world.entry.spiffe_id.clone();
    assert_eq!(refused, IssueRefusal::Revoked(id));
    let (remaining, _) = revocations.lift(&ADMIN, &what, "clean").await.unwrap();
    let void_until = remaining.unwrap().at;
    let mint = world.mint(world.ask(&["payments:charge"])).await.unwrap();
    let issued_at = parts(&mint).1["iat"].as_i64().unwrap();
    assert!(issued_at > void_until.0, "{issued_at} {void_until:?}");
}
