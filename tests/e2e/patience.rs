//! Nobody holds the replacement of a signing key up: neither a workload that takes
//! nothing from its stream, nor an agent that hangs, nor one that is away.

use std::time::Duration;

use api::workload::{X509svidRequest, X509svidResponse};
use bulla_tests::{
    Domain, OtherNode, Settings, client_that_takes_nothing, eventually, eventually_within,
    with_header,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic::Streaming;

/// A workload's stream of which nothing is taken, on a runtime of its own.
struct Stuck {
    _runtime: Runtime,
    _stream: Streaming<X509svidResponse>,
}

impl Stuck {
    fn open(domain: &Domain) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let stream = runtime.block_on(async {
            let mut client = client_that_takes_nothing(&domain.workload_socket()).await;
            let opened = client.fetch_x509svid(with_header(X509svidRequest {})).await;
            opened.unwrap().into_inner()
        });
        Self {
            _runtime: runtime,
            _stream: stream,
        }
    }
}

fn status(domain: &Domain) -> Value {
    domain.admin(["keys", "status", "--json"]).ok().json()
}

fn active(domain: &Domain, profile: &str) -> Value {
    let status = status(domain);
    let keys = status["keys"].as_array().unwrap();
    let active = |key: &&Value| key["profile"] == profile && key["state"] == "active";
    keys.iter().find(active).unwrap().clone()
}

/// A domain with a workload whose stream is stuck, and another node whose agent hangs.
fn with_laggards(server: &str) -> (Domain, Stuck, OtherNode) {
    let domain = Domain::start_with(Settings {
        server: server.to_owned(),
        ..Settings::default()
    });
    domain.register("/service", []);
    domain.await_svid("/service");
    let hung = OtherNode::join_as(&domain, "hung");
    eventually("the second agent follows", || {
        let fleet = domain.admin(["watch", "--once", "--json"]).ok();
        (fleet.out.matches("following").count() >= 2).then_some(())
    });
    let stuck = Stuck::open(&domain);
    hung.process.as_ref().unwrap().signal(Signal::SIGSTOP);
    (domain, stuck, hung)
}

#[test]
fn a1_neither_a_stuck_stream_nor_a_hanging_agent_holds_a_rotation_up() {
    let patient = format!("{}patience = \"3s\"\n", Settings::PROMPT);
    let (domain, _stuck, _hung) = with_laggards(&patient);
    let before = active(&domain, "x509")["id"].clone();
    let rotate = ["keys", "rotate", "--only", "x509", "--timeout", "20"];
    let _ = domain.admin(rotate).ok();
    assert_ne!(active(&domain, "x509")["id"], before);
    // Whoever is behind is named: the agent, and the stream by its process.
    let ours = u64::from(std::process::id());
    eventually("the stuck stream and the hanging agent are named", || {
        let status = status(&domain);
        let behind = status["behind"].as_array()?;
        let named = |stream: &Value| stream["pid"].as_u64() == Some(ours);
        let stuck = |agent: &&Value| agent["streams"].as_array().unwrap().iter().any(named);
        let stuck = behind.iter().find(stuck)?;
        let hung =
            |agent: &&Value| agent["agent"] != stuck["agent"] && agent["since"].as_str().is_some();
        behind.iter().find(hung).map(drop)
    });
    let shown = domain.admin(["keys", "status"]).ok().out;
    assert!(shown.contains("behind the newest bundle"), "{shown}");
    assert!(
        shown.contains(&format!("a stream of pid {ours}")),
        "{shown}"
    );
    let recorded = domain.audit("key_rotation");
    let named = |record: &Value| {
        let detail = record["detail"].as_str().unwrap_or_default();
        detail.contains("not waited for: spiffe://")
    };
    assert!(recorded.iter().any(named), "{recorded:?}");
}

/// With a publication interval of half a minute, as it is by default.
#[test]
fn a1_a_leaked_key_signs_nothing_ten_seconds_after_its_taint() {
    let (domain, _stuck, _hung) = with_laggards("");
    let away = OtherNode::join_as(&domain, "away");
    eventually("the third agent follows", || {
        let fleet = domain.admin(["watch", "--once", "--json"]).ok();
        (fleet.out.matches("spire/agent").count() >= 3).then_some(())
    });
    away.process.unwrap().kill();
    for profile in ["x509", "jwt"] {
        let leaked = active(&domain, profile)["id"].as_str().unwrap().to_owned();
        let _ = domain.admin(["keys", "taint", profile, &leaked]).ok();
        // Ten, and as many for a busy machine; less than the publication interval.
        eventually_within(
            Duration::from_secs(20),
            "the leaked key signs nothing",
            || (active(&domain, profile)["id"] != *leaked).then_some(()),
        );
        assert_eq!(active(&domain, profile)["tainted"], false);
    }
}
