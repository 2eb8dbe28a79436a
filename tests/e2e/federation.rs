//! Federated bundles and the owners of authorities from the command line.

use bulla_tests::{Domain, Settings};
use serde_json::Value;

#[test]
fn e3_federation_by_command_line() {
    let domain = Domain::server_alone(Settings::default());
    let own = domain.admin(["bundle", "show", "--format", "pem"]).ok().out;
    let file = domain.path("other.pem");
    std::fs::write(&file, &own).unwrap();
    let file = file.to_str().unwrap();
    let set = domain.admin(["bundle", "set", "other.test", file, "--json"]);
    assert_eq!(set.ok().json()["x509_authorities"], 1);
    let listed = domain.admin(["bundle", "list", "--json"]).ok().json();
    assert_eq!(listed[0]["trust_domain"], "other.test");
    let id = domain.register("/api", []);
    let update = ["entry", "update", &id, "--federates-with", "other.test"];
    let _ = domain.admin(update).ok();
    let shown = domain.admin(["entry", "show", &id, "--json"]).ok().json();
    assert_eq!(shown["federates_with"], serde_json::json!(["other.test"]));
    // Not while an entry federates with it, unless asked.
    let kept = domain.admin(["bundle", "delete", "other.test"]);
    assert_ne!(kept.code, 0);
    assert!(kept.err.contains("--dissociate"), "{}", kept.err);
    let _ = domain
        .admin(["bundle", "delete", "other.test", "--dissociate"])
        .ok();
    let listed = domain.admin(["bundle", "list", "--json"]).ok().json();
    assert!(listed.as_array().unwrap().is_empty());
}

#[test]
fn s6_owners_are_shown_and_what_was_appended_is_removed_by_command_line() {
    let domain = Domain::server_alone(Settings::default());
    let other = Domain::server_alone(Settings::default());
    let file = domain.path("appended.pem");
    let pem = other.admin(["bundle", "show", "--format", "pem"]).ok().out;
    std::fs::write(&file, pem).unwrap();
    let file = file.to_str().unwrap();
    let _ = domain.admin(["bundle", "append", file]).ok();
    let owners = |name: &str| -> Vec<Value> {
        let shown = domain.admin(["bundle", "show", "--owners", "--json"]);
        let shown = shown.ok().json();
        let all = shown["authorities"].as_array().unwrap().iter();
        all.filter(|it| it["owner"] == name).cloned().collect()
    };
    let appended = owners("administrator");
    assert_eq!(appended.len(), 1);
    let id = appended[0]["id"].as_str().unwrap();
    let plan = domain.admin(["bundle", "remove", id, "--plan"]).ok();
    assert!(plan.out.contains("would be removed"), "{}", plan.out);
    assert_eq!(owners("administrator").len(), 1);
    let _ = domain.admin(["bundle", "remove", id]).ok();
    assert!(owners("administrator").is_empty());
    let own = owners("server");
    assert_eq!(own.len(), 3);
    let refused = domain.admin(["bundle", "remove", own[0]["id"].as_str().unwrap()]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("bulla keys"), "{}", refused.err);
}
