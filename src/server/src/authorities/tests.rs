//! Keys are published before they sign, stay until what they signed has expired, and
//! survive restarts.

use std::time::Duration;

use identity::{Seconds, X509Svid};
use records::{AuditKind, AuditOutcome, AuthorityProfile};

use super::*;
use crate::caller::Caller;
use crate::failure::Kind;
use crate::issue::{X509Request, X509Right};
use crate::rig::{ADMIN, Rig, subject_key};

mod patience;

const X509: AuthorityProfile = AuthorityProfile::X509;

impl Rig {
    fn states(&self, profile: AuthorityProfile) -> Vec<&'static str> {
        let status = self.server.authorities.status();
        status
            .iter()
            .filter(|key| key.profile == profile)
            .map(|key| key.state)
            .collect()
    }

    async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.settle().await;
        self.server.authorities.tick().await.unwrap();
    }

    async fn svid(&self) -> X509Svid {
        let request = X509Request {
            right: X509Right::Mint {
                spiffe_id: self.id("/probe"),
                dns_names: Vec::new(),
                ttl: None,
            },
            key: subject_key(),
        };
        let issued = self
            .server
            .issuer
            .issue_x509(&ADMIN, vec![request])
            .await
            .remove(0);
        issued.unwrap().svid
    }

    /// Prepares, publishes and activates a successor.
    async fn rotate(&self, profile: AuthorityProfile) -> KeyStatus {
        let authorities = &self.server.authorities;
        let next = authorities.prepare(&ADMIN, profile).await.unwrap();
        authorities
            .activate(&ADMIN, profile, &next.id)
            .await
            .unwrap()
    }

    fn own_bundle(&self) -> Arc<identity::Bundle> {
        let registry = self.server.state.registry();
        Arc::clone(registry.bundle(self.server.state.trust_domain()).unwrap())
    }
}

#[tokio::test]
async fn a_first_start_makes_one_authority_of_each_kind() {
    let rig = Rig::memory().await;
    assert_eq!(rig.states(X509), ["active"]);
    assert_eq!(rig.states(AuthorityProfile::Jwt), ["active"]);
    assert_eq!(rig.states(AuthorityProfile::Access), ["active"]);
    let bundle = rig.own_bundle();
    assert_eq!(
        (bundle.x509_authorities.len(), bundle.jwt_authorities.len()),
        (1, 1)
    );
    assert_eq!(
        bundle.jwt_authorities[0].key_id,
        *rig.server.authorities.jwt().unwrap().key_id()
    );
    // Access tokens have a key of their own, and no SPIFFE bundle shows it.
    let access = rig.server.authorities.access().unwrap();
    assert_eq!(bundle.access_keys, [access.published_key()]);
    assert_ne!(bundle.access_keys[0].spki, bundle.jwt_authorities[0].spki);
    let wire = api::convert::bundle_to_wire(&bundle, None);
    assert_eq!(wire.jwt_authorities.len(), 1);
    let document = verify::bundle_format::encode(&bundle);
    assert!(!document.contains(&**access.key_id()));
    assert_eq!(bundle.refresh_hint, Some(Seconds(30)));
    assert_eq!(rig.count(AuditKind::CaX509, AuditOutcome::Granted), 1);
    assert_eq!(rig.count(AuditKind::CaJwt, AuditOutcome::Granted), 1);
    let pin = rig.server.authorities.status()[0]
        .certificate_sha256
        .unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &bundle.x509_authorities[0].der);
    assert_eq!(pin, digest.as_ref());
}

/// The whole life of a key by the clock alone, with an SVID issued at each step: it
/// always verifies, and the bundle's sequence never falls.
#[tokio::test]
async fn keys_rotate_by_the_clock_and_no_svid_ever_fails() {
    let rig = Rig::memory().await;
    let first = rig.server.authorities.x509().unwrap().id().to_owned();
    let mut held: Vec<X509Svid> = Vec::new();
    let mut sequence = 0;
    let mut seen_signing = std::collections::BTreeSet::new();
    // Four days in steps of ten minutes.
    for _ in 0..(4 * 144) {
        rig.pass(600).await;
        held.retain(|svid| svid.not_after > rig.clock.now());
        held.push(rig.svid().await);
        for svid in &held {
            assert!(rig.verifies(svid), "an SVID that has not expired verifies");
        }
        let bundle = rig.own_bundle();
        assert!(bundle.sequence >= sequence);
        sequence = bundle.sequence;
        let active = rig.server.authorities.x509().unwrap();
        assert!(
            bundle
                .x509_authorities
                .iter()
                .any(|a| a.der == *active.certificate_der())
        );
        seen_signing.insert(active.id().to_owned());
        assert!(rig.states(X509).len() <= 3);
    }
    assert!(
        seen_signing.len() >= 4,
        "{} keys signed in four days",
        seen_signing.len()
    );
    let status = rig.server.authorities.status();
    assert!(
        status.iter().all(|key| key.id != first),
        "the first key is long gone"
    );
    assert!(rig.own_bundle().x509_authorities.len() <= 3);
}

