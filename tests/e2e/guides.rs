//! The guides, run as they are written.

use std::path::Path;
use std::process::Command;

use bulla_tests::{Domain, Ran, Settings};

/// The indented command blocks of a guide, in order.
fn commands(guide: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(guide);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_steps_guide_works_as_written() {
    let script = commands("first-steps.md");
    // The tests' own build stands in for the guide's release build.
    let (build, steps) = script.split_once("mkdir").unwrap();
    assert!(build.starts_with("cargo build --release --bins"), "{build}");
    let programs = bulla_tests::program("bulla").parent().unwrap().to_owned();
    let old = Path::new("/tmp/bulla-first");
    if old.exists() {
        std::fs::remove_dir_all(old).unwrap();
    }
    let script = format!(
        "set -e\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\nexport PATH=\"{}:$PATH\"\nmkdir{steps}",
        programs.display()
    );
    let mut command = Command::new("timeout");
    command
        .args(["60", "bash", "-c", &script])
        .env_remove("BULLA_JOIN_TOKEN");
    let ran = Ran::of(&mut command).ok();
    for seen in [
        "refused, as it should be",
        "spiffe://example.org/api",
        "svid.pem: OK",
        "intact: ",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
    std::fs::remove_dir_all(old).unwrap();
}

/// Runs a guide's commands in a folder of `domain`, as a service and as an admin of it.
fn run_guide(domain: &Domain, guide: &str) -> Ran {
    run_guide_with(domain, guide, &[])
}

/// The same, with variables that the guide leaves open.
fn run_guide_with(domain: &Domain, guide: &str, variables: &[(&str, String)]) -> Ran {
    let folder = domain.path("guide");
    std::fs::create_dir(&folder).unwrap();
    let programs = bulla_tests::program("bulla").parent().unwrap().to_owned();
    let script = format!(
        "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\nexport PATH=\"{}:$PATH\"\n{}",
        programs.display(),
        commands(guide)
    );
    let mut command = Command::new("timeout");
    command
        .args(["60", "bash", "-c", &script])
        .current_dir(folder)
        .env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint())
        .env("BULLA_ADMIN_SOCKET", domain.admin_socket())
        .env("BULLA_AGENT_ADMIN_SOCKET", domain.path("agent/admin.sock"))
        .envs(variables.iter().cloned());
    Ran::of(&mut command).ok()
}

/// A port that nobody has; somebody else is unlikely to take it at once.
fn free_port() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port().to_string()
}

#[test]
fn the_database_and_web_server_guide_works_as_written() {
    let domain = Domain::start();
    crate::postgresql::let_others_pass(&domain);
    let ports = [("DB_PORT", free_port()), ("WEB_PORT", free_port())];
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
        "no entry matches this process",
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
    let programs = bulla_tests::program("bulla").parent().unwrap().to_owned();
    let script = format!(
        "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\nexport PATH=\"{}:$PATH\"\n{}",
        programs.display(),
        commands("key-ceremony.md")
    );
    let mut command = Command::new("timeout");
    command
        .args(["90", "bash", "-c", &script])
        .current_dir(folder.path())
        .env_remove("BULLA_ADMIN_SOCKET");
    let ran = Ran::of(&mut command).ok();
    for seen in ["offline/ca.pem: OK", "upstream disk", "retired"] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn the_policies_guide_works_as_written() {
    let domain = Domain::start();
    domain.register("/checkout/web", []);
    domain.register("/oncall/console", []);
    domain.register("/people/ada", ["--admin-workload"]);
    domain.await_svid("/people/ada");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let more = [
        (
            "EXAMPLE",
            here.join("../deploy/policy-example").display().to_string(),
        ),
        ("SERVER", format!("127.0.0.1:{}", domain.port())),
    ];
    let ran = run_guide_with(&domain, "policies.md", &more);
    for seen in [
        "granted ['payments:charge.create']",
        "refused [('payments:charge.delete', 'invalid_scope')]",
        "refused at the service, as it should be",
        "context.weekday == 8",
        "refused: one person is not enough",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
    let decided = domain.audit("decision");
    assert!(decided.len() >= 4, "{decided:#?}");
}

#[test]
fn a_leaked_key_is_tainted_and_revoked() {
    let domain = Domain::start_with(Settings {
        server: "[rotation]\nschedule = \"* * * * * *\"\npropagation = \"1s\"\n".to_owned(),
        ..Settings::default()
    });
    domain.register("/service", []);
    let before = domain.await_svid("/service");
    let programs = bulla_tests::program("bulla").parent().unwrap().to_owned();
    let script = format!(
        "set -e\nexport PATH=\"{}:$PATH\"\n{}",
        programs.display(),
        commands("rotation.md")
    );
    let mut command = Command::new("timeout");
    command
        .args(["60", "bash", "-c", &script])
        .current_dir(domain.path(""))
        .env("BULLA_ADMIN_SOCKET", domain.admin_socket())
        .env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint());
    let ran = Ran::of(&mut command).ok();
    assert!(ran.out.contains("would be done: x509"), "{}", ran.out);
    let after = domain.await_svid("/service");
    assert_ne!(before["serial"], after["serial"]);
    let bundle = domain.admin(["bundle", "show", "--json"]).ok().json();
    assert_eq!(bundle["x509_authorities"].as_array().unwrap().len(), 1);
}
