//! OpenSSL, strict, must accept what we issue. The binary must be installed: a
//! missing judge is a failed test, not a skipped one.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use authority::X509Authority;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::X509Svid;
use keys::{KeyType, MemorySigner, Signer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

use crate::kit::{self, NOW, authority, record, rng, signer, subject_key};

fn run(arguments: &[&str], input: &[u8]) -> std::process::Output {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("install openssl: these tests need it");
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Runs openssl, which must succeed; gives its output.
pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(arguments, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    output.stdout
}

pub(crate) fn version() -> String {
    String::from_utf8(openssl(&["version"], b"")).unwrap()
}

fn pem(certificates: &[Arc<[u8]>]) -> String {
    certificates
        .iter()
        .map(|der| {
            let body = STANDARD.encode(der);
            let lines: Vec<&str> = body
                .as_bytes()
                .chunks(64)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                lines.join("\n")
            )
        })
        .collect()
}

/// `openssl verify -x509_strict` for both purposes; `Err` holds what it said.
pub(crate) fn verify(dir: &Path, root: &Arc<[u8]>, chain: &[Arc<[u8]>]) -> Result<(), String> {
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let root = write("root.pem", pem(std::slice::from_ref(root)));
    let leaf = write("leaf.pem", pem(&chain[..1]));
    let above = write("above.pem", pem(&chain[1..]));
    let now = NOW.0.to_string();
    for purpose in ["sslserver", "sslclient"] {
        let mut arguments = vec![
            "verify",
            "-x509_strict",
            "-check_ss_sig",
            "-purpose",
            purpose,
            "-attime",
            &now,
            "-CAfile",
            &root,
        ];
        if chain.len() > 1 {
            arguments.extend_from_slice(&["-untrusted", &above]);
        }
        arguments.push(&leaf);
        let output = run(&arguments, b"");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(())
}

fn with_names(authority: &X509Authority, key_type: KeyType) -> X509Svid {
    let names = ["web.example".to_owned(), "*.web.example".to_owned()];
    let id = "spiffe://example.org/web";
    let prepared = kit::try_prepare(authority, id, &names, &subject_key(key_type)).unwrap();
    authority.sign(record(prepared)).unwrap()
}

#[test]
fn strict_openssl_accepts_every_combination_of_keys() {
    let dir = tempfile::tempdir().unwrap();
    for issuer in KeyType::ALL {
        let authority = authority(issuer);
        for leaf in KeyType::ALL {
            let svid = with_names(&authority, leaf);
            let verdict = verify(dir.path(), authority.certificate_der(), &svid.chain);
            assert_eq!(verdict, Ok(()), "{issuer} signs {leaf}");
        }
    }
}

#[test]
fn strict_openssl_can_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority(KeyType::EcP256);
    let svid = with_names(&authority, KeyType::EcP256);
    let mut broken = svid.chain[0].to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert!(verify(dir.path(), authority.certificate_der(), &[broken.into()]).is_err());
    let stranger = kit::authority(KeyType::EcP384);
    assert!(verify(dir.path(), stranger.certificate_der(), &svid.chain).is_err());
    // What X509_strict is about: a CA certificate without its key identifier.
    let mut params = signing_params("spiffe://example.org");
    params.is_ca = IsCa::NoCa;
    let pair = KeyPair::generate().unwrap();
    let root: Arc<[u8]> = params.self_signed(&pair).unwrap().der().to_vec().into();
    assert!(verify(dir.path(), &root, &[Arc::clone(&root)]).is_err());
}

fn signing_params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 12, 1);
    params.serial_number = Some(kit::serial().as_bytes().to_vec().into());
    params.subject_alt_names = vec![SanType::URI(uri.to_owned().try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

#[test]
fn strict_openssl_accepts_an_intermediate_authority_and_its_end_bounds_ours() {
    let dir = tempfile::tempdir().unwrap();
    let root_pair = KeyPair::generate().unwrap();
    let mut root_params = signing_params("spiffe://example.org");
    root_params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "upstream");
    let root = root_params.self_signed(&root_pair).unwrap();
    let root_issuer = Issuer::from_params(&root_params, &root_pair);

    let (pkcs8, _) = keys::generate_pkcs8(KeyType::EcP256, &rng()).unwrap();
    let pair = KeyPair::try_from(&pkcs8[..]).unwrap();
    let mut params = signing_params("spiffe://example.org");
    params.use_authority_key_identifier_extension = true;
    let middle = params.signed_by(&pair, &root_issuer).unwrap();
    let signer: Arc<dyn Signer> = Arc::new(MemorySigner::from_pkcs8(&pkcs8).unwrap());
    let authority = X509Authority::load(middle.der(), &[], signer, NOW).unwrap();

    let svid = with_names(&authority, KeyType::EcP256);
    assert_eq!(svid.chain.len(), 2, "the intermediate goes with the leaf");
    assert_eq!(&svid.chain[1][..], middle.der().as_ref());
    let root: Arc<[u8]> = root.der().to_vec().into();
    assert_eq!(verify(dir.path(), &root, &svid.chain), Ok(()));

    // Under a parent that ends sooner, the parent's end is the bound.
    root_params.not_after = rcgen::date_time_ymd(2026, 11, 25);
    let short = root_params.self_signed(&root_pair).unwrap();
    let signer: Arc<dyn Signer> = Arc::new(MemorySigner::from_pkcs8(&pkcs8).unwrap());
    let bounded = X509Authority::load(middle.der(), &[short.der()], signer, NOW).unwrap();
    assert!(bounded.not_after() < authority.not_after());
    let wrong = kit::authority(KeyType::EcP256);
    let signer: Arc<dyn Signer> = Arc::new(MemorySigner::from_pkcs8(&pkcs8).unwrap());
    let refused = X509Authority::load(middle.der(), &[wrong.certificate_der()], signer, NOW);
    assert!(refused.is_err());
}

#[test]
fn signing_certificates_of_every_profile_fault_are_refused() {
    let (pkcs8, _) = keys::generate_pkcs8(KeyType::EcP256, &rng()).unwrap();
    let pair = KeyPair::try_from(&pkcs8[..]).unwrap();
    let load = |params: &CertificateParams| {
        let der = params.self_signed(&pair).unwrap();
        let signer: Arc<dyn Signer> = Arc::new(MemorySigner::from_pkcs8(&pkcs8).unwrap());
        X509Authority::load(der.der(), &[], signer, NOW).map(|_| ())
    };
    let good = signing_params("spiffe://example.org");
    assert_eq!(load(&good), Ok(()));
    let mut faults = vec![good.clone(); 6];
    faults[0].is_ca = IsCa::ExplicitNoCa;
    faults[1].key_usages = vec![KeyUsagePurpose::CrlSign];
    faults[2].key_usages.push(KeyUsagePurpose::DigitalSignature);
    faults[3].key_usages.clear();
    faults[4].subject_alt_names.clear();
    let second = faults[5].subject_alt_names[0].clone();
    faults[5].subject_alt_names.push(second);
    for (i, fault) in faults.iter().enumerate() {
        assert!(load(fault).is_err(), "fault {i}");
    }
    for uri in [
        "https://example.org",
        "spiffe://example.org/ca",
        "spiffe://Example.org",
    ] {
        assert!(load(&signing_params(uri)).is_err(), "{uri}");
    }
    drop(signer(KeyType::EcP256));
}
