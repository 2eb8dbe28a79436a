//! Break-glass: two people, a ticket, a quarter of an hour, on record; and tokens
//! that end with it.

use std::time::Duration;

use identity::{Revoked, X509Svid};
use records::{AuditKind, AuditOutcome, BreakGlassRecord};

use super::World;
use crate::authz::Certificate;
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::issue::{X509Request, X509Right};
use crate::rig::{ADMIN, Agent, serial_of, subject_key};

const CHECKOUT: &str = "spiffe://example.org/checkout";

/// Somebody who calls, with the certificate that proves it.
struct Person {
    caller: Caller,
    certificate: Option<Certificate>,
}

impl Person {
    fn by(&self) -> (&Caller, Option<Certificate>) {
        (&self.caller, self.certificate.clone())
    }

    fn on_the_socket(uid: u32) -> Self {
        Self {
            caller: Caller::Local { uid, pid: 9 },
            certificate: None,
        }
    }

    fn of(svid: &X509Svid) -> Self {
        let certificate = Certificate {
            serial: serial_of(svid),
            not_before: svid.not_before,
            not_after: svid.not_after,
        };
        Self {
            caller: Caller::Spiffe(svid.spiffe_id.clone()),
            certificate: Some(certificate),
        }
    }
}

impl World {
    /// An administrator whose workload an agent attested.
    async fn attested(&self, name: &str, agent: &Agent) -> Person {
        let entry = self.rig.entry_with(&agent.id, name, |e| e.admin = true);
        let entry = self.rig.create(entry).await;
        let right = X509Right::Entry {
            agent: agent.id.clone(),
            entry: entry.id.clone(),
        };
        self.issued(&Caller::Spiffe(agent.id.clone()), right).await
    }

    /// An administrator's SVID that another administrator minted.
    async fn minted(&self, name: &str) -> Person {
        let entry = self
            .rig
            .entry_with(&self.agent.id, name, |e| e.admin = true);
        self.rig.create(entry).await;
        let right = X509Right::Mint {
            spiffe_id: self.rig.id(&format!("/{name}")),
            dns_names: Vec::new(),
            ttl: None,
        };
        self.issued(&ADMIN, right).await
    }

    async fn issued(&self, caller: &Caller, right: X509Right) -> Person {
        let request = X509Request {
            right,
            key: subject_key(),
        };
        let issuer = &self.rig.server.issuer;
        let mut issued = issuer.issue_x509(caller, vec![request]).await;
        Person::of(&issued.remove(0).unwrap().svid)
    }

    async fn ask_for_glass(&self, by: &Person, ticket: &str) -> Result<BreakGlassRecord, Failure> {
        let tokens = &self.rig.server.tokens;
        tokens.open_glass(by.by(), CHECKOUT, ticket, 600).await
    }

    async fn approve(&self, by: &Person, id: &str) -> Result<BreakGlassRecord, Failure> {
        self.rig.server.tokens.approve_glass(by.by(), id).await
    }

    async fn opened(&self) -> BreakGlassRecord {
        let root = Person::on_the_socket(0);
        self.ask_for_glass(&root, "INC-7").await.unwrap()
    }

    async fn refunds(&self) -> Option<crate::tokens::Mint> {
        let mint = self.mint(self.ask(&["payments:refund"])).await.unwrap();
        mint.token.is_some().then_some(mint)
    }
}

#[tokio::test]
async fn two_people_open_it_for_one_workload_and_it_ends_by_itself() {
    let world = World::new().await;
    let glass = world.opened().await;
    assert!(world.refunds().await.is_none(), "asked for is not approved");
    // The same person again, by another process.
    let same = world.approve(&Person::on_the_socket(0), &glass.id).await;
    assert_eq!(same.unwrap_err().kind(), Kind::Denied);
    let ada = world.attested("people/ada", &world.agent).await;
    world.approve(&ada, &glass.id).await.unwrap();
    let record = world.refunds().await.expect("it is in force").record;
    let on_record = record.context.break_glass.unwrap();
    assert_eq!(on_record.ticket, "INC-7");
    assert_eq!(on_record.approver, "spiffe://example.org/people/ada");
    let again = world.approve(&ada, &glass.id).await;
    assert_eq!(again.unwrap_err().kind(), Kind::Precondition);
    world.rig.clock.advance(Duration::from_secs(601));
    world.rig.settle().await;
    assert!(world.refunds().await.is_none(), "its time is over");
    let kept = world
        .rig
        .count(AuditKind::BreakGlass, AuditOutcome::Granted);
    assert_eq!(kept, 2, "asked for and approved");
}

#[tokio::test]
async fn s12_one_administrator_is_not_two_by_minting_a_second_name() {
    let world = World::new().await;
    let glass = world.opened().await;
    let ada = world.minted("people/ada").await;
    let refused = world.approve(&ada, &glass.id).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.message().contains("was minted by"), "{refused}");
    // Nor does a minted name ask, to be approved by who minted it.
    let eve = world.minted("people/eve").await;
    let refused = world.ask_for_glass(&eve, "INC-8").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    // A certificate that nobody issued, under whatever key it was signed.
    let mut forged = world.attested("people/bob", &world.agent).await;
    if let Some(certificate) = &mut forged.certificate {
        certificate.serial = identity::CertificateSerial::new(&[7; 20]);
    }
    let refused = world.approve(&forged, &glass.id).await.unwrap_err();
    assert!(refused.message().contains("not on this server's record"));
    let refusals = world
        .rig
        .count(AuditKind::BreakGlass, AuditOutcome::Refused);
    assert_eq!(refusals, 3, "each is on record");
    assert!(world.refunds().await.is_none());
}

