//! Credentials on disk: fresh, whole and private, whatever happens around them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bulla_tests::{Domain, Process, Settings, eventually, eventually_within, need_root};
use nix::sys::signal::Signal;
use ring::signature::{EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Starts `bulla fetch … --watch --write FOLDER --json` and more.
pub(crate) fn keeper(domain: &Domain, what: &[&str], folder: &Path, more: &[&str]) -> Process {
    let mut command = bulla_tests::bulla();
    command.arg("fetch").args(what).arg("--watch").arg("--json");
    command.arg("--write").arg(folder).args(more);
    command.env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint());
    Process::start(&mut command, &domain.path("keeper.log"))
}

fn stop(keeper: Process) -> i32 {
    let status = keeper.stop_within(Duration::from_secs(10));
    status.code().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no randomness to be given"
)]
fn matches(chain: &[u8], key: &[u8]) -> bool {
    let leaf = CertificateDer::from_pem_slice(chain).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(key).unwrap();
    let algorithm = &ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let random = ring::rand::SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.secret_pkcs8_der(), &random).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    *leaf.public_key().subject_public_key.data == *pair.public_key().as_ref()
}

#[test]
fn files_outlive_the_agent_and_are_renewed_when_it_is_back() {
    let mut domain = Domain::start();
    domain.register("/service", ["--x509-ttl", "8"]);
    domain.await_svid("/service");
    let files = domain.path("files");
    let keeper = keeper(&domain, &["x509"], &files, &["--exec", "echo reloaded"]);
    let read = || std::fs::read_to_string(files.join("svid.pem")).ok();
    eventually("the first files", read);
    domain.agent.take().unwrap().kill();
    eventually("the loss is said", || {
        keeper.output().contains("the files are kept").then_some(())
    });
    let before = read().unwrap();
    domain.start_agent(None);
    eventually("files of the agent's second life", || {
        (read()? != before).then_some(())
    });
    let output = keeper.output();
    assert!(output.contains("hook: reloaded"), "{output}");
    let key = std::fs::metadata(files.join("svid-key.pem")).unwrap();
    assert_eq!(key.mode() & 0o777, 0o600);
    assert_eq!(stop(keeper), 0, "{output}");
}

/// Looks at both ways of reading a pair at one moment: the folder behind the link,
/// resolved once, and the file that holds both.
fn read_pairs(files: &Path, over: &AtomicBool) -> usize {
    let mut looks = 0;
    while !over.load(Ordering::Relaxed) {
        let generation = files.join(std::fs::read_link(files.join("x509")).unwrap());
        let pair = std::fs::read(generation.join("svid.pem"))
            .and_then(|chain| Ok((chain, std::fs::read(generation.join("svid-key.pem"))?)));
        // A reader that was held up over two rotations finds its folder gone, not mixed.
        if let Ok((chain, key)) = pair {
            assert!(matches(&chain, &key), "a torn pair");
            looks += 1;
        }
        let both = std::fs::read(files.join("svid-with-key.pem")).unwrap();
        assert!(matches(&both, &both), "a torn file");
    }
    looks
}

#[test]
fn a_reader_sees_no_torn_pair_over_fifty_rotations() {
    let domain = Domain::start();
    let entry = domain.register("/service", []);
    domain.await_svid("/service");
    let files = domain.path("files");
    let keeper = keeper(&domain, &["x509"], &files, &["--debounce-ms", "0"]);
    let rotations = || keeper.output().matches("\"written\"").count();
    eventually("the first files", || (rotations() > 0).then_some(()));
    let over = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_pairs(&files, &over));
        for round in 1..=50 {
            // A changed entry is a new certificate, without waiting for half its life.
            let name = format!("n{round}.example.org");
            let _ = domain
                .admin(["entry", "update", &entry, "--dns-name", &name])
                .ok();
            eventually("a rotation", || {
                (rotations() > round || reader.is_finished()).then_some(())
            });
        }
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(looks >= 50, "{looks} looks");
    assert!(rotations() > 50, "{}", rotations());
    assert_eq!(stop(keeper), 0);
}

