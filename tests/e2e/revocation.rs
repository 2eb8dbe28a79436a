//! Revocation that reaches relying parties: revoked on one node's token, refused by
//! another node's agent; kept over restarts and crashes; lifted again.

use std::path::Path;

use api::workload::{ValidateJwtsvidRequest, X509BundlesRequest, X509svidRequest};
use bulla_tests::{Domain, OtherNode, Settings, check, eventually, with_header, workload_client};
use serde_json::{Value, json};

fn validate(socket: &Path, token: &str) -> Result<(), tonic::Status> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let request = with_header(ValidateJwtsvidRequest {
            audience: "db".into(),
            svid: token.into(),
        });
        let validated = workload_client(socket)
            .await
            .validate_jwtsvid(request)
            .await;
        validated.map(|_| ())
    })
}

fn token(domain: &Domain) -> (String, Value) {
    let answer = domain.fetch(["jwt", "--audience", "db", "--json"]).ok();
    let text = answer.json()["svids"][0]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({ "token": text, "audience": "db" });
    (text, body)
}

fn claims(checked: &Value) -> &Value {
    &checked["claims"]
}

fn revoke(domain: &Domain, args: &[&str]) -> Value {
    let more = ["--reason", "a test", "--json"];
    let all = ["revoke"].into_iter().chain(args.iter().copied());
    domain.admin(all.chain(more)).ok().json()
}

#[test]
fn a_revoked_token_is_refused_on_another_node_and_stays_so() {
    let mut domain = Domain::start();
    domain.register("/api", []);
    domain.await_svid("/api");
    let mut other = OtherNode::join(&domain);
    let (text, body) = token(&domain);
    other.await_good(&body);
    assert_eq!(
        validate(&other.socket(), &text).map_err(|s| s.to_string()),
        Ok(())
    );
    let jti = claims(&other.check(&body).1)["jti"]
        .as_str()
        .unwrap()
        .to_owned();
    let plan = revoke(&domain, &["jti", &jti, "--plan"]);
    assert_eq!(plan["done"], false);
    assert_eq!(plan["hit_count"], 1);
    assert_eq!(plan["hits"][0]["spiffe_id"], domain.id("/api"));
    assert!(
        plan["hits"][0]["holder"]
            .as_str()
            .unwrap()
            .contains("/spire/agent/")
    );
    assert_eq!(other.check(&body).0, 200, "a plan changes nothing");
    let done = revoke(&domain, &["jti", &jti]);
    assert_eq!(
        (&done["done"], &done["signed"]),
        (&json!(true), &json!(true))
    );
    let refused = eventually("the other node's agent refuses", || {
        let (status, problem) = other.check(&body);
        (status == 422).then_some(problem)
    });
    let why = refused["detail"].as_str().unwrap();
    assert!(why.contains("revoked") && why.contains(&jti), "{refused}");
    let status = validate(&other.socket(), &text).unwrap_err();
    assert!(status.message().contains("revoked"), "{status}");
    // The agent that cached it gives it to nobody any more.
    let (fresh, fresh_body) = token(&domain);
    assert_ne!(fresh, text);
    other.await_good(&fresh_body);
    let again = revoke(&domain, &["jti", &jti]);
    assert_eq!(again["already"], true);
    assert_eq!(again["done"], false);
    // What a node's workloads are is written within a second of a change.
    eventually("the other node's entries are kept", || {
        let kept = std::fs::read(other.path("data/workloads.bin")).ok()?;
        kept.windows(9).any(|w| w == b"/verifier").then_some(())
    });
    // A restart takes nothing back, though the server is away and cannot say it again.
    domain.server.take().unwrap().kill();
    other.process.take().unwrap().kill();
    other.start(None);
    eventually("the restarted agent refuses", || {
        (other.check(&body).0 == 422).then_some(())
    });
    other.await_good(&fresh_body);
    // Nor does the server's, which was killed.
    domain.start_server();
    let list = domain.admin(["revoke", "list", "--json"]).ok().json();
    assert_eq!(list["revocations"][0]["value"], jti);
    assert!(list["sequence"].as_u64().unwrap() >= done["sequence"].as_u64().unwrap());
    let lifted = ["revoke", "lift", "jti", &jti, "--reason", "the wrong one"];
    let _ = domain.admin(lifted).ok();
    other.await_good(&body);
    for kind in ["revoke", "revoke_lift"] {
        assert_eq!(domain.audit(kind).len(), 1, "{kind}");
    }
}

