//! Break-glass: two people, a ticket, a quarter of an hour, on record.

use std::time::Duration;

use records::{AuditKind, AuditOutcome};

use super::World;
use crate::caller::Caller;
use crate::failure::Kind;
use crate::rig::ADMIN;

const CHECKOUT: &str = "spiffe://example.org/checkout";

#[tokio::test]
async fn two_people_open_it_for_one_workload_and_it_ends_by_itself() {
    let world = World::new().await;
    let tokens = &world.rig.server.tokens;
    let refunds = async || {
        let mint = world.mint(world.ask(&["payments:refund"])).await.unwrap();
        mint.token.map(|_| mint.record)
    };
    let glass = tokens
        .open_glass(&ADMIN, CHECKOUT, "INC-7", 600)
        .await
        .unwrap();
    assert!(refunds().await.is_none(), "asked for is not approved");
    // The same person again, by another process.
    let same = Caller::Local { uid: 0, pid: 99 };
    let refused = tokens.approve_glass(&same, &glass.id).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Denied);
    let other = Caller::Spiffe(world.rig.id("/people/ada"));
    tokens.approve_glass(&other, &glass.id).await.unwrap();
    let record = refunds().await.expect("break-glass is in force");
    let on_record = record.context.break_glass.unwrap();
    assert_eq!(on_record.ticket, "INC-7");
    assert_eq!(on_record.approver, "spiffe://example.org/people/ada");
    let again = tokens.approve_glass(&other, &glass.id).await;
    assert_eq!(again.unwrap_err().kind(), Kind::Precondition);
    world.rig.clock.advance(Duration::from_secs(601));
    world.rig.settle().await;
    assert!(refunds().await.is_none(), "its time is over");
    let kept = world
        .rig
        .count(AuditKind::BreakGlass, AuditOutcome::Granted);
    assert_eq!(kept, 2, "asked for and approved");
}

#[tokio::test]
async fn it_can_be_ended_and_is_refused_without_ticket_or_for_too_long() {
    let world = World::new().await;
    let tokens = &world.rig.server.tokens;
    let other = Caller::Spiffe(world.rig.id("/people/ada"));
    let glass = tokens
        .open_glass(&ADMIN, CHECKOUT, "INC-8", 0)
        .await
        .unwrap();
    tokens.approve_glass(&other, &glass.id).await.unwrap();
    tokens.end_glass(&ADMIN, &glass.id).await.unwrap();
    let mint = world.mint(world.ask(&["payments:refund"])).await.unwrap();
    assert!(mint.token.is_none());
    let bad = [
        tokens.open_glass(&ADMIN, CHECKOUT, "  ", 60).await,
        tokens.open_glass(&ADMIN, CHECKOUT, "INC-9", 901).await,
        tokens.open_glass(&ADMIN, "checkout", "INC-9", 60).await,
    ];
    for refused in bad {
        assert_eq!(refused.unwrap_err().kind(), Kind::Invalid);
    }
    let nobody = tokens
        .open_glass(&ADMIN, "spiffe://example.org/x", "INC-9", 60)
        .await;
    assert_eq!(nobody.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn one_that_nobody_approves_lapses() {
    let world = World::new().await;
    let tokens = &world.rig.server.tokens;
    let glass = tokens
        .open_glass(&ADMIN, CHECKOUT, "INC-7", 600)
        .await
        .unwrap();
    world.rig.clock.advance(Duration::from_secs(3_600));
    world.rig.settle().await;
    let other = Caller::Spiffe(world.rig.id("/people/ada"));
    let late = tokens.approve_glass(&other, &glass.id).await;
    assert_eq!(late.unwrap_err().kind(), Kind::Precondition);
}
