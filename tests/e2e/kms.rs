//! A server whose signing keys are in a KMS: moto's, as a process of its own that
//! can be stopped, continued and killed.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use api::svid::MintJwtsvidRequest;
use api::svid::svid_client::SvidClient;
use api::types::{Jwtsvid, Spiffeid};
use bulla_tests::{Domain, Process, Settings, eventually, eventually_within, free_port, peer};
use channel::{ChannelOptions, uds_channel};
use nix::sys::signal::Signal;
use serde_json::Value;
use tonic::{Code, Status};

/// A KMS on that port, its keys in its memory.
fn moto(port: u16, log: &Path) -> Process {
    let mut command = Command::new(peer("moto/bin/moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let process = Process::start(&mut command, log);
    eventually_within(Duration::from_secs(60), "moto listens", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    process
}

fn settings(port: u16) -> Settings {
    let prompt = Settings::PROMPT;
    let server = format!(
        "{prompt}[keys]\nstorage = \"aws_kms\"\ntimeout = \"2s\"\n\
         [keys.aws_kms]\nregion = \"eu-central-1\"\nendpoint = \"http://127.0.0.1:{port}\"\n"
    );
    Settings {
        server,
        server_env: vec![
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            (
                "AWS_SECRET_ACCESS_KEY",
                "known-to-the-environment".to_owned(),
            ),
        ],
        ..Settings::default()
    }
}

fn active(domain: &Domain) -> Vec<String> {
    let status = domain.admin(["keys", "status", "--json"]).ok().json();
    let keys = status["keys"].as_array().unwrap().clone();
    let active = keys.iter().filter(|key| key["state"] == "active");
    let id = |key: &Value| {
        assert_eq!(key["protection"], "aws-kms", "{key}");
        key["id"].as_str().unwrap().to_owned()
    };
    active.map(id).collect()
}

/// Asks the server itself for a token: agents keep theirs.
async fn mint(domain: &Domain) -> Result<Jwtsvid, Status> {
    let options = ChannelOptions::default();
    let channel = uds_channel(&domain.admin_socket(), &options).await.unwrap();
    let request = MintJwtsvidRequest {
        id: Some(Spiffeid {
            trust_domain: Domain::NAME.to_owned(),
            path: "/minted".to_owned(),
        }),
        audience: vec!["db".to_owned()],
        ttl: 0,
    };
    let answer = SvidClient::new(channel).mint_jwtsvid(request).await;
    answer.map(|answer| answer.into_inner().svid.unwrap())
}

/// Unavailable, with the reason, within the bound.
async fn is_unavailable(domain: &Domain, reason: &str) {
    let answer = tokio::time::timeout(Duration::from_secs(4), mint(domain));
    let refused = answer.await.expect("an answer in time").unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("AWS KMS"), "{refused}");
    assert!(refused.message().contains(reason), "{refused}");
}

/// The main job with keys in a KMS; then the KMS hangs, and comes back; then it dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_kms_that_hangs_or_dies_makes_issuance_unavailable_and_nothing_else() {
    let port = free_port();
    let log = tempfile::NamedTempFile::new().unwrap();
    let kms = moto(port, log.path());
    let mut domain = Domain::start_with(settings(port));
    domain.register("/service", []);
    domain.await_svid("/service");
    let _ = domain.fetch(["jwt", "--audience", "a"]).ok();
    let before = active(&domain);
    let _ = domain.admin(["keys", "rotate", "--all"]).ok();
    let rotated = active(&domain);
    assert!(rotated.iter().all(|id| !before.contains(id)), "{rotated:?}");
    let server = domain.server.take().unwrap();
    let _ = server.stop_within(Duration::from_secs(12));
    domain.start_server();
    assert_eq!(active(&domain), rotated, "the same keys after a restart");
    assert!(mint(&domain).await.is_ok());

    kms.signal(Signal::SIGSTOP);
    is_unavailable(&domain, "not answered within").await;
    // Whatever needs no signature goes on, and workloads keep what they have.
    domain.register("/waits", []);
    let _ = domain.admin(["entry", "list"]).ok();
    let _ = domain.fetch(["x509"]).ok();
    let refused = domain.fetch(["jwt", "--audience", "new"]);
    assert_ne!(refused.code, 0, "{}", refused.out);
    kms.signal(Signal::SIGCONT);
    eventually_within(Duration::from_secs(30), "tokens are signed again", || {
        let fetched = domain.fetch(["jwt", "--audience", "new"]);
        (fetched.code == 0).then_some(())
    });
    domain.await_svid("/waits");

    kms.kill();
    is_unavailable(&domain, "refused").await;
    let _ = domain.fetch(["x509"]).ok();
    let record = eventually("the refusals are on record", || {
        let logged = std::fs::read_to_string(domain.path("server.log")).ok()?;
        logged
            .contains("signing key cannot be used now")
            .then_some(logged)
    });
    assert!(!record.contains("known-to-the-environment"));
}
