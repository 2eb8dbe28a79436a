//! Restarts, planned and not: what was acknowledged stays, what was issued is
//! served.

use std::time::Duration;

use bulla_tests::{Domain, Settings, eventually};

#[test]
fn a_killed_server_has_every_entry_it_acknowledged() {
    let mut domain = Domain::server_alone(Settings::default());
    let ids: Vec<String> = (0..10)
        .map(|n| domain.register(&format!("/s{n}"), []))
        .collect();
    let pin = |domain: &Domain| domain.admin(["bundle", "show", "--json"]).ok().json();
    let before = pin(&domain);
    domain.server.take().unwrap().kill();
    domain.start_server();
    for id in &ids {
        let _ = domain.admin(["entry", "show", id]).ok();
    }
    assert_eq!(
        pin(&domain)["x509_authorities"],
        before["x509_authorities"],
        "the same keys"
    );
    let _ = domain.admin(["audit", "verify"]).ok();
}

#[test]
fn an_agent_restarts_without_a_token() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    domain.agent.take().unwrap().kill();
    domain.start_agent(None);
    domain.await_svid("/service");
}

#[test]
fn a_restarted_agent_serves_what_it_has_while_the_server_is_away() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    let before = domain.await_svid("/service");
    // What is held is written within a second of a change.
    eventually("the SVID is kept", || {
        let kept = std::fs::read(domain.path("agent/data/workloads.bin")).ok()?;
        kept.windows(8).any(|w| w == b"/service").then_some(())
    });
    domain.server.take().unwrap().kill();
    domain.agent.take().unwrap().kill();
    domain.start_agent(None);
    let after = domain.await_svid("/service");
    assert_eq!(after["serial"], before["serial"]);
}

#[test]
fn an_agent_finds_its_restarted_server_again() {
    let mut domain = Domain::start();
    domain.server.take().unwrap().kill();
    domain.start_server();
    domain.register("/late", []);
    domain.await_svid("/late");
}

#[test]
fn both_parts_drain_on_sigterm() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    // An open stream must not hold them up.
    let mut command = bulla_tests::bulla();
    command
        .args(["fetch", "x509", "--watch"])
        .env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint());
    let watch = bulla_tests::Process::start(&mut command, &domain.path("watch.log"));
    for part in [domain.agent.take(), domain.server.take()]
        .into_iter()
        .flatten()
    {
        let log = part.output();
        let status = part.stop_within(Duration::from_secs(10));
        assert!(status.success(), "{status}: {log}");
    }
    drop(watch);
}
