//! A stolen signing key makes certificates that verify, and no administrators.

use std::sync::Arc;

use authority::{LeafSubject, Serial};
use identity::{Entry, Seconds, X509Svid};
use records::{AuditKind, AuthorityProfile};

use super::*;
use crate::authorities::{Act, Order};
use crate::caller::Caller;
use crate::issue::{X509Request, X509Right};
use crate::rig::subject_key;

/// The holder of a certificate that a server issued.
fn shown(leaf: &[u8]) -> Origin {
    let identity = verify::leaf_identity(leaf).unwrap();
    let peer = TestPeer {
        spiffe_id: identity.spiffe_id,
        serial: identity.serial,
        not_after: identity.not_after,
    };
    Origin::TestLeaf(peer, leaf.into())
}

/// A certificate for an entry, issued as any is.
async fn issued(rig: &Rig, change: impl FnOnce(&mut EntryFields)) -> (Arc<Entry>, X509Svid) {
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry_with(&agent.id, "ops", change)).await;
    let request = X509Request {
        right: X509Right::Entry {
            agent: agent.id,
            entry: entry.id.clone(),
        },
        key: subject_key(),
    };
    let caller = Caller::Server;
    let mut issued = rig.server.issuer.issue_x509(&caller, vec![request]).await;
    (entry, issued.remove(0).unwrap().svid)
}

/// A certificate signed with the server's own key, and of which no record says that it
/// was issued: what whoever has stolen the key can make.
async fn forged(rig: &Rig, id: &SpiffeId, serial: Serial) -> X509Svid {
    let authority = rig.server.authorities.x509().unwrap();
    let subject = LeafSubject {
        spiffe_id: id,
        dns_names: &[],
    };
    let (ttl, now) = (Seconds(3600), rig.clock.now());
    let prepared = authority.prepare(&subject, &subject_key(), ttl, serial, now);
    let prepared = prepared.unwrap();
    let audit = &rig.server.audit;
    let record = audit.record(AuditKind::Startup, &Caller::Server);
    let draft = audit.draft_bound(prepared.binding(), &record).unwrap();
    let receipt = audit.append(vec![draft]).await.unwrap().remove(0);
    authority.sign(prepared.redeem(receipt).unwrap()).unwrap()
}

fn serial(rig: &Rig) -> Serial {
    Serial::new(
        rig.server.authorities.serials(),
        rig.server.entropy.bytes().unwrap(),
    )
}

#[tokio::test]
async fn s5_nobody_is_an_administrator_by_a_tainted_key() {
    let rig = Rig::memory().await;
    let (_, admin) = issued(&rig, |entry| entry.admin = true).await;
    let gate = gate(&rig);
    let origin = shown(&admin.chain[0]);
    assert!(gate.admit(COUNT, Some(&origin)).await.is_ok());
    let authorities = &rig.server.authorities;
    let old = authorities.x509().unwrap().id().to_owned();
    let profile = AuthorityProfile::X509;
    let next = authorities.prepare(&ADMIN, profile).await.unwrap();
    authorities
        .activate(&ADMIN, profile, &next.id)
        .await
        .unwrap();
    assert!(
        gate.admit(COUNT, Some(&origin)).await.is_ok(),
        "retired is not tainted"
    );
    authorities.taint(&ADMIN, profile, &old).await.unwrap();
    let refused = status(&rig, COUNT, &origin).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("tainted"), "{refused}");
    // It is still a workload.
    assert!(gate.admit(GET_BUNDLE, Some(&origin)).await.is_ok());
}

#[tokio::test]
async fn s5_nobody_is_a_downstream_server_by_a_key_that_is_tainted_while_it_signs() {
    let rig = Rig::memory().await;
    let (_, nested) = issued(&rig, |entry| entry.downstream = true).await;
    let origin = shown(&nested.chain[0]);
    let publish = "/spire.api.server.bundle.v1.Bundle/PublishJWTAuthority";
    assert!(gate(&rig).admit(publish, Some(&origin)).await.is_ok());
    let authorities = &rig.server.authorities;
    let active = authorities.x509().unwrap().id().to_owned();
    let order = Order {
        act: Act::Taint,
        profile: AuthorityProfile::X509,
        id: &active,
        force: true,
    };
    authorities.carry_out_order(&ADMIN, order).await.unwrap();
    assert!(gate(&rig).admit(publish, Some(&origin)).await.is_err());
}

#[tokio::test]
async fn s5_a_certificate_that_nobody_issued_makes_no_administrator() {
    let rig = Rig::memory().await;
    let (entry, admin) = issued(&rig, |entry| entry.admin = true).await;
    let genuine = shown(&admin.chain[0]);
    assert!(gate(&rig).admit(COUNT, Some(&genuine)).await.is_ok());
    let id = &entry.spiffe_id;
    let never_issued = forged(&rig, id, serial(&rig)).await;
    let refused = status(&rig, COUNT, &shown(&never_issued.chain[0])).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("no record"), "{refused}");
    // The serial of the genuine one, which its peers have seen, does not help.
    let seen = serial_of(&admin);
    let (_, random) = seen.as_bytes().split_first().unwrap();
    let same = Serial::new(rig.server.authorities.serials(), random.try_into().unwrap());
    assert_eq!(same.to_certificate_serial(), seen);
    let copied = forged(&rig, id, same).await;
    assert!(
        gate(&rig)
            .admit(COUNT, Some(&shown(&copied.chain[0])))
            .await
            .is_err()
    );
    // Another server process knows by the record alone.
    let rig = rig.restart_in_memory(60).await.unwrap();
    assert!(gate(&rig).admit(COUNT, Some(&genuine)).await.is_ok());
    assert!(
        gate(&rig)
            .admit(COUNT, Some(&shown(&copied.chain[0])))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn s5_what_an_administrator_minted_counts_as_issued() {
    let rig = Rig::memory().await;
    let (entry, _) = issued(&rig, |entry| entry.admin = true).await;
    let request = X509Request {
        right: X509Right::Mint {
            spiffe_id: entry.spiffe_id.clone(),
            dns_names: Vec::new(),
            ttl: None,
        },
        key: subject_key(),
    };
    let mut minted = rig.server.issuer.issue_x509(&ADMIN, vec![request]).await;
    let minted = minted.remove(0).unwrap().svid;
    assert!(
        gate(&rig)
            .admit(COUNT, Some(&shown(&minted.chain[0])))
            .await
            .is_ok()
    );
}