#[test]
fn a_hook_that_fails_is_seen_counted_and_tried_again() {
    let domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let (files, sign) = (domain.path("files"), domain.path("sign"));
    let command = format!("echo looking; test -e {}", sign.display());
    let first = keeper(&domain, &["x509"], &files, &["--exec", &command]);
    eventually("a second failure", || {
        let output = first.output();
        let seen = ["2 of 2 runs", "hook: looking", "status 1", "\"failures\":2"];
        seen.iter().all(|seen| output.contains(seen)).then_some(())
    });
    std::fs::write(&sign, "").unwrap();
    eventually("a good run", || {
        first.output().contains("\"ok\":true").then_some(())
    });
    assert_eq!(stop(first), 0);

    let failing = keeper(&domain, &["x509"], &files, &["--exec", "exit 9"]);
    eventually("a failure", || {
        failing.output().contains("status 9").then_some(())
    });
    assert_eq!(stop(failing), 1, "the hook is owed a good run");
    let once = ["x509", "--exec", "exit 9", "--write"];
    let ran = domain.fetch([&once[..], &[files.to_str().unwrap()]].concat());
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("status 9"), "{}", ran.err);
}

#[test]
fn files_belong_to_whom_they_are_meant_for() {
    let domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    need_root("gives files to another user");
    let (uid, gid) = (65_534, 65_534);
    let files = domain.path("files");
    let (user, group) = (uid.to_string(), gid.to_string());
    let folder = files.to_str().unwrap();
    let args = [
        "x509", "--write", folder, "--owner", &user, "--group", &group,
    ];
    let _ = domain
        .fetch([&args[..], &["--key-mode", "0640"]].concat())
        .ok();
    for (name, mode) in [
        ("svid-key.pem", 0o640),
        ("svid-with-key.pem", 0o640),
        ("svid.pem", 0o644),
        ("bundle.pem", 0o644),
    ] {
        let seen = std::fs::metadata(files.join(name)).unwrap();
        assert_eq!((seen.uid(), seen.gid()), (uid, gid), "{name}");
        assert_eq!(seen.mode() & 0o7777, mode, "{name}");
    }
    let loose = [&args[..], &["--key-mode", "0644"]].concat();
    assert_eq!(domain.fetch(loose).code, 2);
    let nobody = ["x509", "--write", folder, "--owner", "nobody-of-this-name"];
    assert_eq!(domain.fetch(nobody).code, 2);
    let _ = domain
        .fetch([
            "x509",
            "--write",
            folder,
            "--spiffe-id",
            &domain.id("/service"),
        ])
        .ok();
    assert_eq!(
        domain
            .fetch([
                "x509",
                "--write",
                folder,
                "--spiffe-id",
                &domain.id("/other")
            ])
            .code,
        4
    );
}

