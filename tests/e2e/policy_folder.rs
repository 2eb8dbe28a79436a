//! `bulla policy validate`, `test` and `import`, as an author and a CI job use them:
//! no server runs.

use std::path::{Path, PathBuf};

use bulla_tests::{Ran, bulla};

/// The example of a policy folder that ships.
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policy-example")
}

fn policy(arguments: &[&str], folder: &Path) -> Ran {
    let mut command = bulla();
    command.arg("policy").args(arguments).arg(folder);
    Ran::of(&mut command)
}

/// A copy of the example in which one file reads otherwise.
fn changed(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for part in ["catalogue", "policies", "guardrails", "tests"] {
        std::fs::create_dir(copy.path().join(part)).unwrap();
        for entry in std::fs::read_dir(example().join(part)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    let path = copy.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    copy
}

#[test]
fn a_policy_folder_is_checked_without_a_server() {
    let ran = policy(&["validate", "--deny-warnings"], &example()).ok();
    assert!(
        ran.out
            .contains("valid: 2 services, 6 permissions, 7 policies"),
        "{}",
        ran.out
    );
    let ran = policy(&["validate", "--json"], &example()).ok().json();
    assert_eq!(ran["valid"], true);
    assert!(ran["policy_set"].as_str().unwrap().starts_with("sha256:"));

    let typo = changed(
        "policies/payments.cedar",
        "payments:charge.read",
        "payments:charge.raed",
    );
    let ran = policy(&["validate"], typo.path());
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out.contains("policies/payments.cedar:1: "),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("payments:charge.raed"), "{}", ran.out);
    let ran = policy(&["validate", "--json"], typo.path());
    assert_eq!(ran.json()["faults"][0]["severity"], "error");

    let broad = changed(
        "policies/ledger.cedar",
        "Path::\"spiffe://example.org/payments\"",
        "TrustDomain::\"example.org\"",
    );
    let ran = policy(&["validate"], broad.path()).ok();
    assert!(
        ran.out
            .contains("warning: led-0001 permits every workload of example.org"),
        "{}",
        ran.out
    );
    assert_eq!(
        policy(&["validate", "--deny-warnings"], broad.path()).code,
        1
    );

    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(policy(&["validate"], nothing.path()).code, 2);
}

#[test]
fn the_tests_of_a_policy_folder_say_what_is_otherwise() {
    let ran = policy(&["test", "--deny-untested"], &example()).ok();
    assert!(ran.out.contains("14 passed, 0 failed"), "{}", ran.out);

    let longer = changed(
        "policies/payments.cedar",
        "duration(\"18h\")",
        "duration(\"20h\")",
    );
    let ran = policy(&["test"], longer.path());
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out.contains("failed: but not at night (tests/payments.json): expected deny by no policy, got allow by pay-0002"),
        "{}",
        ran.out
    );
    let ran = policy(&["test", "--json"], longer.path());
    assert_eq!(ran.json()["passed"], false);
}

#[test]
fn a_catalogue_file_is_begun_from_an_interface() {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/agent/src/json_api/openapi.json");
    let ran = policy(
        &[
            "import",
            "openapi",
            "--audience",
            "agent",
            "--owner",
            "team-identity",
        ],
        &api,
    )
    .ok();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("catalogue")).unwrap();
    std::fs::write(folder.path().join("catalogue/agent.yaml"), &ran.out).unwrap();
    let ran = policy(&["validate", "--json"], folder.path()).ok();
    assert_eq!(ran.json()["services"], 1);

    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/api/src/gen/descriptor.bin");
    let ran = policy(
        &[
            "import",
            "descriptors",
            "--audience",
            "server",
            "--owner",
            "team-identity",
        ],
        &api,
    )
    .ok();
    assert!(
        ran.out
            .contains("spire.api.server.entry.v1.Entry/ListEntries"),
        "{}",
        ran.out
    );
}
