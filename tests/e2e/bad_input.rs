//! Bad input from the command line: an error that says what was wrong and where,
//! and nothing changed.

use bulla_tests::{Domain, Settings};

/// Creates an entry with one thing wrong, and what the error must say.
#[track_caller]
fn refused(domain: &Domain, args: &[&str], code: i32, says: &str) {
    let (spiffe_id, node) = (domain.id("/api"), domain.id("/node"));
    let mut all = vec!["entry", "create"];
    let defaults = [
        ("--spiffe-id", spiffe_id.as_str()),
        ("--parent-id", &node),
        ("--selector", "unix:uid:1"),
    ];
    for (name, value) in defaults {
        if !args.contains(&name) {
            all.extend([name, value]);
        }
    }
    all.extend(args);
    let ran = domain.admin(all);
    assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
    assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
}

#[test]
fn each_fault_of_an_entry_is_named() {
    let domain = Domain::server_alone(Settings::default());
    refused(
        &domain,
        &["--spiffe-id", "http://example.org/a"],
        2,
        "spiffe://",
    );
    refused(
        &domain,
        &["--spiffe-id", "spiffe://example.org/a/"],
        2,
        "trailing slash",
    );
    refused(
        &domain,
        &["--spiffe-id", "spiffe://example.org/a%2Fb"],
        2,
        "'%'",
    );
    refused(
        &domain,
        &["--spiffe-id", "spiffe://other.org/a"],
        2,
        "example.org",
    );
    refused(
        &domain,
        &["--spiffe-id", "spiffe://example.org/spire/server"],
        2,
        "reserved",
    );
    refused(&domain, &["--spiffe-id", "spiffe://example.org"], 2, "path");
    refused(&domain, &["--selector", "uid"], 2, "':'");
    refused(&domain, &["--selector", "unix:"], 2, "empty value");
    refused(&domain, &["--dns-name", "a b"], 2, "DNS name");
    refused(&domain, &["--dns-name", "127.0.0.1"], 2, "IP address");
    refused(&domain, &["--x509-ttl=-5"], 2, "ttl");
    let long = "h".repeat(1025);
    refused(&domain, &["--hint", &long], 2, "1024");
    let entries = domain.admin(["entry", "list", "--json"]).ok().json();
    assert!(
        entries.as_array().unwrap().is_empty(),
        "nothing was created"
    );
}

#[test]
fn an_unknown_key_in_a_configuration_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for (part, text) in [
        (
            "server",
            "trust_domain = \"example.org\"\nlisten_to = \"x\"\n",
        ),
        (
            "agent",
            "trust_domain = \"example.org\"\nsokcet = \"x\"\n[server]\naddress = \"a:1\"\n",
        ),
    ] {
        let path = folder.path().join(part);
        std::fs::write(&path, text).unwrap();
        let mut command = bulla_tests::bulla();
        command.args([part, "validate", "--config"]).arg(&path);
        let ran = bulla_tests::Ran::of(&mut command);
        assert_eq!(ran.code, 2, "{}", ran.err);
        let named = ["listen_to", "sokcet"]
            .iter()
            .any(|key| ran.err.contains(key));
        assert!(named, "{}", ran.err);
    }
}
