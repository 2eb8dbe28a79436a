//! Revocation lists as OpenSSL sees them, one for each authority.

use std::path::Path;
use std::process::Command;

use authority::{BACKDATE, CrlTerms, LeafSubject, X509Authority};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::{CertificateSerial, Seconds, Timestamp};
use keys::KeyType;

use crate::kit::{DAY, HOUR, NOW, authority, id, issue, record, serial, subject_key};

fn pem(kind: &str, ders: &[&[u8]]) -> String {
    let one = |der: &&[u8]| {
        let body = STANDARD.encode(der);
        let lines: Vec<&str> = body
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            lines.join("\n")
        )
    };
    ders.iter().map(one).collect()
}

fn serial_of(leaf: &[u8]) -> CertificateSerial {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    CertificateSerial::new(leaf.tbs_certificate.raw_serial())
}

fn crl(authority: &X509Authority, number: u64, revoked: &[CertificateSerial]) -> Vec<u8> {
    let revoked: Vec<_> = revoked.iter().map(|serial| (serial.clone(), NOW)).collect();
    let terms = CrlTerms {
        number,
        this_update: NOW,
        next_update: NOW.plus(DAY),
        revoked: &revoked,
    };
    authority.sign_crl(&terms).unwrap()
}

/// `openssl verify -crl_check -x509_strict`; what it said when it refused.
fn verify(
    dir: &Path,
    roots: &[&[u8]],
    leaf: &[u8],
    crls: &[&[u8]],
    at: Timestamp,
) -> Result<(), String> {
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let output = Command::new("openssl")
        .args(["verify", "-crl_check", "-x509_strict", "-attime"])
        .arg(at.0.to_string())
        .arg("-CAfile")
        .arg(write("roots.pem", pem("CERTIFICATE", roots)))
        .arg("-CRLfile")
        .arg(write("crls.pem", pem("X509 CRL", crls)))
        .arg(write("leaf.pem", pem("CERTIFICATE", &[leaf])))
        .output()
        .expect("install openssl: these tests need it");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn openssl_refuses_the_revoked_and_accepts_the_rest_for_every_key_type() {
    let dir = tempfile::tempdir().unwrap();
    let key = subject_key(KeyType::EcP256);
    for key_type in KeyType::ALL {
        let (ours, other) = (authority(key_type), authority(KeyType::EcP256));
        let (good, bad) = (issue(&ours, &key), issue(&ours, &key));
        let others = issue(&other, &key);
        let roots: [&[u8]; 2] = [ours.certificate_der(), other.certificate_der()];
        let empty = crl(&ours, 1, &[]);
        let elsewhere = crl(&other, 2, &[]);
        let with = crl(&ours, 2, &[serial_of(&bad.chain[0])]);
        let check = |leaf: &[u8], crls: &[&[u8]]| verify(dir.path(), &roots, leaf, crls, NOW);
        for leaf in [&good, &bad] {
            assert_eq!(
                check(&leaf.chain[0], &[&empty, &elsewhere]),
                Ok(()),
                "{key_type}"
            );
        }
        let both: [&[u8]; 2] = [&with, &elsewhere];
        assert_eq!(check(&good.chain[0], &both), Ok(()), "{key_type}");
        assert_eq!(check(&others.chain[0], &both), Ok(()), "{key_type}");
        let refused = check(&bad.chain[0], &both).unwrap_err();
        assert!(refused.contains("certificate revoked"), "{refused}");
        // Each authority speaks for its own certificates.
        let unknown = check(&good.chain[0], &[&elsewhere]).unwrap_err();
        assert!(
            unknown.contains("unable to get certificate CRL"),
            "{unknown}"
        );
    }
}

#[test]
fn openssl_reads_the_number_the_times_and_the_issuer() {
    let authority = authority(KeyType::EcP384);
    let serials: Vec<CertificateSerial> = (1..=3u8)
        .map(|n| CertificateSerial::new(&[0x80 | n, 0]))
        .collect();
    let der = crl(&authority, u64::MAX, &serials);
    let arguments = ["crl", "-inform", "DER", "-noout", "-text"];
    let text = String::from_utf8(crate::openssl::openssl(&arguments, &der)).unwrap();
    for said in [
        "Version 2",
        "18446744073709551615",
        "Serial Number: 8100",
        "Serial Number: 8300",
        "X509v3 Authority Key Identifier",
        "ecdsa-with-SHA384",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let leaf = issue(&authority, &subject_key(KeyType::EcP256));
    let roots: [&[u8]; 1] = [authority.certificate_der()];
    let later = NOW.plus(Seconds(DAY.0 + 1));
    let stale = verify(dir.path(), &roots, &leaf.chain[0], &[&der], later).unwrap_err();
    assert!(stale.contains("CRL has expired"), "{stale}");
}

#[test]
fn what_is_issued_after_a_revocation_begins_after_it() {
    let authority = authority(KeyType::EcP256);
    let (key, whom) = (subject_key(KeyType::EcP256), id("spiffe://example.org/web"));
    let subject = LeafSubject {
        spiffe_id: &whom,
        dns_names: &[],
    };
    let begin = |earliest| {
        let prepared = authority.prepare_after(&subject, &key, HOUR, serial(), NOW, earliest);
        let svid = authority.sign(record(prepared.unwrap())).unwrap();
        svid.not_before
    };
    assert_eq!(begin(Timestamp(0)), NOW.minus(BACKDATE));
    assert_eq!(begin(NOW.minus(Seconds(5))), NOW.minus(Seconds(5)));
    assert_eq!(begin(NOW.plus(Seconds(1))), NOW.plus(Seconds(1)));
}