#[tokio::test]
async fn a_key_is_published_for_the_whole_interval_before_it_signs() {
    let rig = Rig::with(|config| config.rotation.propagation = "1h".into()).await;
    let first = rig.server.authorities.x509().unwrap().id().to_owned();
    rig.server.authorities.prepare(&ADMIN, X509).await.unwrap();
    assert_eq!(rig.states(X509), ["active", "published"]);
    assert_eq!(rig.own_bundle().x509_authorities.len(), 2);
    rig.pass(3_599).await;
    assert_eq!(rig.server.authorities.x509().unwrap().id(), first);
}

/// Verifiers come no sooner for a clock that somebody set ahead.
#[tokio::test]
async fn a_clock_set_ahead_does_not_shorten_the_publication() {
    let rig = Rig::with(|config| config.rotation.propagation = "2m".into()).await;
    rig.server.authorities.prepare(&ADMIN, X509).await.unwrap();
    let against = || async {
        let order = Order {
            act: Act::Activate,
            profile: X509,
            id: "",
            force: false,
        };
        rig.server
            .authorities
            .plan(order)
            .await
            .unwrap()
            .refused_because
    };
    rig.clock.step_wall(200);
    rig.server.authorities.tick().await.unwrap();
    assert!(!against().await.is_empty(), "published for no time at all");
    rig.pass(119).await;
    assert!(!against().await.is_empty(), "published for 119 s of 120");
    rig.pass(1).await;
    assert!(against().await.is_empty());
}

#[tokio::test]
async fn a_manual_rotation_keeps_the_old_key_for_what_it_signed() {
    let rig = Rig::memory().await;
    let old = rig.svid().await;
    let first = rig.server.authorities.x509().unwrap().id().to_owned();
    let next = rig.rotate(X509).await;
    assert_ne!(next.id, first);
    assert_eq!(next.state, "active");
    assert_eq!(rig.states(X509), ["retired", "active"]);
    let new = rig.svid().await;
    assert!(rig.verifies(&old) && rig.verifies(&new));
    let refused = rig
        .server
        .authorities
        .revoke(&ADMIN, X509, &next.id, true)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Precondition);
    rig.server
        .authorities
        .taint(&ADMIN, X509, &first)
        .await
        .unwrap();
    assert!(rig.own_bundle().x509_authorities[0].tainted);
    rig.server
        .authorities
        .revoke(&ADMIN, X509, &first, true)
        .await
        .unwrap();
    assert_eq!(rig.states(X509), ["active"]);
    assert!(!rig.verifies(&old) && rig.verifies(&new));
    let unknown = rig
        .server
        .authorities
        .taint(&ADMIN, X509, "00")
        .await
        .unwrap_err();
    assert_eq!(unknown.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_restart_takes_the_same_keys_back() {
    let rig = Rig::memory().await;
    rig.rotate(X509).await;
    let svid = rig.svid().await;
    let before = rig.server.authorities.status();
    let bundle = rig.own_bundle();
    let rig = rig.restart_in_memory(60).await.unwrap();
    let ids = |status: &[KeyStatus]| -> Vec<(String, &'static str)> {
        status
            .iter()
            .map(|key| (key.id.clone(), key.state))
            .collect()
    };
    assert_eq!(ids(&rig.server.authorities.status()), ids(&before));
    assert_eq!(rig.own_bundle(), bundle);
    assert!(rig.verifies(&svid));
    rig.svid().await;
}

#[tokio::test]
async fn after_a_stop_past_the_keys_end_the_server_makes_new_ones_by_itself() {
    let rig = Rig::memory().await;
    let first = rig.server.authorities.x509().unwrap().id().to_owned();
    let rig = rig.restart_in_memory(30 * 86_400).await.unwrap();
    let active = rig.server.authorities.x509().unwrap();
    assert_ne!(active.id(), first);
    let svid = rig.svid().await;
    assert!(rig.verifies(&svid));
    assert_eq!(rig.count(AuditKind::CaX509, AuditOutcome::Granted), 2);
}

#[tokio::test]
async fn a_follower_that_has_not_delivered_the_bundle_is_waited_for() {
    let rig = Rig::with(|config| config.rotation.patience = "1h".into()).await;
    let agent = rig.agent().await;
    let follower = rig.server.state.subscribe_agent(&agent.id).unwrap();
    let first = rig.server.authorities.x509().unwrap().id().to_owned();
    // Published past the activation threshold, a sixth of 24 h before the end.
    rig.clock.advance(Duration::from_secs(20 * 3_600 + 60));
    rig.pass(1).await;
    rig.pass(3_000).await;
    assert_eq!(rig.states(X509), ["active", "published"]);
    assert_eq!(rig.server.authorities.x509().unwrap().id(), first);
    follower.acknowledge_bundle(rig.own_bundle().sequence);
    rig.pass(60).await;
    assert_ne!(rig.server.authorities.x509().unwrap().id(), first);
}

#[tokio::test]
async fn a_follower_that_never_answers_does_not_stop_all_signing() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let _mute = rig.server.state.subscribe_agent(&agent.id).unwrap();
    for _ in 0..48 {
        rig.pass(1_800).await;
    }
    let active = rig.server.authorities.x509().unwrap();
    assert!(active.not_after() > rig.clock.now());
    rig.svid().await;
    let records = rig.records();
    let said = |r: &records::AuditRecord| {
        r.view()
            .detail
            .contains("1 agents are not waited for: spiffe://")
    };
    assert!(records.iter().any(said), "the override is recorded");
}

