//! The floor plan (docs/ARCHITECTURE.md): each crate may import only what its
//! row allows. Cargo refuses cycles by itself; this refuses every *new* edge
//! until somebody has thought about it and written it down here and in an ADR.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Crate, and which of ours it may import outside its tests.
const FLOORS: &[(&str, &[&str])] = &[
    ("identity", &[]),
    ("keys", &[]),
    ("pkcs11", &["keys"]),
    ("aws_kms", &["identity", "keys"]),
    ("store", &[]),
    ("journal", &[]),
    ("duty", &[]),
    ("observe", &[]),
    ("authority", &["identity", "keys", "journal"]),
    ("verify", &["identity", "policy"]),
    ("registry", &["identity"]),
    ("policy", &["identity"]),
    ("contract", &["identity"]),
    ("workload", &["identity"]),
    ("join_token", &["identity", "contract"]),
    ("unix", &["identity", "contract"]),
    ("x509_pop", &["identity", "contract"]),
    ("systemd", &["identity", "contract"]),
    ("docker", &["identity", "contract"]),
    ("external", &["identity", "contract"]),
    ("records", &["identity"]),
    ("pdp", &["identity", "policy"]),
    ("channel", &["identity", "verify", "keys"]),
    ("api", &["identity"]),
    (
        "server",
        &[
            "identity",
            "keys",
            "pkcs11",
            "aws_kms",
            "store",
            "journal",
            "duty",
            "observe",
            "authority",
            "verify",
            "registry",
            "policy",
            "pdp",
            "contract",
            "join_token",
            "x509_pop",
            "records",
            "channel",
            "api",
        ],
    ),
    (
        "agent",
        &[
            "identity",
            "keys",
            "duty",
            "observe",
            "verify",
            "policy",
            "contract",
            "join_token",
            "x509_pop",
            "unix",
            "systemd",
            "docker",
            "external",
            "workload",
            "channel",
            "api",
        ],
    ),
    (
        "cli",
        &[
            "identity", "keys", "duty", "verify", "policy", "pdp", "channel", "api", "records",
            "journal", "server", "agent",
        ],
    ),
    ("bulla-tests", &["identity", "channel", "api"]),
];

/// Crates that decide and therefore do no I/O: no runtime, no sockets, no clock.
const PURE: &[&str] = &[
    "identity",
    "keys",
    "duty",
    "authority",
    "registry",
    "policy",
    "pdp",
    "verify",
    "workload",
    "contract",
    "join_token",
    "x509_pop",
    "unix",
    "systemd",
    "docker",
    "external",
    "records",
];

const RUNTIMES: &[&str] = &[
    "tokio",
    "hyper",
    "hyper-util",
    "tonic",
    "axum",
    "tower",
    "nix",
    "rustix",
    "libc",
];

/// The traits of a middleware, behind a feature that is off by default; they start nothing.
const TRAITS_ALONE: &[(&str, &str)] = &[("verify", "tower")];

/// What this machine builds: crates for others are not downloaded by a build, and none
/// are downloaded here.
fn metadata() -> Metadata {
    let asked = Command::new("rustc").arg("-vV").output().expect("rustc");
    let asked = String::from_utf8(asked.stdout).unwrap();
    let host = asked.lines().find_map(|line| line.strip_prefix("host: "));
    let only = ["--offline", "--filter-platform", host.unwrap()];
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .other_options(only.map(str::to_owned))
        .exec()
        .expect("cargo metadata")
}

/// Each workspace member with what it imports directly outside its tests.
fn direct(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let names = |package: &cargo_metadata::Package| {
        let normal = package
            .dependencies
            .iter()
            .filter(|d| d.kind == DependencyKind::Normal);
        normal.map(|d| d.name.clone()).collect()
    };
    metadata
        .workspace_packages()
        .iter()
        .map(|p| (p.name.to_string(), names(p)))
        .collect()
}

fn violations(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let plan: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    let mut found = Vec::new();
    for (name, imports) in edges {
        let Some(allowed) = plan.get(name.as_str()) else {
            found.push(format!("{name} has no row in the floor plan"));
            continue;
        };
        for import in imports.iter().filter(|i| edges.contains_key(*i)) {
            if !allowed.contains(&import.as_str()) {
                found.push(format!(
                    "{name} imports {import}, which its floor does not allow"
                ));
            }
        }
        if PURE.contains(&name.as_str()) {
            let excused = |i: &str| TRAITS_ALONE.contains(&(name.as_str(), i));
            let runtimes = imports.iter().filter(|i| RUNTIMES.contains(&i.as_str()));
            for runtime in runtimes.filter(|i| !excused(i)) {
                found.push(format!("{name} is pure but imports {runtime}"));
            }
        }
    }
    found
}

#[test]
fn no_crate_imports_beyond_its_floor() {
    let found = violations(&direct(&metadata()));
    assert!(found.is_empty(), "floor plan broken:\n{}", found.join("\n"));
}

#[test]
fn a_forbidden_edge_is_noticed() {
    let mut edges = direct(&metadata());
    edges.get_mut("agent").unwrap().insert("authority".into());
    edges.get_mut("registry").unwrap().insert("tokio".into());
    assert_eq!(violations(&edges).len(), 2);
}

/// A node holds no code that mints: neither `authority` nor `store` nor the
/// journal is reachable from the agent, by any path. Nor is the policy engine:
/// an agent knows the words of authorization, the server decides.
#[test]
fn the_agent_cannot_reach_code_that_mints() {
    let edges = direct(&metadata());
    let mut reached = BTreeSet::new();
    let mut queue = vec!["agent".to_owned()];
    while let Some(name) = queue.pop() {
        for import in edges.get(&name).into_iter().flatten() {
            if edges.contains_key(import) && reached.insert(import.clone()) {
                queue.push(import.clone());
            }
        }
    }
    for forbidden in ["authority", "store", "journal", "records", "server", "pdp"] {
        assert!(!reached.contains(forbidden), "agent reaches {forbidden}");
    }
}

/// One crypto provider in the shipped tree.
#[test]
fn ring_is_the_only_crypto_provider() {
    let metadata = metadata();
    let names: BTreeSet<_> = metadata
        .packages
        .iter()
        .map(|p| p.name.to_string())
        .collect();
    for other in [
        "aws-lc-rs",
        "aws-lc-sys",
        "openssl",
        "openssl-sys",
        "native-tls",
    ] {
        let used = metadata.resolve.as_ref().is_some_and(|r| {
            r.nodes
                .iter()
                .any(|n| n.deps.iter().any(|d| d.name == other.replace('-', "_")))
        });
        assert!(!used || !names.contains(other), "{other} is in the tree");
    }
}
