//! Signing keys by hand: what depends on them, plans that change nothing, taint and
//! revocation end to end.

use std::fs;

use bulla_tests::{Domain, Process, Settings, eventually};
use serde_json::Value;

fn keys(domain: &Domain) -> Vec<Value> {
    let status = domain.admin(["keys", "status", "--json"]).ok().json();
    status["keys"].as_array().unwrap().clone()
}

fn in_state(domain: &Domain, profile: &str, state: &str) -> Option<Value> {
    let mut keys = keys(domain).into_iter();
    keys.find(|key| key["profile"] == profile && key["state"] == state)
}

fn id(key: &Value) -> String {
    key["id"].as_str().unwrap().to_owned()
}

/// Everything of a status that does not move with time.
fn standing(domain: &Domain) -> Vec<(Value, Value, Value)> {
    let keys = keys(domain).into_iter();
    keys.map(|key| {
        (
            key["id"].clone(),
            key["state"].clone(),
            key["tainted"].clone(),
        )
    })
    .collect()
}

fn token(domain: &Domain) -> Value {
    let answer = domain.fetch(["jwt", "--audience", "a", "--json"]).ok();
    answer.json()
}

#[test]
fn plans_say_what_would_happen_and_change_nothing() {
    let domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let before = standing(&domain);
    let active = in_state(&domain, "x509", "active").unwrap();
    assert!(
        active["signed_unexpired"].as_u64().unwrap() >= 2,
        "{active}"
    );
    assert_eq!(active["next_step"], "prepare a successor");
    assert_eq!(active["safe_to_revoke"], false);
    let active = id(&active);
    for act in ["prepare", "taint", "revoke"] {
        let mut args = vec!["keys", act, "x509"];
        args.extend((act != "prepare").then_some(active.as_str()));
        args.extend(["--plan", "--json"]);
        let plan = domain.admin(args).ok().json();
        assert_eq!(plan["done"], false, "{plan}");
        let refused = plan["refused_because"].as_array().unwrap();
        assert_eq!(refused.is_empty(), act != "revoke", "{plan}");
    }
    let plan = domain.admin(["keys", "rotate", "--all", "--plan"]).ok();
    assert!(plan.out.contains("would be done"), "{}", plan.out);
    assert_eq!(standing(&domain), before);
    let refused = domain.admin(["keys", "revoke", "x509", &active, "--force"]);
    assert_eq!(refused.code, 1, "a key that signs is never revoked");
    let unknown = domain.admin(["keys", "taint", "jwt", "nobody"]);
    assert_eq!(unknown.code, 4);
}

#[test]
fn a_key_is_not_revoked_while_anything_depends_on_it() {
    let domain = Domain::start_with(Settings::prompt());
    domain.register("/service", []);
    domain.await_svid("/service");
    let old = id(&in_state(&domain, "x509", "active").unwrap());
    let _ = domain.admin(["keys", "rotate", "--only", "x509"]).ok();
    let retired = in_state(&domain, "x509", "retired").unwrap();
    assert_eq!(id(&retired), old);
    assert_eq!(retired["safe_to_revoke"], false);
    let refused = domain.admin(["keys", "revoke", "x509", &old]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("credentials that it signed are valid"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("next:"), "{}", refused.err);
    let _ = domain
        .admin(["keys", "revoke", "x509", &old, "--force"])
        .ok();
    assert!(in_state(&domain, "x509", "retired").is_none());
    let forced = domain.audit("key_rotation");
    let is_forced = |r: &Value| r["detail"].as_str().is_some_and(|d| d.contains("forced"));
    assert!(forced.iter().any(is_forced), "the override is recorded");
    // What it signed is replaced, and the agent comes back by itself.
    domain.register("/late", []);
    domain.await_svid("/late");
}

/// Taint while the key signs: its successor takes over, open streams get what the
/// new key signed, cached tokens go, the old keys can be revoked without force.
#[test]
fn what_a_tainted_key_signed_is_replaced_on_open_streams_and_it_can_be_revoked() {
    let domain = Domain::start_with(Settings::prompt());
    domain.register("/service", []);
    let first = domain.await_svid("/service");
    let mut command = bulla_tests::bulla();
    command
        .args(["fetch", "x509", "--watch", "--json"])
        .env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint());
    let log = domain.path("watch.log");
    let _watch = Process::start(&mut command, &log);
    let cached = token(&domain);
    assert_eq!(token(&domain), cached, "tokens are cached");
    for profile in ["x509", "jwt"] {
        let old = id(&in_state(&domain, profile, "active").unwrap());
        let _ = domain.admin(["keys", "taint", profile, &old]).ok();
    }
    for profile in ["x509", "jwt"] {
        eventually(&format!("the {profile} successor signs"), || {
            let active = in_state(&domain, profile, "active")?;
            (active["tainted"] == false).then_some(())
        });
    }
    let serial = first["serial"].as_str().unwrap();
    eventually("the open stream gets another serial", || {
        let seen = fs::read_to_string(&log).ok()?;
        let last = seen.lines().last()?.to_owned();
        (last.contains("serial") && !last.contains(serial)).then_some(())
    });
    eventually("the cached token is dropped", || {
        (token(&domain) != cached).then_some(())
    });
    for profile in ["x509", "jwt"] {
        let old = eventually(&format!("the old {profile} key is revocable"), || {
            let old = in_state(&domain, profile, "retired")?;
            (old["safe_to_revoke"] == true).then_some(old)
        });
        assert_eq!(old["tainted"], true);
        // Each revocation changes the bundle, which agents then have to acknowledge anew:
        // until they have, the next one is refused, and asked for again.
        eventually(&format!("the old {profile} key is revoked"), || {
            let ran = domain.admin(["keys", "revoke", profile, &id(&old)]);
            (ran.code == 0).then_some(())
        });
    }
    let bundle = domain.admin(["bundle", "show", "--json"]).ok().json();
    assert_eq!(bundle["x509_authorities"].as_array().unwrap().len(), 1);
    assert_eq!(bundle["jwt_authorities"].as_array().unwrap().len(), 1);
    // The agent's own SVID was replaced too: it still follows.
    domain.register("/late", []);
    domain.await_svid("/late");
}

