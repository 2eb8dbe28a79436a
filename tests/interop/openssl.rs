//! What openssl says of a chain that a workload was given.

use std::process::Command;

use bulla_tests::{Domain, Ran};

#[test]
fn openssl_accepts_the_chain_a_workload_is_given() {
    let domain = Domain::start();
    domain.register("/service", ["--dns-name", "service.example.org"]);
    domain.await_svid("/service");
    let files = domain.path("files");
    let _ = domain
        .fetch(["x509", "--write", files.to_str().unwrap()])
        .ok();
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]);
    verify
        .arg(files.join("bundle.pem"))
        .arg(files.join("svid.pem"));
    assert!(Ran::of(&mut verify).ok().out.ends_with("OK\n"));
    let mut key = Command::new("openssl");
    key.args(["pkey", "-pubout", "-in"])
        .arg(files.join("svid-key.pem"));
    let mut certificate = Command::new("openssl");
    certificate
        .args(["x509", "-pubkey", "-noout", "-in"])
        .arg(files.join("svid.pem"));
    assert_eq!(
        Ran::of(&mut key).ok().out,
        Ran::of(&mut certificate).ok().out
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &files.join("svid-key.pem").metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
