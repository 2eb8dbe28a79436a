//! Manifests stay lean: shared lints everywhere, versions only in the root; and peers in
//! Python are the same next year.

use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn members() -> Vec<PathBuf> {
    let mut found = vec![root().join("tests/Cargo.toml")];
    for folder in ["src", "attestors"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            found.push(entry.unwrap().path().join("Cargo.toml"));
        }
    }
    found
}

#[test]
fn every_member_inherits_the_lints_and_the_versions() {
    for path in members() {
        let text = std::fs::read_to_string(&path).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let lints = manifest["lints"]["workspace"].as_bool();
        assert_eq!(
            lints,
            Some(true),
            "{} does not inherit the lints",
            path.display()
        );
        for section in ["dependencies", "dev-dependencies"] {
            for (name, spec) in manifest
                .get(section)
                .and_then(|t| t.as_table())
                .into_iter()
                .flatten()
            {
                let inherited = spec.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(
                    inherited,
                    Some(true),
                    "{}: {name} names its own version",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_visible_top_level_is_the_cards() {
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "attestors",
        "deploy",
        "docs",
        "src",
        "tests",
    ];
    let mut seen: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    seen.sort();
    assert_eq!(seen, expected);
}

/// Every requirement of a Python peer names one version.
#[test]
fn python_peers_are_pinned() {
    let mut seen = 0;
    for peer in [
        "interop/python",
        "interop/envoy",
        "e2e/moto",
        "e2e/schemathesis",
    ] {
        let path = root().join("tests").join(peer).join("requirements.txt");
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let exact = line.split_once("==");
            let exact = exact.is_some_and(|(_, version)| !version.contains(['*', ',', ' ']));
            assert!(exact, "{}: {line:?} is not NAME==VERSION", path.display());
            seen += 1;
        }
    }
    assert!(seen > 4, "only {seen} requirements");
}
