//! Policy sets: planned, activated, gone back to, loaded again after a restart, and
//! not decided by when they are damaged.

use records::{ActivationRecord, AuditKind, AuditOutcome, key};
use store::{Commit, CommitId, Write};

use super::{World, file, files, with_guardrail};
use crate::failure::Kind;
use crate::rig::{ADMIN, Rig};

fn digest(made: Option<std::sync::Arc<ActivationRecord>>) -> String {
    made.expect("it was activated").digest.clone()
}

#[tokio::test]
async fn a_change_flips_the_same_request_and_a_rollback_flips_it_back() {
    let world = World::new().await;
    let reads = async || {
        let mint = world.mint(world.ask(&["payments:read"])).await.unwrap();
        mint.token.is_some()
    };
    assert!(reads().await);
    let first = world.rig.server.state.activations()[0].digest.clone();
    // The rig's time is a Sunday.
    let (plan, made) = world.apply(with_guardrail()).await;
    let second = digest(made);
    assert_eq!(
        (plan.active.clone(), plan.digest.clone()),
        (first.clone(), second)
    );
    assert_eq!(plan.files, ["+ guardrails/security.cedar"]);
    let lost: Vec<_> = plan.lost.iter().map(|a| a.permission.as_str()).collect();
    assert_eq!((lost, plan.gained.len()), (vec!["payments:read"], 0));
    assert!(!reads().await);
    let tokens = &world.rig.server.tokens;
    let digits = first.trim_start_matches("sha256:").get(..12).unwrap();
    let (planned, made) = tokens
        .rollback(&ADMIN, digits, "INC-1", true)
        .await
        .unwrap();
    assert!(made.is_none() && planned.gained.len() == 1);
    assert!(!reads().await, "a plan changes nothing");
    let made = tokens
        .rollback(&ADMIN, digits, "INC-1", false)
        .await
        .unwrap()
        .1;
    assert_eq!(digest(made), first);
    assert!(reads().await);
    let history = world.rig.server.state.activations();
    assert_eq!(history.len(), 3);
    assert!(history[0].rollback && history[0].comment == "INC-1");
    let granted = world
        .rig
        .count(AuditKind::PolicyActivate, AuditOutcome::Granted);
    assert_eq!(granted, 3, "each activation is on record");
    let refused = tokens.rollback(&ADMIN, "00000000", "", false).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn what_does_not_validate_or_fails_its_tests_is_not_activated() {
    let world = World::new().await;
    let before = world.rig.server.state.activations()[0].digest.clone();
    let typo = r#"@id("x") @owner("o") @rationale("r")
        permit (principal, action == Action::"payments:chrage", resource == Audience::"payments");"#;
    let (plan, made) = world.apply(files(typo)).await;
    assert!(made.is_none() && !plan.activatable());
    assert_eq!(plan.faults[0].file, "policies/payments.cedar");
    let mut tested = files("");
    let test = r#"[{"name": "nobody charges", "request": {
        "principal": "Workload::\"spiffe://example.org/checkout\"",
        "action": "Action::\"payments:charge\"",
        "resource": "Audience::\"payments\"",
        "context": {"now": "2026-11-24T09:30:00Z"}},
        "decision": "deny", "reason": []}]"#;
    tested.push(file("tests/payments.json", test));
    let (plan, made) = world.apply(tested).await;
    assert!(made.is_none());
    assert!(plan.tests_failed[0].contains("nobody charges"), "{plan:?}");
    let stale = world.try_apply(with_guardrail(), "sha256:00").await;
    assert_eq!(stale.unwrap_err().kind(), Kind::Precondition);
    assert_eq!(world.rig.server.state.activations()[0].digest, before);
}

#[tokio::test]
async fn a_restart_loads_the_active_set_from_disk() {
    let world = World::without_policies(Rig::on_disk().await).await;
    // Large enough for many chunks.
    let mut large = files("");
    let padding = format!("// {}\n", "x".repeat(1_000)).repeat(200);
    large.push(file("policies/padding.cedar", &padding));
    let made = digest(world.apply(large).await.1);
    let World { rig, agent, entry } = world;
    let rig = rig.restart_from_disk().await;
    let world = World { rig, agent, entry };
    let active = world.rig.server.tokens.active().unwrap();
    assert_eq!(active.engine.digest().to_string(), made);
    let mint = world.mint(world.ask(&["payments:charge"])).await.unwrap();
    assert!(mint.token.is_some());
}

