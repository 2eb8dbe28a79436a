//! Policy sets from the command line; who can and what can; discovery over HTTPS.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use bulla_tests::{Domain, Ran, Settings, eventually};
use serde_json::{Value, json};

use crate::policy_folder::{example, nested, with_condition};

fn apply(domain: &Domain, folder: &str, more: &[&str]) -> Ran {
    domain.admin([&["policy", "apply", folder][..], more].concat())
}

#[test]
fn a_policy_set_is_planned_activated_and_explained() {
    let domain = Domain::start();
    let checkout = domain.register("/checkout/web", []);
    let folder = example();
    let folder = folder.to_str().unwrap();
    let plan = apply(&domain, folder, &["--plan", "--json"]).ok().json();
    assert_eq!(plan["activated"], false);
    assert_eq!(plan["tests"]["failed"], Value::Array(Vec::new()));
    let gained = plan["access"].as_array().unwrap();
    let charge = |a: &Value| a["permission"] == "payments:charge.create" && a["change"] == "gained";
    assert!(gained.iter().any(charge), "{gained:?}");
    let none = domain.admin(["policy", "history"]).ok();
    assert!(none.out.contains("no policy set was activated yet"));
    let first = apply(&domain, folder, &["--comment", "first"]).ok();
    assert!(first.out.contains("decides from now on"), "{}", first.out);
    let same = apply(&domain, folder, &[]).ok();
    assert!(same.out.contains("active already"), "{}", same.out);

    let who = [
        "explain",
        "who-can",
        "payments:charge.create",
        "payments",
        "--json",
    ];
    let who = domain.admin(who).ok().json();
    assert_eq!(who["holders"][0]["spiffe_id"], domain.id("/checkout/web"));
    let id = domain.id("/checkout/web");
    let holdings = || {
        let what = domain.admin(["explain", "what-can", &id, "--json"]).ok();
        what.json()["holdings"].clone()
    };
    assert_eq!(holdings()[0]["audience"], "payments");
    // The entry's own limits bound what policies permit.
    let limit = [
        "entry",
        "limit",
        &checkout,
        "--audience",
        "ledger",
        "--max-ttl",
        "60",
    ];
    let _ = domain.admin(limit).ok();
    let limits = domain.admin(["entry", "limits", "--json"]).ok().json();
    assert_eq!(limits[0]["audiences"][0], "ledger");
    assert_eq!(holdings().as_array().unwrap().len(), 0);
    let _ = domain.admin(["entry", "limit", &checkout, "--clear"]).ok();
    assert_eq!(holdings()[0]["audience"], "payments");
}

#[test]
fn access_is_not_lost_unasked_and_a_rollback_brings_it_back() {
    let domain = Domain::server_alone(Settings::default());
    domain.register("/checkout/web", []);
    let folder = example();
    let _ = apply(&domain, folder.to_str().unwrap(), &[]).ok();
    let changed = domain.path("policy");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&folder)
        .arg(&changed)
        .status();
    assert!(copied.unwrap().success());
    std::fs::remove_file(changed.join("tests/payments.json")).unwrap();
    let file = changed.join("policies/payments.cedar");
    let text = std::fs::read_to_string(&file).unwrap();
    let narrowed = text.replace(
        "action in [Action::\"payments:charge.create\", Action::\"payments:charge.read\"]",
        "action == Action::\"payments:charge.read\"",
    );
    assert_ne!(narrowed, text);
    std::fs::write(&file, narrowed).unwrap();
    let changed = changed.to_str().unwrap();
    let refused = apply(&domain, changed, &[]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("are lost"), "{}", refused.err);
    let _ = apply(&domain, changed, &["--yes", "--comment", "narrower"]).ok();
    let history = domain.admin(["policy", "history", "--json"]).ok().json();
    assert_eq!(history[0]["comment"], "narrower");
    let before = history[1]["short"].as_str().unwrap().to_owned();
    let back = ["policy", "rollback", &before, "--comment", "INC-1"];
    let back = domain.admin(back).ok();
    assert!(
        back.out.contains("gains payments:charge.create"),
        "{}",
        back.out
    );
    // What is active comes back as files, and is what was applied.
    let shown = domain.path("shown");
    let _ = domain
        .admin(["policy", "show", "--write", shown.to_str().unwrap()])
        .ok();
    let shown = std::fs::read_to_string(shown.join("policies/payments.cedar"));
    assert_eq!(shown.unwrap(), text);
    assert_eq!(domain.audit("policy_activate").len(), 3);
}

