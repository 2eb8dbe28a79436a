//! The audit trail: nothing is issued without a record of it.

use bulla_tests::Domain;

#[test]
fn every_credential_has_an_earlier_record() {
    let domain = Domain::start();
    let entry = domain.register("/service", []);
    let svid = domain.await_svid("/service");
    let _ = domain.fetch(["jwt", "--audience", "payments"]).ok();
    let issued = domain.audit("issue_x509");
    let record = issued
        .iter()
        .find(|r| r["credential_id"] == svid["serial"])
        .expect("its serial");
    assert_eq!(record["for"], domain.id("/service"));
    assert_eq!(record["entry_id"], *entry);
    assert_eq!(record["result"], "granted");
    assert!(
        record["who"]
            .as_str()
            .unwrap()
            .contains("/spire/agent/join_token/")
    );
    assert_eq!(domain.audit("issue_jwt").len(), 1);
    assert_eq!(domain.audit("attest").len(), 1);
}