/// Writes behind the server's back.
async fn tamper(rig: &Rig, number: u8, write: Write) {
    let commit = Commit {
        id: CommitId([number; 16]),
        conditions: Vec::new(),
        writes: vec![write],
    };
    rig.store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn a_set_that_does_not_read_back_decides_nothing_after_a_restart() {
    let world = World::new().await;
    let made = world.rig.server.state.activations()[0].clone();
    let td = world.rig.server.state.trust_domain().clone();
    let digits = made.digest.trim_start_matches("sha256:").to_owned();
    let other = records::encode_policy_set([records::PolicyFile {
        name: "catalogue/payments.yaml".into(),
        text: super::CATALOGUE.into(),
    }]);
    let chunk = key::policy_chunk(&td, &digits, 0);
    let value = other.unwrap().remove(0);
    tamper(&world.rig, 1, Write::Put(chunk.into(), value.into())).await;
    let World { rig, agent, entry } = world;
    let rig = rig.restart_in_memory(1).await.unwrap();
    let world = World { rig, agent, entry };
    let fault = world.rig.server.tokens.fault().unwrap();
    assert!(fault.contains("reads back as"), "{fault}");
    let refused = world.mint(world.ask(&["payments:charge"])).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
    // Ordinary identities are not touched by it.
    assert!(world.rig.server.authorities.x509().is_some());
}

#[tokio::test]
async fn an_activation_that_cannot_be_read_does_not_bring_the_one_before_back() {
    let world = World::new().await;
    world.apply(with_guardrail()).await.1.unwrap();
    let td = world.rig.server.state.trust_domain().clone();
    let newest = key::activation(&td, 2);
    tamper(
        &world.rig,
        2,
        Write::Put(newest.into(), vec![1, 2, 3].into()),
    )
    .await;
    let World { rig, agent, entry } = world;
    let rig = rig.restart_in_memory(1).await.unwrap();
    let world = World { rig, agent, entry };
    let refused = world.mint(world.ask(&["payments:read"])).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn who_can_and_what_can_follow_the_policies() {
    let world = World::new().await;
    let tokens = &world.rig.server.tokens;
    let who = tokens.who_can("payments:charge", "payments").await.unwrap();
    let ids: Vec<_> = who.can.iter().map(|can| can.spiffe_id.as_str()).collect();
    assert_eq!(ids, ["spiffe://example.org/checkout"]);
    assert_eq!(who.can[0].policies[0].id, "pay-1");
    let refund = tokens.who_can("payments:refund", "payments").await.unwrap();
    assert!(refund.can.is_empty() && refund.examined == 1);
    let what = tokens
        .what_can("spiffe://example.org/checkout")
        .await
        .unwrap();
    let names: Vec<_> = what.can.iter().map(|can| can.permission.as_str()).collect();
    assert_eq!(names, ["payments:charge", "payments:read"]);
    let unknown = tokens.who_can("payments:fly", "payments").await;
    assert_eq!(unknown.unwrap_err().kind(), Kind::NotFound);
    let nobody = tokens.what_can("spiffe://example.org/nobody").await;
    assert_eq!(nobody.unwrap_err().kind(), Kind::NotFound);
}

/// Damages the row of an activation, and starts the server again.
async fn damaged(world: World, number: u64) -> World {
    let World { rig, agent, entry } = world;
    let row = key::activation(rig.server.state.trust_domain(), number);
    let tag = u8::try_from(number).unwrap();
    tamper(&rig, tag, Write::Put(row.into(), vec![1, 2, 3].into())).await;
    let rig = rig.restart_in_memory(1).await.unwrap();
    World { rig, agent, entry }
}

/// Before, one unreadable activation of any age stopped every token, and nothing that
/// an administrator can do over the API mended it.
#[tokio::test]
async fn s16_an_old_activation_that_cannot_be_read_stops_nothing() {
    let world = World::new().await;
    world.apply(with_guardrail()).await.1.unwrap();
    let world = damaged(world, 1).await;
    let charged = world.mint(world.ask(&["payments:charge"])).await.unwrap();
    assert!(charged.token.is_some());
    let unread = world.rig.server.state.unread_activations();
    assert_eq!((unread.len(), unread[0].0), (1, 1));
}

#[tokio::test]
async fn s16_another_activation_takes_the_place_of_an_unreadable_one() {
    let world = World::new().await;
    let first = world.rig.server.state.activations()[0].digest.clone();
    world.apply(with_guardrail()).await.1.unwrap();
    let world = damaged(world, 2).await;
    assert!(world.mint(world.ask(&["payments:charge"])).await.is_err());
    let tokens = &world.rig.server.tokens;
    let digits = first.trim_start_matches("sha256:").get(..12).unwrap();
    let back = tokens.rollback(&ADMIN, digits, "mend", false).await;
    assert_eq!(digest(back.unwrap().1), first);
    let charged = world.mint(world.ask(&["payments:charge"])).await.unwrap();
    assert!(charged.token.is_some());
    let state = &world.rig.server.state;
    assert!(state.unread_activations().is_empty(), "it is dropped");
    assert_eq!(
        state.activations()[0].number,
        3,
        "numbers are not used again"
    );
    let records = world.rig.records();
    let mut newest = records.iter().rev().map(records::AuditRecord::view);
    let last = newest.find(|record| record.kind == AuditKind::PolicyActivate);
    let last = last.unwrap();
    assert!(
        last.detail.contains("drops damaged history-"),
        "{}",
        last.detail
    );
    // The set that only the damaged activation named is forgotten with it.
    let chunks = key::policy_chunks(state.trust_domain());
    let chunks = world.rig.store.load(&chunks).await.unwrap().records;
    assert_eq!(chunks.len(), 1);
}

/// `bulla policy apply` says which set it saw in force: none, where none decides.
#[tokio::test]
async fn s16_applying_a_set_mends_it_as_well() {
    let world = damaged(World::new().await, 1).await;
    let (_, made) = world.try_apply(files(""), "none").await.unwrap();
    assert_eq!(made.unwrap().number, 2);
    assert!(world.mint(world.ask(&["payments:charge"])).await.is_ok());
}

const BY_GROUP: &str = r#"
@id("pay-4") @owner("team-payments") @rationale("the refund group gives money back")
permit (principal in Path::"spiffe://example.org/checkout", action == Action::"payments:refund", resource == Audience::"payments")
when { principal.selectors.contains("unix:gid:7") };
"#;

#[tokio::test]
async fn u3_what_was_attested_counts_and_what_was_not_is_a_condition() {
    let world = World::new().await;
    let (plan, made) = world.apply(files(BY_GROUP)).await;
    made.unwrap();
    // A grant of high risk, by a selector that the entry does not name.
    let gained: Vec<_> = plan.gained.iter().collect();
    assert_eq!(gained.len(), 1, "{plan:?}");
    assert_eq!(gained[0].permission.as_str(), "payments:refund");
    assert!(gained[0].conditions[0].starts_with("pay-4 if "), "{plan:?}");
    let tokens = &world.rig.server.tokens;
    let who = tokens.who_can("payments:refund", "payments").await.unwrap();
    assert_eq!((who.can.len(), who.possible.len()), (0, 1));
    let ways = who.possible[0].conditions.join("\n");
    assert!(ways.contains("pay-3 if context has breakGlass"), "{ways}");
    assert!(ways.contains("pay-4 if principal.selectors"), "{ways}");
    // Once it was attested, it can.
    let mut ask = world.ask(&["payments:refund"]);
    ask.selectors = crate::rig::selectors(&["unix:uid:1000", "unix:gid:7"]);
    assert!(world.mint(ask).await.unwrap().token.is_some());
    let who = tokens.who_can("payments:refund", "payments").await.unwrap();
    assert_eq!((who.can.len(), who.possible.len()), (1, 0));
    // Taking it away is a loss.
    let (plan, _made) = world.apply(files("")).await;
    assert_eq!(plan.lost.len(), 1, "{plan:?}");
}

#[tokio::test]
async fn u12_mistakes_are_refused_to_whoever_proposes_and_told_to_who_goes_back() {
    let world = World::new().await;
    let foreign = r#"@id("x") @owner("o") @rationale("r")
        permit (principal in Path::"spiffe://exmaple.org/a", action == Action::"payments:read", resource == Audience::"payments");"#;
    let never = r#"@id("x") @owner("o") @rationale("r")
        permit (principal in Path::"spiffe://example.org/a", action == Action::"payments:read", resource == Audience::"payments")
        when { context.weekday == 8 };"#;
    for (text, said) in [
        (foreign, "this is trust domain example.org"),
        (never, "context.weekday is 1 to 7"),
    ] {
        let (plan, made) = world.apply(files(text)).await;
        assert!(made.is_none() && !plan.activatable());
        assert!(plan.faults[0].what.contains(said), "{:?}", plan.faults);
    }
}
