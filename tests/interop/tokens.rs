//! Scoped tokens, checked by libraries that know nothing of us: PyJWT from discovery
//! alone, and the PyPI package `spiffe`.

use std::path::Path;
use std::process::Command;

use bulla_tests::{Domain, Ran, Settings, free_port, peer};
use serde_json::Value;

#[test]
fn pyjwt_validates_from_discovery_alone_and_py_spiffe_takes_the_jwt_svid() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(at("public.pem"), certificate.pem()).unwrap();
    std::fs::write(at("public.key"), key.serialize_pem()).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(at("public.key"), private).unwrap();
    let port = free_port();
    let issuer = format!("https://localhost:{port}/td");
    let domain = Domain::start_with(Settings {
        server: format!(
            "[jwt]\nissuer = {issuer:?}\n[public]\nlisten = \"127.0.0.1:{port}\"\n\
             certificate = {:?}\nkey = {:?}\n",
            at("public.pem"),
            at("public.key")
        ),
        ..Settings::default()
    });
    domain.register("/checkout/web", []);
    domain.await_svid("/checkout/web");
    let example = here.join("../deploy/policy-example").display().to_string();
    let _ = domain.admin(["policy", "apply", &example]).ok();
    let mut command = Command::new(peer("python/bin/python"));
    command.arg(here.join("interop/python/tokens.py"));
    command
        .arg(domain.workload_socket())
        .arg(&issuer)
        .arg(at("public.pem"));
    let ran = Ran::of(&mut command).ok();
    let seen: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(seen[0]["profile"], "at+jwt", "{}", ran.err);
    assert_eq!(seen[0]["claims"]["sub"], domain.id("/checkout/web"));
    assert_eq!(seen[1]["spiffe_id"], domain.id("/checkout/web"));
}
