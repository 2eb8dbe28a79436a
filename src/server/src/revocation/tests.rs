//! Revocations on a whole server: what is refused, what is issued, what a restart
//! keeps, and what the signed list says.

mod away;
mod unreadable;

use std::sync::Arc;
use std::time::Duration;

use identity::{Bundle, Revocation, Revoked, SpiffeId, Timestamp};
use records::{AuditKind, AuditOutcome};
use verify::Revocations;

use super::{Order, Signed};
use crate::failure::Kind;
use crate::issue::{IssueRefusal, IssuedJwt, IssuedX509};
use crate::issue::{JwtRequest, JwtRight, X509Request, X509Right};
use crate::limits;
use crate::rig::{ADMIN, Rig, serial_of, subject_key};

impl Rig {
    fn order(&self, kind: &str, value: &str) -> Order {
        Order {
            what: Revoked::parse(kind, value, self.server.state.trust_domain()).unwrap(),
            reason: "a test".into(),
            until_lifted: false,
            force: false,
        }
    }

    async fn signed(&self) -> Arc<Signed> {
        let revocations = &self.server.revocations;
        revocations.bring_up_to_date().await.unwrap();
        revocations.signed().unwrap()
    }

    fn trusted_bundle(&self) -> Arc<Bundle> {
        let registry = self.server.state.registry();
        let own = registry.bundle(self.server.state.trust_domain());
        Arc::clone(own.unwrap())
    }

    async fn minted(&self, id: &SpiffeId) -> Result<IssuedX509, IssueRefusal> {
        let right = X509Right::Mint {
            spiffe_id: id.clone(),
            dns_names: Vec::new(),
            ttl: None,
        };
        let key = subject_key();
        let request = X509Request { right, key };
        let issuer = &self.server.issuer;
        issuer.issue_x509(&ADMIN, vec![request]).await.remove(0)
    }

    async fn mint_jwt(&self, id: &SpiffeId) -> Result<IssuedJwt, IssueRefusal> {
        let right = JwtRight::Mint {
            spiffe_id: id.clone(),
            ttl: None,
        };
        let audience = vec!["db".to_owned()];
        let request = JwtRequest { right, audience };
        self.server.issuer.issue_jwt(&ADMIN, request).await
    }

    fn until(&self, at: Timestamp) {
        let span = at.since(self.clock.now());
        self.clock.advance(Duration::from_secs(span.0.into()));
    }

    fn held(&self, what: &Revoked) -> Option<Arc<Revocation>> {
        self.server.state.registry().revocation(what).cloned()
    }
}

fn read(rig: &Rig, signed: &Signed) -> Revocations {
    Revocations::read(&signed.list, &rig.trusted_bundle(), None).unwrap()
}

#[tokio::test]
async fn a_revoked_serial_is_on_the_signed_list_until_it_has_expired() {
    let rig = Rig::memory().await;
    let id = rig.id("/web");
    let svid = rig.minted(&id).await.unwrap().svid;
    let serial = serial_of(&svid);
    let order = rig.order("serial", &serial.to_string());
    let plan = rig.server.revocations.plan(&order).unwrap();
    assert_eq!((plan.hit_count, plan.already), (1, false));
    assert_eq!(plan.hits[0].spiffe_id, id.to_string());
    assert_eq!(plan.hits[0].expires_at, svid.not_after);
    assert!(rig.held(&order.what).is_none(), "a plan changes nothing");
    let before = rig.signed().await;
    let (_, sequence) = rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    assert!(sequence > before.sequence);
    // This server decides by it without any signature.
    let revoked = rig.server.state.revoked();
    let check = |list: &Revocations| list.check_certificate(&id, &serial, svid.not_before);
    assert!(check(&revoked).is_err());
    let signed = rig.signed().await;
    assert_eq!(signed.sequence, sequence);
    assert!(check(&read(&rig, &signed)).is_err());
    assert!(check(&read(&rig, &before)).is_ok());
    let again = rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    assert_eq!((again.0.already, again.1), (true, sequence));
    assert_eq!(rig.count(AuditKind::Revoke, AuditOutcome::Granted), 1);
    // It leaves the list when nobody's clock can find it valid.
    let until = rig.held(&order.what).unwrap().until.unwrap();
    assert_eq!(until, svid.not_after.plus(limits::REVOCATION_SKEW));
    assert_eq!(rig.server.revocations.sweep().await.unwrap(), 0);
    rig.until(until);
    rig.settle().await;
    assert_eq!(rig.server.revocations.sweep().await.unwrap(), 1);
    assert!(rig.signed().await.sequence > sequence);
    assert!(rig.server.state.revoked().is_empty());
}

