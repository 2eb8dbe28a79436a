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

/// A condition of under 500 bytes that used to end the process, and far worse ones.
pub(crate) fn nested() -> Vec<String> {
    let around =
        |open: &str, close: &str, n: usize| format!("{}true{}", open.repeat(n), close.repeat(n));
    vec![
        around("(", ")", 130),
        around("(", ")", 1_000),
        around("(", ")", 100_000),
        around("!(", ")", 50_000),
        around("[", "]", 50_000),
        around("{a: ", "}", 50_000),
        around("if true then ", " else false", 20_000),
        vec!["context.pop"; 50_000].join(" && "),
    ]
}

pub(crate) fn with_condition(condition: &str) -> tempfile::TempDir {
    changed(
        "policies/payments.cedar",
        "@id(\"pay-0001\")",
        &format!(
            "@id(\"nested\") @owner(\"o\") @rationale(\"r\")\n\
             permit (principal, action, resource == Audience::\"payments\") when {{ {condition} }};\n\
             @id(\"pay-0001\")"
        ),
    )
}

#[test]
fn u1_policies_and_schemas_that_nest_deep_are_refused_offline() {
    for condition in nested() {
        let folder = with_condition(&condition);
        for command in ["validate", "test"] {
            let ran = policy(&[command], folder.path());
            let begins: String = condition.chars().take(20).collect();
            assert_eq!(ran.code, 1, "{command} {begins}: {}", ran.err);
            assert!(
                ran.out.contains("policies/payments.cedar:2: ")
                    && ran.out.contains("nests too deep"),
                "{command} {begins}: {}",
                ran.out
            );
        }
    }
    let schema = |n: usize| format!("{}{{}}{}", "{\"not\": ".repeat(n), "}".repeat(n));
    for n in [40, 60, 1_000, 100_000] {
        let details = format!(
            "risk: high\n    details: {{'urn:example:deep': {}}}\n    since: 2025-03-01",
            schema(n)
        );
        let folder = changed(
            "catalogue/payments.yaml",
            "risk: high\n    since: 2025-03-01",
            &details,
        );
        let ran = policy(&["validate"], folder.path());
        assert_eq!(ran.code, 1, "{n}: {}", ran.err);
        assert!(ran.out.contains("catalogue/payments.yaml"), "{}", ran.out);
    }
}