#[test]
fn break_glass_takes_a_second_person_over_the_network() {
    let domain = Domain::start();
    domain.register("/oncall/console", []);
    let id = domain.id("/oncall/console");
    let open = [
        "policy",
        "break-glass",
        "open",
        &id,
        "--ticket",
        "INC-7",
        "--json",
    ];
    let opened = domain.admin(open).ok().json();
    let glass = opened["id"].as_str().unwrap();
    let approve = ["policy", "break-glass", "approve", glass];
    let same = domain.admin(approve);
    assert_eq!(same.code, 1);
    assert!(
        same.err.contains("another person must approve"),
        "{}",
        same.err
    );
    // Another person: an administrator by SPIFFE ID.
    domain.register("/people/ada", ["--admin-workload"]);
    domain.await_svid("/people/ada");
    let folder = domain.path("ada");
    let hint = domain.id("/people/ada");
    let keep = [
        "x509",
        "--write",
        folder.to_str().unwrap(),
        "--spiffe-id",
        &hint,
    ];
    let _ = domain.fetch(keep).ok();
    let server = format!("127.0.0.1:{}", domain.port());
    let network = [
        "--server",
        &server,
        "--identity",
        folder.to_str().unwrap(),
        "--json",
    ];
    let approved = domain.admin([&approve[..], &network].concat()).ok().json();
    assert_eq!(approved["state"], "in_force");
    assert_eq!(approved["approver"], hint);
    let listed = domain
        .admin(["policy", "break-glass", "list", "--json"])
        .ok()
        .json();
    assert_eq!(
        listed[0]["requester"],
        format!("uid:{}", nix::unistd::getuid())
    );
    let _ = domain.admin(["policy", "break-glass", "end", glass]).ok();
    // Asked for, refused to the same person, approved, ended.
    assert_eq!(domain.audit("break_glass").len(), 4);
}

fn curl(domain: &Domain, port: u64, path: &str) -> (String, Value) {
    let ca = domain.path("public.pem");
    let ran = Ran::of(
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--dump-header", "-"])
            .arg("--cacert")
            .arg(ca)
            .args(["--resolve", &format!("issuer.test:{port}:127.0.0.1")])
            .arg(format!("https://issuer.test:{port}{path}")),
    )
    .ok();
    let (head, body) = ran.out.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), serde_json::from_str(body).unwrap())
}

fn certificate(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// What RFC 8414 section 2 and OIDC Discovery section 3 require, as Authlib's validators
/// hold to it: endpoints are https URLs, lists that are required are not empty.
fn e4_metadata_names_endpoints_that_exist(documents: [&Value; 2], port: u64) {
    for document in documents {
        for name in ["authorization_endpoint", "token_endpoint"] {
            let url = document[name].as_str().unwrap();
            let path = url.strip_prefix("https://issuer.test").unwrap();
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--insecure", "-d", "grant_type=x"]);
            curl.arg(format!("https://127.0.0.1:{port}{path}"));
            let answer = Ran::of(&mut curl).ok().json();
            assert_eq!(answer["error"], "unsupported_grant_type", "{url}");
        }
        let responses = document["response_types_supported"].as_array().unwrap();
        assert!(!responses.is_empty());
        // Without it, a client takes the authorization code for supported.
        assert_eq!(document["grant_types_supported"], json!([]));
    }
    let proofs = &documents[1]["dpop_signing_alg_values_supported"];
    for algorithm in ["PS256", "EdDSA", "ES256"] {
        assert!(proofs.as_array().unwrap().contains(&json!(algorithm)));
    }
}

#[test]
fn keys_of_tokens_are_found_by_discovery_over_https() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (
        folder.path().join("public.pem"),
        folder.path().join("public.key"),
    );
    let write = |(certificate, private): (String, String)| {
        std::fs::write(&chain, certificate).unwrap();
        std::fs::write(&key, private).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(certificate("issuer.test"));
    let settings = Settings {
        server: format!(
            "[jwt]\nissuer = \"https://issuer.test/td\"\n[public]\nlisten = \"127.0.0.1:0\"\n\
             certificate = {chain:?}\nkey = {key:?}\n"
        ),
        ..Settings::default()
    };
    let domain = Domain::server_alone(settings);
    std::fs::copy(&chain, domain.path("public.pem")).unwrap();
    let file = domain.path("server/data/run/addresses.json");
    let addresses: Value = eventually("the addresses are written", || {
        serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok()
    });
    let public = addresses["public"].as_str().unwrap();
    let port: u64 = public.rsplit_once(':').unwrap().1.parse().unwrap();

    let (_, openid) = curl(&domain, port, "/td/.well-known/openid-configuration");
    assert_eq!(openid["issuer"], "https://issuer.test/td");
    assert_eq!(openid["jwks_uri"], "https://issuer.test/td/keys");
    let (_, oauth) = curl(&domain, port, "/.well-known/oauth-authorization-server/td");
    assert_eq!(oauth["jwks_uri"], openid["jwks_uri"]);
    e4_metadata_names_endpoints_that_exist([&openid, &oauth], port);
    let (head, keys) = curl(&domain, port, "/td/keys");
    // The cache's life is what a new key waits for before it signs.
    assert!(head.contains("cache-control: public, max-age=30"), "{head}");
    let status = domain.admin(["keys", "status", "--json"]).ok().json();
    let kids = |profile: &str| -> Vec<Value> {
        let all = status["keys"].as_array().unwrap().iter();
        all.filter(|key| key["profile"] == profile)
            .map(|key| key["id"].clone())
            .collect()
    };
    let published: Vec<_> = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| &k["kid"])
        .collect();
    assert_eq!(published, [&kids("jwt")[0], &kids("access")[0]]);
    assert!(keys["keys"][0].get("d").is_none());
    // What asks for more than keys gets nothing.
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--insecure"]);
    command.arg(format!(
        "https://127.0.0.1:{port}/spire.api.server.bundle.v1.Bundle/GetBundle"
    ));
    assert_ne!(Ran::of(&mut command).code, 0);
}