#[tokio::test]
async fn what_is_issued_to_an_id_after_its_revocation_is_good() {
    let rig = Rig::memory().await;
    let id = rig.id("/web");
    let (old, old_token) = (rig.minted(&id).await, rig.mint_jwt(&id).await);
    let order = rig.order("id", id.as_str());
    let (outcome, _) = rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    assert_eq!(outcome.hit_count, 2);
    // In the same second even.
    let (new, new_token) = (rig.minted(&id).await, rig.mint_jwt(&id).await);
    let signed = rig.signed().await;
    let list = read(&rig, &signed);
    let good = |svid: &identity::X509Svid| {
        let checked = list.check_certificate(&id, &serial_of(svid), svid.not_before);
        checked.is_ok()
    };
    assert!(!good(&old.unwrap().svid));
    assert!(good(&new.unwrap().svid));
    let good = |issued: IssuedJwt| list.check_token(&id, None, Some(issued.svid.issued_at));
    assert!(good(old_token.unwrap()).is_err());
    assert!(good(new_token.unwrap()).is_ok());
    // Revoked again a moment later, that is void, too.
    rig.clock.advance(Duration::from_secs(5));
    rig.settle().await;
    let (outcome, _) = rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    assert!(!outcome.already);
    assert_eq!(outcome.revocation.at, rig.clock.now());
}

