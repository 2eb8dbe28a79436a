//! How an agent joins: a single-use token, a pinned bundle, and nothing else.

use bulla_tests::{Domain, Process, Ran, Settings, eventually};
use nix::sys::signal::Signal;

fn token(domain: &Domain, more: &[&str]) -> serde_json::Value {
    domain
        .admin([&["token", "create", "--json"], more].concat())
        .ok()
        .json()
}

#[test]
fn the_printed_command_is_complete_and_keeps_the_token_out_of_the_arguments() {
    let domain = Domain::server_alone(Settings::default());
    let token = token(&domain, &[]);
    let command = token["command"].as_str().unwrap();
    let secret = token["token"].as_str().unwrap();
    let (environment, arguments) = command.split_once(" bulla agent ").unwrap();
    assert_eq!(environment, format!("BULLA_JOIN_TOKEN={secret}"));
    assert!(!arguments.contains(secret));
    for part in [
        "--server 127.0.0.1:",
        "--trust-domain example.org",
        "--bundle-sha256 ",
    ] {
        assert!(arguments.contains(part), "{command}");
    }

    // Run as printed, by a shell, with folders of the test's own.
    let program = bulla_tests::program("bulla");
    let line = command.replace(
        " bulla agent ",
        &format!(" exec {} agent ", program.display()),
    );
    let line = format!(
        "{line} --data-dir {} --workload-socket {} --admin-socket {}",
        domain.path("agent/data").display(),
        domain.workload_socket().display(),
        domain.path("agent/admin.sock").display()
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &line.replacen(" exec ", " ", 1)]);
    let agent = Process::start(&mut shell, &domain.path("agent.log"));
    eventually("the agent joined", || {
        (!domain.audit("attest").is_empty()).then_some(())
    });
    agent.signal(Signal::SIGTERM);
}

#[test]
fn an_agent_without_a_pin_refuses_and_says_how_to_get_one() {
    let domain = Domain::server_alone(Settings::default());
    let mut token = token(&domain, &[]);
    token["bundle_sha256"] = "".into();
    let mut command = domain.agent_command(Some(&token));
    let text = std::fs::read_to_string(domain.path("agent.toml")).unwrap();
    std::fs::write(
        domain.path("agent.toml"),
        text.replace("bundle_sha256 = [\"\"]", ""),
    )
    .unwrap();
    let ran = Ran::of(&mut command);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("bulla token create"), "{}", ran.err);
    assert!(domain.audit("attest").is_empty(), "the token was not spent");
}

#[test]
fn an_agent_with_another_servers_pin_refuses_and_keeps_its_token() {
    let domain = Domain::server_alone(Settings::default());
    let mut token = token(&domain, &[]);
    token["bundle_sha256"] = "00".repeat(32).into();
    let ran = Ran::of(&mut domain.agent_command(Some(&token)));
    assert_ne!(ran.code, 0);
    assert!(
        domain.audit("attest").is_empty(),
        "the token was not sent to a stranger"
    );
}

#[test]
fn a_token_works_once() {
    let mut domain = Domain::server_alone(Settings::default());
    let token = token(&domain, &[]);
    domain.start_agent(Some(&token));
    eventually("it joined", || {
        (domain.audit("attest").len() == 1).then_some(())
    });
    domain.agent.take().unwrap().kill();
    std::fs::remove_dir_all(domain.path("agent/data")).unwrap();
    let ran = Ran::of(&mut domain.agent_command(Some(&token)));
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("token"), "{}", ran.err);
    let results: Vec<_> = domain
        .audit("attest")
        .iter()
        .map(|r| r["result"].clone())
        .collect();
    assert_eq!(results, ["granted", "refused"]);
}

#[test]
fn an_expired_token_is_refused() {
    let domain = Domain::server_alone(Settings::default());
    let token = token(&domain, &["--ttl", "1"]);
    let expires = token["expires_at"].as_str().unwrap().to_owned();
    // The server's clock is the machine's: the record of a later change proves that time passed.
    eventually("the token expired", || {
        let id = domain.register(&format!("/tick-{}", domain.audit("entry_create").len()), []);
        let shown = domain.admin(["entry", "show", &id, "--json"]).ok().json();
        (shown["created_at"].as_str().unwrap() > expires.as_str()).then_some(())
    });
    let ran = Ran::of(&mut domain.agent_command(Some(&token)));
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("token"), "{}", ran.err);
    assert!(
        domain
            .admin(["node", "list", "--json"])
            .ok()
            .json()
            .as_array()
            .unwrap()
            .is_empty()
    );
}