#[test]
fn a4_a_keeper_never_puts_another_identity_in_place_of_the_one_it_began_with() {
    let domain = Domain::start();
    let first = domain.register("/payments", []);
    domain.await_svid("/payments");
    let files = domain.path("files");
    let running = keeper(&domain, &["x509"], &files, &[]);
    let read = || std::fs::read_to_string(files.join("svid.pem")).ok();
    let written = eventually("the first files", read);
    domain.register("/metrics", []);
    domain.await_svid("/metrics");
    // Now the other comes first.
    let _ = domain.admin(["entry", "delete", &first]).ok();
    let (payments, metrics) = (domain.id("/payments"), domain.id("/metrics"));
    eventually("it is said whose the files are", || {
        let output = running.output();
        output.contains("they are left as they are").then_some(())
    });
    assert_eq!(read().unwrap(), written);
    assert!(
        running
            .output()
            .contains(&format!("--spiffe-id {payments}"))
    );
    assert_eq!(stop(running), 0);
    // Nor does a later run, until it is told so.
    let folder = files.to_str().unwrap();
    let ran = domain.fetch(["x509", "--write", folder]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(read().unwrap(), written);
    let named = ["x509", "--write", folder, "--spiffe-id", &metrics];
    let _ = domain.fetch(named).ok();
    assert_ne!(read().unwrap(), written);
}

#[test]
fn u11_an_identity_that_is_named_is_shown_alone_or_refused() {
    let domain = Domain::start();
    domain.register("/one", []);
    domain.register("/two", []);
    domain.await_svid("/two");
    let id = domain.id("/two");
    let ran = domain.fetch(["x509", "--spiffe-id", &id, "--json"]).ok();
    let svids = ran.json()["svids"].clone();
    assert_eq!(svids.as_array().unwrap().len(), 1);
    assert_eq!(svids[0]["spiffe_id"], id);
    let ran = domain.fetch(["x509", "--spiffe-id", &domain.id("/wrong")]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
}

#[test]
fn a_keeper_started_before_its_agent_waits_and_a_second_one_is_refused() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    domain.agent.take().unwrap().kill();
    let files = domain.path("files");
    let waiting = keeper(&domain, &["x509"], &files, &[]);
    eventually("it waits", || {
        waiting
            .output()
            .contains("nothing is written yet")
            .then_some(())
    });
    domain.start_agent(None);
    eventually("files", || files.join("svid.pem").exists().then_some(()));
    let ran = domain.fetch(["x509", "--write", files.to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("another process"), "{}", ran.err);
    // Stopping must not take the files along.
    waiting.signal(Signal::SIGINT);
    assert!(waiting.wait("the keeper ends").success());
    assert!(files.join("svid-key.pem").exists());
}

#[test]
fn a_token_on_disk_is_renewed_at_half_its_life() {
    let domain = Domain::start();
    domain.register("/service", ["--jwt-ttl", "8"]);
    domain.await_svid("/service");
    let files = domain.path("files");
    let keeper = keeper(&domain, &["jwt", "--audience", "payments"], &files, &[]);
    let read = || std::fs::read_to_string(files.join("jwt.token")).ok();
    let first = eventually("a token", read);
    assert_eq!(first.split('.').count(), 3);
    let seen = std::fs::metadata(files.join("jwt.token")).unwrap();
    assert_eq!(seen.mode() & 0o777, 0o600);
    let patience = Duration::from_secs(20);
    eventually_within(patience, "a new token", || (read()? != first).then_some(()));
    let log = keeper.output();
    assert!(
        !log.contains(first.split('.').next_back().unwrap()),
        "a token is logged"
    );
    assert_eq!(stop(keeper), 0);
}

#[test]
fn a_token_on_disk_is_replaced_within_seconds_when_its_key_is_tainted() {
    let domain = Domain::start_with(Settings::prompt());
    // Half of its life is far away.
    domain.register("/service", ["--jwt-ttl", "3600"]);
    domain.await_svid("/service");
    let files = domain.path("files");
    let asked = ["jwt", "--audience", "payments"];
    let keeper = keeper(&domain, &asked, &files, &["--exec", "echo reloaded"]);
    let read = || {
        let token = std::fs::read_to_string(files.join("jwt.token")).ok()?;
        let header = token.split('.').next()?.to_owned();
        Some((header, token))
    };
    let (header, token) = eventually("the first token", read);
    let _ = domain.admin(["keys", "taint", "jwt"]).ok();
    let (other, _) = eventually("a token of another key", || {
        read().filter(|(now, _)| *now != header)
    });
    assert_ne!(header, other);
    eventually("the hook has run again", || {
        let runs = keeper.output().matches("hook: reloaded").count();
        (runs == 2).then_some(())
    });
    let output = keeper.output();
    assert_eq!(stop(keeper), 0, "{output}");
    assert_ne!(read().unwrap().1, token);
}
