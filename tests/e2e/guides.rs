//! The guides, run as they are written.

use bulla_tests::{Domain, Ran, Settings, free_port, guide};

#[test]
fn the_first_steps_guide_works_as_written() {
    let script = guide::commands(&guide::page("first-steps.md"));
    // The tests' own build stands in for the guide's release build.
    let (build, steps) = script.split_once("cd ").unwrap();
    assert!(build.starts_with("cargo build --release --bins"), "{build}");
    // Where the guide makes its folder.
    let folder = tempfile::Builder::new().prefix("first-").tempdir_in("/tmp");
    let folder = folder.unwrap();
    let mut shell = guide::shell(&[guide::programs()], &format!("cd {steps}"));
    let ran = Ran::of(shell.env("TMPDIR", folder.path())).ok();
    for seen in [
        "refused, as it should be",
        "spiffe://example.org/api",
        "svid.pem: OK",
        "intact: ",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

/// Runs a guide's commands in an empty folder, as a service and as an admin of `domain`.
fn run_guide(domain: &Domain, guide: &str) -> Ran {
    run_guide_with(domain, guide, &[])
}

/// The same, with variables that the guide leaves open.
fn run_guide_with(domain: &Domain, guide: &str, variables: &[(&str, String)]) -> Ran {
    let mut shell = domain.shell(&guide::commands(&guide::page(guide)));
    Ran::of(shell.envs(variables.iter().cloned())).ok()
}

#[test]
fn the_database_and_web_server_guide_works_as_written() {
    let domain = Domain::start();
    crate::postgresql::let_others_pass(&domain);
    let ports = ["DB_PORT", "WEB_PORT"].map(|name| (name, free_port().to_string()));
    let ran = run_guide_with(&domain, "guides/database-and-web-server.md", &ports);
    for seen in [
        "reports over TLSv1.3",
        "another name is refused, as it should be",
        "hello, CN=reports.example.org",
        "without a certificate, as it should be",
        "server stopped",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn the_guide_to_a_missing_identity_works_as_written() {
    let domain = Domain::start();
    let ran = run_guide(&domain, "guides/no-identity.md");
    for seen in [
        "`bulla explain me` says what was attested",
        "no entry matches",
        "unix:uid:4711",
        "nothing has the parent ID",
        "this process is spiffe://example.org/orders",
        "refused: 0",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn the_entries_guide_works_as_written() {
    let domain = Domain::server_alone(Settings::default());
    let ran = run_guide(&domain, "entries.md");
    for seen in ["nobody agreed", "1 to delete", "1 unchanged, 0 not"] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn the_watch_guide_works_as_written() {
    let domain = Domain::server_alone(Settings::default());
    let ran = run_guide(&domain, "watch.md");
    assert!(ran.out.contains("EVENTS"), "{}\n{}", ran.out, ran.err);
}

#[test]
fn the_files_guide_works_as_written() {
    let domain = Domain::start();
    domain.register("/web", []);
    domain.await_svid("/web");
    let ran = run_guide(&domain, "files.md");
    assert!(ran.out.contains("svid.pem: OK"), "{}\n{}", ran.out, ran.err);
}

#[test]
fn the_revocation_guide_works_as_written() {
    let domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let ran = run_guide(&domain, "revocation.md");
    for seen in [
        "would be revoked: jti",
        "token is revoked",
        "svid.pem: OK",
        "certificate revoked",
        "lifted: id",
        "its host was broken into",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn the_key_ceremony_works_as_written() {
    let folder = tempfile::Builder::new()
        .prefix("ceremony-")
        .tempdir_in("/tmp");
    let folder = folder.unwrap();
    let script = guide::commands(&guide::page("key-ceremony.md"));
    let mut shell = guide::shell(&[guide::programs()], &script);
    let ran = Ran::of(shell.current_dir(folder.path())).ok();
    for seen in ["offline/ca.pem: OK", "upstream disk", "retired"] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn the_policies_guide_works_as_written() {
    let domain = Domain::start();
    let example = crate::policy_folder::example().display().to_string();
    let example = [("EXAMPLE", example)];
    let ran = run_guide_with(&domain, "policies.md", &example);
    for seen in [
        "granted ['payments:charge.create']",
        "refused [('payments:charge.delete', 'invalid_scope')]",
        "refused at the service, as it should be",
        "context.now < datetime",
        "refused: one person is not enough",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
    let decided = domain.audit("decision");
    assert!(decided.len() >= 4, "{decided:#?}");
}

#[test]
fn a_leaked_key_is_tainted_and_revoked() {
    let domain = Domain::start_with(Settings::prompt());
    domain.register("/service", []);
    let before = domain.await_svid("/service");
    let ran = run_guide(&domain, "rotation.md");
    assert!(ran.out.contains("would be done: x509"), "{}", ran.out);
    let after = domain.await_svid("/service");
    assert_ne!(before["serial"], after["serial"]);
    let bundle = domain.admin(["bundle", "show", "--json"]).ok().json();
    assert_eq!(bundle["x509_authorities"].as_array().unwrap().len(), 1);
}