#[tokio::test]
async fn authorities_of_others_are_added_and_left_alone() {
    let rig = Rig::memory().await;
    let downstream = identity::JwtAuthorityKey {
        key_id: "downstream".into(),
        spki: rig.own_bundle().jwt_authorities[0].spki.clone(),
        expires_at: None,
        tainted: false,
    };
    let caller = Caller::Spiffe(rig.id("/downstream"));
    let added = vec![downstream];
    rig.server
        .authorities
        .append_to_bundle(&caller, Vec::new(), added.clone())
        .await
        .unwrap();
    let sequence = rig.own_bundle().sequence;
    rig.server
        .authorities
        .append_to_bundle(&caller, Vec::new(), added.clone())
        .await
        .unwrap();
    assert_eq!(
        rig.own_bundle().sequence,
        sequence,
        "the same again changes nothing"
    );
    rig.rotate(AuthorityProfile::Jwt).await;
    let bundle = rig.own_bundle();
    assert_eq!(bundle.jwt_authorities.len(), 3);
    assert!(bundle.jwt_authorities.contains(&added[0]));
}

#[tokio::test]
async fn every_key_type_signs() {
    for key_type in ["ec-p384", "rsa-2048"] {
        let rig = Rig::with(|config| {
            config.ca.key_type = key_type.into();
            config.jwt.key_type = key_type.into();
        })
        .await;
        let svid = rig.svid().await;
        assert!(rig.verifies(&svid), "{key_type}");
        assert_eq!(rig.server.authorities.status()[1].key_type, key_type);
    }
}

/// Bundle and SVID of the server follow a rotation at once, and nothing is renewed
/// before its time.
#[tokio::test]
async fn the_servers_own_svid_follows_its_authority() {
    let rig = Rig::memory().await;
    let first = rig
        .server
        .issuer
        .renew_server_svid(&rig.server.identity)
        .await
        .unwrap();
    let same = crate::housekeeping::rotate(&rig.server, first.clone()).await;
    assert_eq!(same, first);
    let next = rig.rotate(X509).await;
    tokio::time::timeout(Duration::from_secs(5), rig.server.authorities.changed())
        .await
        .unwrap();
    let renewed = crate::housekeeping::rotate(&rig.server, first.clone()).await;
    assert_eq!(renewed.authority_id, next.id);
    rig.pass(1_801).await;
    let half_life = crate::housekeeping::rotate(&rig.server, renewed.clone()).await;
    assert!(half_life.renew_at > renewed.renew_at);
}
