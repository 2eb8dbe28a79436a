//! A server whose signing keys are in a hardware security module: SoftHSM2, as a
//! real PKCS#11 token in a folder of the test's own.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_tests::{Domain, Settings, eventually};
use serde_json::Value;
use tempfile::TempDir;

const PIN: &str = "only-the-file-knows";

/// A token, and the settings of a server that uses it.
struct Token(TempDir);

impl Token {
    fn new() -> Self {
        let token = Self(tempfile::tempdir().unwrap());
        let tokens = token.path("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let config = format!("directories.tokendir = {}\n", tokens.display());
        std::fs::write(token.path("softhsm2.conf"), config).unwrap();
        let mut private = std::fs::OpenOptions::new();
        let private = private.write(true).create_new(true).mode(0o600);
        let mut pin = private.open(token.path("pin")).unwrap();
        std::io::Write::write_all(&mut pin, format!("{PIN}\n").as_bytes()).unwrap();
        let made = token.util(&[
            "--init-token",
            "--free",
            "--pin",
            PIN,
            "--so-pin",
            "12345678",
        ]);
        assert!(made.contains("initialized"), "{made}");
        token
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn util(&self, args: &[&str]) -> String {
        let ran = Command::new("softhsm2-util")
            .args(args)
            .args(["--label", "bulla"])
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
    }

    fn settings(&self) -> Settings {
        let (prompt, module) = (Settings::PROMPT, "/usr/lib/softhsm/libsofthsm2.so");
        let server = format!(
            "{prompt}[keys]\nstorage = \"pkcs11\"\n\
             [keys.pkcs11]\nmodule = {module:?}\ntoken = \"bulla\"\npin_file = {:?}\n",
            self.path("pin")
        );
        let conf = self.path("softhsm2.conf").display().to_string();
        Settings {
            server,
            server_env: vec![("SOFTHSM2_CONF", conf)],
            ..Settings::default()
        }
    }
}

fn keys(domain: &Domain) -> Vec<Value> {
    let status = domain.admin(["keys", "status", "--json"]).ok().json();
    status["keys"].as_array().unwrap().clone()
}

fn active(domain: &Domain) -> Vec<String> {
    let keys = keys(domain);
    let active = keys.iter().filter(|key| key["state"] == "active");
    active
        .map(|key| key["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Whether a file anywhere below holds a text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|at| at == text.as_bytes())
    })
}

/// The whole of the main job with keys that never leave a token: join, X.509-SVID,
/// JWT-SVID, rotation of both keys, a restart, and more of the same.
#[test]
fn a_server_with_its_keys_in_an_hsm_does_the_whole_job() {
    let token = Token::new();
    let mut domain = Domain::start_with(token.settings());
    domain.register("/service", []);
    let first = domain.await_svid("/service");
    let tokens = |domain: &Domain| domain.fetch(["jwt", "--audience", "a", "--json"]).ok();
    let _ = tokens(&domain);
    for key in keys(&domain) {
        assert_eq!(key["protection"], "pkcs11", "{key}");
        assert_eq!(key["key_type"], "ec-p256", "{key}");
    }
    assert!(
        !domain.path("server/data/keys").exists(),
        "no key is on disk"
    );
    let before = active(&domain);
    let _ = domain.admin(["keys", "rotate", "--all"]).ok();
    let rotated = active(&domain);
    assert!(rotated.iter().all(|id| !before.contains(id)), "{rotated:?}");

    let server = domain.server.take().unwrap();
    let _ = server.stop_within(std::time::Duration::from_secs(12));
    domain.start_server();
    assert_eq!(
        active(&domain),
        rotated,
        "the same keys sign after a restart"
    );
    domain.register("/late", []);
    let late = domain.await_svid("/late");
    assert_ne!(first["serial"], late["serial"]);
    let _ = tokens(&domain);
    assert!(
        !holds(domain.path("").as_path(), PIN),
        "the PIN is only in its file"
    );
}

/// Taken keys leave the token, too: nothing piles up in it.
#[test]
fn a_revoked_key_leaves_the_hsm() {
    let token = Token::new();
    let domain = Domain::start_with(token.settings());
    let inside = || {
        let folder = token.path("tokens");
        let tokens = std::fs::read_dir(folder).unwrap();
        let files = tokens.flat_map(|t| std::fs::read_dir(t.unwrap().path()).unwrap());
        let objects = files.filter(|f| {
            let name = f.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".object") && name != "token.object"
        });
        objects.count()
    };
    assert_eq!(inside(), 6, "three keys of two halves");
    let old = active(&domain)[0].clone();
    let _ = domain.admin(["keys", "rotate", "--only", "x509"]).ok();
    assert_eq!(inside(), 8);
    let _ = domain
        .admin(["keys", "revoke", "x509", &old, "--force"])
        .ok();
    eventually("the key is out of the token", || {
        (inside() == 6).then_some(())
    });
}
