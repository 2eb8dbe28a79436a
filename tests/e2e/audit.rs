//! The audit trail: whole, and visibly not whole once somebody touched it.

use std::path::PathBuf;

use bulla_tests::{Domain, Ran, bulla};

fn verify(domain: &Domain, more: &[&str]) -> Ran {
    let mut command = bulla();
    command
        .args(["audit", "verify", "--json", "--dir"])
        .arg(domain.path("server/data/journal"));
    command.args(more);
    Ran::of(&mut command)
}

fn segments(domain: &Domain) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(domain.path("server/data/journal")).unwrap();
    folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect()
}

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

#[test]
fn an_edited_or_cut_trail_does_not_verify() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let head = domain.admin(["audit", "verify", "--json"]).ok().json();
    domain.stop();
    let (seq, hash) = (
        head["seq"].to_string(),
        head["hash"].as_str().unwrap().to_owned(),
    );
    let kept = ["--seq", &seq, "--hash", &hash];
    let _ = verify(&domain, &kept).ok();

    let segment = segments(&domain)
        .into_iter()
        .max_by_key(|p| p.metadata().unwrap().len())
        .unwrap();
    let original = std::fs::read(&segment).unwrap();
    let at = original
        .windows(8)
        .position(|w| w == b"/service")
        .expect("the record names it");
    let mut edited = original.clone();
    edited[at + 1] ^= 1;
    std::fs::write(&segment, &edited).unwrap();
    let ran = verify(&domain, &[]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("does not hold at record"), "{}", ran.err);

    // A cut tail leaves a valid chain; only a head kept elsewhere reveals it.
    std::fs::write(&segment, &original[..at - 64]).unwrap();
    assert_eq!(verify(&domain, &kept).code, 1);
}