#[tokio::test]
async fn an_id_that_is_revoked_until_lifted_is_issued_nothing() {
    let rig = Rig::memory().await;
    let id = rig.id("/web");
    let old = rig.minted(&id).await.unwrap().svid;
    let order = Order {
        until_lifted: true,
        ..rig.order("id", id.as_str())
    };
    let revocations = &rig.server.revocations;
    revocations.revoke(&ADMIN, &order).await.unwrap();
    let refused = rig.minted(&id).await.unwrap_err();
    assert_eq!(refused, IssueRefusal::Revoked(id.clone()));
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(rig.mint_jwt(&id).await.is_err());
    assert!(rig.minted(&rig.id("/other")).await.is_ok());
    rig.until(Timestamp(rig.clock.now().0 + 40_000));
    rig.settle().await;
    assert_eq!(revocations.sweep().await.unwrap(), 0, "it has no end");
    let (remaining, _) = revocations
        .lift(&ADMIN, &order.what, "clean")
        .await
        .unwrap();
    let remaining = remaining.expect("what was issued before stays void");
    assert_eq!(remaining.at, rig.clock.now());
    let new = rig.minted(&id).await.unwrap().svid;
    let list = read(&rig, &*rig.signed().await);
    let check =
        |svid: &identity::X509Svid| list.check_certificate(&id, &serial_of(svid), svid.not_before);
    assert!(check(&old).is_err());
    assert!(check(&new).is_ok());
    let (nothing, _) = revocations.lift(&ADMIN, &order.what, "all").await.unwrap();
    assert!(nothing.is_none());
    let gone = revocations.lift(&ADMIN, &order.what, "again").await;
    assert_eq!(gone.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(rig.count(AuditKind::RevokeLift, AuditOutcome::Granted), 2);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let rig = Rig::memory().await;
    let revocations = &rig.server.revocations;
    let refused = |order: Order| async move {
        let refused = revocations.revoke(&ADMIN, &order).await;
        refused.unwrap_err().kind()
    };
    let unknown = rig.order("jti", "never-issued");
    assert_eq!(refused(unknown.clone()).await, Kind::NotFound);
    let lifted = Order {
        until_lifted: true,
        ..unknown.clone()
    };
    assert_eq!(refused(lifted).await, Kind::Invalid);
    for reason in ["", "  ", "two\nlines", &"x".repeat(513)] {
        let order = Order {
            reason: reason.into(),
            ..rig.order("id", "spiffe://example.org/web")
        };
        assert_eq!(refused(order).await, Kind::Invalid);
    }
    let server = Order {
        until_lifted: true,
        ..rig.order("id", "spiffe://example.org/spire/server")
    };
    assert_eq!(refused(server).await, Kind::Precondition);
    let svid = rig.minted(&rig.id("/web")).await.unwrap().svid;
    rig.until(svid.not_after);
    rig.settle().await;
    let expired = rig.order("serial", &serial_of(&svid).to_string());
    assert_eq!(refused(expired).await, Kind::Precondition);
    let forced = Order {
        force: true,
        ..unknown
    };
    let (outcome, _) = revocations.revoke(&ADMIN, &forced).await.unwrap();
    assert_eq!(outcome.hit_count, 0);
    assert!(rig.server.state.revoked().len() == 1);
}

#[tokio::test]
async fn the_list_is_bounded() {
    let rig = Rig::memory().await;
    let revocations = &rig.server.revocations;
    let long = "x".repeat(128);
    let mut taken = 0;
    let full = loop {
        let order = Order {
            force: true,
            ..rig.order("jti", &format!("{taken:0>8}{}", &long[..120]))
        };
        let plan = revocations.plan(&order).unwrap();
        if let Some(refused) = plan.refused {
            break refused;
        }
        // Straight into the store: each by the front door takes its time.
        let change = crate::state::RevocationChange::Put(Revocation::clone(&plan.revocation));
        let changes = vec![change];
        let state = &rig.server.state;
        state
            .change_revocations(&ADMIN, Vec::new(), changes)
            .await
            .unwrap();
        taken += 1;
    };
    assert_eq!(full.kind(), Kind::Exhausted);
    assert_eq!(taken, limits::MAX_REVOKED_BYTES / 128);
    let signed = rig.signed().await;
    assert!(signed.list.len() < verify::MAX_LIST_BYTES / 2);
    assert_eq!(read(&rig, &signed).len(), taken);
}

#[tokio::test]
async fn a_restart_keeps_what_is_revoked_and_the_number_grows() {
    let rig = Rig::on_disk().await;
    let id = rig.id("/web");
    let svid = rig.minted(&id).await.unwrap().svid;
    let serial = rig.order("serial", &serial_of(&svid).to_string());
    let barred = Order {
        until_lifted: true,
        ..rig.order("id", "spiffe://example.org/gone")
    };
    let mut sequence = 0;
    for order in [&serial, &barred] {
        let revoked = rig.server.revocations.revoke(&ADMIN, order).await;
        sequence = revoked.unwrap().1;
    }
    let rig = rig.restart_from_disk().await;
    assert_eq!(rig.server.state.revoked().len(), 2);
    assert!(rig.minted(&rig.id("/gone")).await.is_err());
    let signed = rig.signed().await;
    assert!(signed.sequence > sequence, "no two lists share a number");
    let list = read(&rig, &signed);
    let checked = list.check_certificate(&id, &serial_of(&svid), svid.not_before);
    assert!(checked.is_err());
}

#[tokio::test]
async fn every_authority_has_its_list_and_one_that_says_the_same_is_kept() {
    let rig = Rig::memory().await;
    let id = rig.id("/web");
    let svid = rig.minted(&id).await.unwrap().svid;
    let first = rig.signed().await;
    assert_eq!(first.crls.len(), 1);
    let unchanged = rig.signed().await;
    assert_eq!(unchanged, first, "nothing is due");
    let order = rig.order("jti", "abc");
    let order = Order {
        force: true,
        ..order
    };
    rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    let second = rig.signed().await;
    assert_ne!(second.list, first.list);
    assert_eq!(second.crls, first.crls, "no serial was revoked");
    let order = rig.order("serial", &serial_of(&svid).to_string());
    rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    let third = rig.signed().await;
    assert_ne!(third.crls, first.crls);
    // A second authority: its list does not name what the first signed.
    let authorities = &rig.server.authorities;
    let profile = records::AuthorityProfile::X509;
    authorities.prepare(&ADMIN, profile).await.unwrap();
    let both = rig.signed().await;
    assert_eq!(both.crls.len(), 2);
    assert!(both.crls.contains(&third.crls[0]));
    rig.clock
        .advance(Duration::from_secs(limits::REVOCATIONS_REFRESH.0.into()));
    rig.settle().await;
    let fresh = rig.signed().await;
    assert!(fresh.sequence > both.sequence);
    assert_eq!(fresh.crls, both.crls);
    rig.clock
        .advance(Duration::from_secs((limits::CRL_LIFETIME.0 / 2).into()));
    rig.settle().await;
    let renewed = rig.signed().await;
    assert!(renewed.crls.iter().all(|crl| !fresh.crls.contains(crl)));
}