/// A server whose keys lie unsealed is given a passphrase, and then a systemd credential
/// is tried: the keys stay the same, and nothing else opens them.
#[test]
fn keys_kept_unsealed_are_sealed_by_hand_and_stay_the_same() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut domain = Domain::start();
    let before = standing(&domain);
    assert_eq!(keys(&domain)[0]["protection"], "unsealed");
    domain.stop();
    let passphrase = domain.path("passphrase");
    fs::write(&passphrase, "correct horse battery\n").unwrap();
    let config = domain.path("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    let sealed = format!("{text}[keys]\npassphrase_file = {passphrase:?}\n");
    fs::write(&config, &sealed).unwrap();
    let config = config.to_str().unwrap().to_owned();
    let run = |command: &[&str]| {
        let mut bulla = bulla_tests::bulla();
        bulla.args(command).args(["--config", &config]);
        bulla_tests::Ran::of(&mut bulla)
    };
    let loose = run(&["server", "seal-keys"]);
    assert_eq!(loose.code, 1);
    assert!(loose.err.contains("chmod 0600"), "{}", loose.err);
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = run(&["server"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("seal-keys"), "{}", refused.err);
    let done = run(&["server", "seal-keys", "--json"]).ok();
    assert_eq!(done.json()["sealed"], before.len());
    assert_eq!(run(&["server", "seal-keys"]).code, 1, "once is enough");

    // A server without the passphrase does not start; with it, it has the same keys.
    fs::write(domain.path("server.toml"), &text).unwrap();
    assert_eq!(run(&["server"]).code, 1);
    domain.set_server(format!("[keys]\npassphrase_file = {passphrase:?}\n"));
    domain.start_server();
    assert_eq!(standing(&domain), before);
    assert_eq!(keys(&domain)[0]["protection"], "sealed");
}

/// What `LoadCredentialEncrypted=` gives a service seals its keys.
#[test]
fn keys_are_sealed_with_a_systemd_credential() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("bulla-keys");
    fs::write(&secret, [7; 32]).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    let folder = folder.path().display().to_string();
    let mut domain = Domain::server_alone(Settings {
        server: "[keys]\ncredential = \"bulla-keys\"\n".to_owned(),
        server_env: vec![("CREDENTIALS_DIRECTORY", folder)],
        ..Settings::default()
    });
    assert_eq!(keys(&domain)[0]["protection"], "sealed");
    let before = standing(&domain);
    domain.stop();
    domain.start_server();
    assert_eq!(standing(&domain), before);
    domain.stop();
    fs::remove_file(&secret).unwrap();
    let mut command = bulla_tests::bulla();
    command
        .args(["server", "--config"])
        .arg(domain.path("server.toml"));
    let refused = bulla_tests::Ran::of(&mut command);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("keys.credential"), "{}", refused.err);
}
