//! Nothing secret is ever written where it does not belong.

use bulla_tests::{Domain, Settings};

/// Trace logs of a whole life carry neither tokens nor keys.
#[test]
fn no_token_and_no_key_reaches_a_log() {
    let mut domain = Domain::server_alone(Settings {
        server: "[log]\nlevel = \"trace\"\n".into(),
        ..Settings::default()
    });
    let token = domain.admin([
        "token",
        "create",
        "--spiffe-id",
        &domain.id("/node"),
        "--json",
    ]);
    let token = token.ok().json();
    domain.start_agent(Some(&token));
    domain.register("/service", []);
    domain.await_svid("/service");
    let files = domain.path("files");
    let _ = domain
        .fetch(["x509", "--write", files.to_str().unwrap()])
        .ok();
    let jwt = domain
        .fetch(["jwt", "--audience", "a", "--token-only"])
        .ok()
        .out;
    let key = std::fs::read_to_string(files.join("svid-key.pem")).unwrap();
    let body: String = key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let signature = jwt.trim().rsplit('.').next().unwrap();
    let secrets = [token["token"].as_str().unwrap(), signature, &body[40..80]];
    domain.stop();
    for log in ["server.log", "agent.log"] {
        let text = std::fs::read_to_string(domain.path(log)).unwrap();
        for secret in secrets {
            assert!(!text.contains(secret), "{log} shows a secret");
        }
        assert!(!text.contains("unix:uid:"), "{log} shows a selector");
    }
}

/// The store holds a token's hash alone.
#[test]
fn a_join_token_is_not_stored() {
    let mut domain = Domain::server_alone(Settings::default());
    let token = domain.admin(["token", "create", "--json"]).ok().json();
    let secret = token["token"].as_str().unwrap().to_owned();
    domain.stop();
    let mut folders = vec![domain.path("server")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!found, "{} holds the token", path.display());
            }
        }
    }
}

/// Files with private keys are their owner's alone.
#[test]
fn folders_with_keys_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let domain = Domain::start();
    for folder in ["server/data", "agent/data"] {
        let mode = domain.path(folder).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{folder} has mode {mode:o}");
    }
    let mode = domain
        .admin_socket()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