#[tokio::test]
async fn s12_the_admin_socket_is_one_person_and_so_is_a_node() {
    let world = World::new().await;
    let glass = world.opened().await;
    // Another user of the same socket: root is whoever it likes to be.
    let refused = world
        .approve(&Person::on_the_socket(1_000), &glass.id)
        .await;
    assert!(refused.unwrap_err().message().contains("admin socket"));
    let ada = world.attested("people/ada", &world.agent).await;
    let bob = world.attested("people/bob", &world.agent).await;
    let other_node = world.rig.agent().await;
    let eve = world.attested("people/eve", &other_node).await;
    let glass = world.ask_for_glass(&ada, "INC-9").await.unwrap();
    assert_eq!(
        glass.requester_node.as_deref(),
        Some(world.agent.id.as_str())
    );
    let refused = world.approve(&ada, &glass.id).await.unwrap_err();
    assert!(refused.message().contains("asked for it"), "{refused}");
    let refused = world.approve(&bob, &glass.id).await.unwrap_err();
    assert!(refused.message().contains("same node"), "{refused}");
    let glass = world.approve(&eve, &glass.id).await.unwrap();
    assert_eq!(glass.approver_node.as_deref(), Some(other_node.id.as_str()));
    assert!(world.refunds().await.is_some());
}

#[tokio::test]
async fn it_can_be_ended_and_is_refused_without_ticket_or_for_too_long() {
    let world = World::new().await;
    let tokens = &world.rig.server.tokens;
    let glass = world.opened().await;
    let ada = world.attested("people/ada", &world.agent).await;
    world.approve(&ada, &glass.id).await.unwrap();
    tokens.end_glass(&ADMIN, &glass.id).await.unwrap();
    assert!(world.refunds().await.is_none());
    let bad = [
        tokens.open_glass((&ADMIN, None), CHECKOUT, "  ", 60).await,
        tokens
            .open_glass((&ADMIN, None), CHECKOUT, "INC-9", 901)
            .await,
        tokens
            .open_glass((&ADMIN, None), "checkout", "INC-9", 60)
            .await,
    ];
    for refused in bad {
        assert_eq!(refused.unwrap_err().kind(), Kind::Invalid);
    }
    let nobody = tokens
        .open_glass((&ADMIN, None), "spiffe://example.org/x", "INC-9", 60)
        .await;
    assert_eq!(nobody.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn one_that_nobody_approves_lapses() {
    let world = World::new().await;
    let glass = world.opened().await;
    let ada = world.attested("people/ada", &world.agent).await;
    world.rig.clock.advance(Duration::from_secs(3_600));
    world.rig.settle().await;
    let late = world.approve(&ada, &glass.id).await;
    assert_eq!(late.unwrap_err().kind(), Kind::Precondition);
}

/// Whether a token is revoked for those who check it.
fn is_revoked(world: &World, mint: &crate::tokens::Mint) -> bool {
    let what = Revoked::Jti(mint.record.jti.as_deref().unwrap().into());
    world
        .rig
        .server
        .state
        .registry()
        .revocation(&what)
        .is_some()
}

#[tokio::test]
async fn u2_a_token_ends_with_the_break_glass_that_it_was_granted_by() {
    let world = World::new().await;
    let tokens = &world.rig.server.tokens;
    let opened = tokens
        .open_glass((&ADMIN, None), CHECKOUT, "INC-7", 3)
        .await;
    let ada = world.attested("people/ada", &world.agent).await;
    let glass = world.approve(&ada, &opened.unwrap().id).await.unwrap();
    let mint = world.refunds().await.unwrap();
    let token = mint.token.as_ref().unwrap();
    assert_eq!(token.expires_at, glass.ends_at);
    assert_eq!(mint.record.limited_by, Some(policy::Limit::BreakGlass));
    assert!(mint.record.under_break_glass);
    // What is granted on ordinary days lasts as long as on ordinary days.
    let charge = world.mint(world.ask(&["payments:charge"])).await.unwrap();
    assert!(!charge.record.under_break_glass);
    assert!(charge.token.unwrap().expires_at > glass.ends_at);
}

#[tokio::test]
async fn u2_ending_break_glass_revokes_the_tokens_that_it_granted() {
    let world = World::new().await;
    let tokens = &world.rig.server.tokens;
    let glass = world.opened().await;
    let ada = world.attested("people/ada", &world.agent).await;
    world.approve(&ada, &glass.id).await.unwrap();
    let refund = world.refunds().await.unwrap();
    let charge = world.mint(world.ask(&["payments:charge"])).await.unwrap();
    tokens.end_glass(&ADMIN, &glass.id).await.unwrap();
    assert!(is_revoked(&world, &refund), "granted because of it");
    assert!(!is_revoked(&world, &charge), "granted on any day");
    assert_eq!(world.rig.count(AuditKind::Revoke, AuditOutcome::Granted), 1);
    let again = tokens.end_glass(&ADMIN, &glass.id).await;
    assert_eq!(again.unwrap_err().kind(), Kind::Precondition);
}