fn token(domain: &Domain, permissions: &[&str]) -> Value {
    let body = json!({ "audience": "payments", "permissions": permissions });
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--unix-socket",
        ])
        .arg(domain.workload_socket())
        .args(["-H", "workload.spiffe.io: true"])
        .args(["-H", "content-type: application/json"])
        .args(["--data", &body.to_string(), "http://localhost/v1/token"]);
    Ran::of(&mut command).ok().json()
}

#[test]
fn a_decision_is_exported_and_explained() {
    let domain = Domain::start();
    domain.register("/checkout/web", []);
    domain.await_svid("/checkout/web");
    let folder = example();
    let _ = apply(&domain, folder.to_str().unwrap(), &[]).ok();
    let asked = ["payments:charge.create", "payments:typo"];
    let minted = token(&domain, &asked);
    assert!(minted["token"].is_string(), "{minted}");
    assert_eq!(minted["refused"][0]["permission"], "payments:typo");
    // Nothing at all is a refusal with an OAuth code, and one record of its own.
    let refused = token(&domain, &["payments:typo"]);
    assert!(refused.to_string().contains("invalid_scope"), "{refused}");

    let lines = domain
        .admin(["audit", "export", "--kind", "decision"])
        .ok()
        .out;
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let outcomes: Vec<_> = records.iter().map(|r| &r["decision"]["decision"]).collect();
    assert_eq!(outcomes, ["partial", "refused"]);
    let decision = &records[0]["decision"];
    assert_eq!(decision["granted"][0]["policies"][0]["id"], "pay-0001");
    let jti = decision["jti"].as_str().unwrap();
    let why = domain.admin(["explain", "token", jti]).ok().out;
    assert!(why.contains("granted payments:charge.create"), "{why}");
    assert!(
        why.contains("checkout charges cards, day and night"),
        "{why}"
    );
    let id = records[1]["decision"]["id"].as_str().unwrap();
    let why = domain.admin(["explain", "decision", id]).ok().out;
    assert!(why.contains("no token: invalid_scope"), "{why}");
}

#[test]
fn u1_a_server_outlives_policies_that_nest_deep() {
    let domain = Domain::server_alone(Settings::default());
    domain.register("/checkout/web", []);
    for condition in nested() {
        let folder = with_condition(&condition);
        let folder = folder.path().to_str().unwrap();
        for more in [&["--plan"][..], &["--yes"]] {
            let ran = apply(&domain, folder, more);
            assert_eq!(ran.code, 1, "{}", ran.err);
            assert!(ran.out.contains("nests too deep"), "{}", ran.out);
        }
        let none = domain.admin(["policy", "history"]).ok();
        assert!(none.out.contains("no policy set was activated yet"));
    }
    let _ = apply(&domain, example().to_str().unwrap(), &[]).ok();
}