#[test]
fn what_a_revoked_id_held_is_issued_anew_and_refused_until_it_is_lifted() {
    let domain = Domain::start();
    domain.register("/api", []);
    let before = domain.await_svid("/api");
    let (_, old) = token(&domain);
    let chain = json!({ "certificate_chain": certificate(&domain) });
    let here = |body: &Value| check(&domain.workload_socket(), body);
    assert_eq!((here(&old).0, here(&chain).0), (200, 200));
    let id = domain.id("/api");
    let done = revoke(&domain, &["id", &id]);
    assert!(done["hit_count"].as_u64().unwrap() >= 2, "{done}");
    let after = eventually("another certificate", || {
        let after = domain.await_svid("/api");
        (after["serial"] != before["serial"]).then_some(after)
    });
    eventually("what was issued before is refused", || {
        (here(&old).0 == 422 && here(&chain).0 == 422).then_some(())
    });
    eventually("what is issued later is good", || {
        let chain = json!({ "certificate_chain": certificate(&domain) });
        (here(&chain).0 == 200 && here(&token(&domain).1).0 == 200).then_some(())
    });
    assert_ne!(after["serial"], before["serial"]);
    let _ = revoke(&domain, &["id", &id, "--until-lifted"]);
    eventually("the service has no identity any more", || {
        (domain.fetch(["x509"]).code == 1).then_some(())
    });
    let refused = domain.fetch(["jwt", "--audience", "db"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("revoked"), "{}", refused.err);
    let minted = domain.audit("issue_jwt");
    let is_refused = |r: &Value| r["result"] == "refused";
    assert!(minted.iter().any(is_refused), "the refusal is recorded");
    let lift = ["revoke", "lift", "id", &id, "--reason", "rebuilt", "--json"];
    let lifted = domain.admin(lift).ok().json();
    assert_eq!(lifted["remaining"]["value"], *id);
    domain.await_svid("/api");
    let chain_now = json!({ "certificate_chain": certificate(&domain) });
    eventually("the lifted ID's new certificate is good", || {
        (here(&chain_now).0 == 200).then_some(())
    });
    assert_eq!(here(&chain).0, 422, "the old one stays void");
}

/// The PEM of the certificate this process is given.
fn certificate(domain: &Domain) -> String {
    let files = domain.path("files");
    if files.exists() {
        std::fs::remove_dir_all(&files).unwrap();
    }
    let _ = domain
        .fetch(["x509", "--write", files.to_str().unwrap()])
        .ok();
    std::fs::read_to_string(files.join("svid.pem")).unwrap()
}

#[test]
fn a_revoked_certificate_is_replaced_on_its_open_stream_and_in_every_crl() {
    let domain = Domain::start();
    domain.register("/api", []);
    domain.await_svid("/api");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = workload_client(&domain.workload_socket()).await;
        let stream = client.fetch_x509svid(with_header(X509svidRequest {})).await;
        let mut stream = stream.unwrap().into_inner();
        let bundles = client
            .fetch_x509_bundles(with_header(X509BundlesRequest {}))
            .await;
        let mut bundles = bundles.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!(first.crl.len(), 1, "one for each authority, empty or not");
        assert!(!is_listed(&first.crl[0], &first.svids[0].x509_svid));
        let _ = bundles.message().await.unwrap().unwrap();
        let serial = hex_serial(&first.svids[0].x509_svid);
        let done = revoke(&domain, &["serial", &serial]);
        assert_eq!(done["done"], true, "{done}");
        // The list may come before its replacement does, never after.
        let last = loop {
            let news = stream.message().await.unwrap().unwrap();
            assert!(is_listed(&news.crl[0], &first.svids[0].x509_svid));
            if news.svids[0].x509_svid != first.svids[0].x509_svid {
                break news;
            }
        };
        assert!(!is_listed(&last.crl[0], &last.svids[0].x509_svid));
        let told = bundles.message().await.unwrap().unwrap();
        assert_eq!(told.crl, last.crl);
    });
}

fn hex_serial(chain: &[u8]) -> String {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, leaf) = X509Certificate::from_der(chain).unwrap();
    leaf.tbs_certificate.raw_serial_as_string()
}

fn is_listed(crl: &[u8], chain: &[u8]) -> bool {
    use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};
    let (_, crl) = CertificateRevocationList::from_der(crl).unwrap();
    let (_, leaf) = X509Certificate::from_der(chain).unwrap();
    let serial = &leaf.tbs_certificate.serial;
    crl.iter_revoked_certificates()
        .any(|one| one.user_certificate == *serial)
}

/// The commit is the revocation: a server killed right after it comes back with it,
/// and an agent whose own certificate it was is told to attest again.
#[test]
fn a_crash_right_after_takes_nothing_back_and_a_revoked_agent_is_turned_away() {
    let mut domain = Domain::start();
    domain.register("/api", []);
    domain.await_svid("/api");
    let node = domain.admin(["node", "list", "--json"]).ok().json();
    let agent = node[0]["id"].as_str().unwrap().to_owned();
    let done = revoke(&domain, &["id", &agent]);
    assert_eq!(done["hit_count"], 1, "its certificate: {done}");
    domain.server.take().unwrap().kill();
    domain.start_server();
    let list = domain.admin(["revoke", "list", "--json"]).ok().json();
    assert_eq!(list["revocations"][0]["value"], agent, "{list}");
    // Its workloads keep what they have; it is given nothing more.
    domain.register("/late", []);
    eventually("the agent is told why", || {
        let log = std::fs::read_to_string(domain.path("agent.log")).ok()?;
        log.contains("revoked").then_some(())
    });
    let ids = domain.fetch(["x509", "--json"]).ok();
    assert!(!ids.out.contains("/late"), "{}", ids.out);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let domain = Domain::server_alone(Settings::default());
    let ran = |args: &[&str]| {
        let all = ["revoke"].into_iter().chain(args.iter().copied());
        domain.admin(all.chain(["--reason", "a test"]))
    };
    for (args, code, says) in [
        (&["serial", "no-hex"][..], 2, "hex"),
        (&["serial", "0a0b"], 4, "--force"),
        (&["jti", "5f1c"], 4, "no record"),
        (&["id", "spiffe://other.org/x"], 2, "other.org"),
        (&["id", "/x"], 2, "spiffe"),
        (&["lift", "jti", "5f1c"], 4, "not revoked"),
        (&["lift", "key", "5f1c"], 2, "possible values"),
    ] {
        let ran = ran(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
    }
    assert_eq!(ran(&["jti", "5f1c", "--force"]).code, 0);
    let unexplained = domain.admin(["revoke", "jti", "x"]);
    assert_eq!(unexplained.code, 2, "a reason is required");
}
