//! Signing keys that are away: what can be signed is, and the rest follows.

use super::*;
use crate::rig::far::Mood;

#[tokio::test]
async fn an_x509_key_that_is_away_holds_no_revocation_back() {
    let (rig, far) = Rig::with_far_keys().await;
    let revocations = &rig.server.revocations;
    revocations.renew_far_crls().await.unwrap();
    let before = rig.signed().await;
    assert_eq!(before.crls.len(), 1);
    let svid = rig.minted(&rig.id("/web")).await.unwrap().svid;
    far.set_of("x509", Mood::Away);
    let order = rig.order("serial", &serial_of(&svid).to_string());
    let (_, sequence) = revocations.revoke(&ADMIN, &order).await.unwrap();
    let signed = rig.signed().await;
    assert_eq!(signed.sequence, sequence);
    let list = read(&rig, &signed);
    let checked = list.check_certificate(&svid.spiffe_id, &serial_of(&svid), svid.not_before);
    assert!(checked.is_err());
    // The authority's own list is the one before, is asked for again, and follows.
    assert_eq!(signed.crls, before.crls);
    let refused = revocations.renew_far_crls().await.unwrap_err();
    assert!(refused.message().contains("nobody is at home"), "{refused}");
    assert_eq!(rig.signed().await, signed, "there is nothing new to say");
    far.set_of("x509", Mood::Works);
    revocations.renew_far_crls().await.unwrap();
    let later = rig.signed().await;
    assert!(later.sequence > sequence, "agents take only a newer list");
    assert_ne!(later.crls, before.crls);
}

#[tokio::test]
async fn while_the_jwt_key_is_away_one_number_is_taken_and_not_one_for_each_try() {
    let (rig, far) = Rig::with_far_keys().await;
    far.set_of("jwt", Mood::Away);
    let revocations = &rig.server.revocations;
    let before = rig.server.state.registry().revocation_sequence();
    for _ in 0..10 {
        assert!(revocations.bring_up_to_date().await.is_err());
    }
    assert!(revocations.signed().is_none());
    let taken = rig.server.state.registry().revocation_sequence();
    assert_eq!(taken, before + 1);
    far.set_of("jwt", Mood::Works);
    assert_eq!(rig.signed().await.sequence, taken);
}

/// The step of a rotation may wait for an authority above or for a key storage; what is
/// revoked does not wait for that step.
#[tokio::test]
async fn lists_are_signed_while_a_rotation_waits_for_somebody() {
    let rig = Rig::memory().await;
    let authorities = &rig.server.authorities;
    let _step = authorities.step_under_way().await;
    let signed = tokio::time::timeout(Duration::from_secs(10), rig.signed()).await;
    assert_eq!(signed.unwrap().crls.len(), 1);
}
