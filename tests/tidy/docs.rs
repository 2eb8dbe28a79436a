//! Documents do not rot silently: relative links resolve, and each mitigation
//! in SECURITY.md names a test that exists.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
}

fn links(text: &str) -> Vec<&str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .filter(|t| !t.starts_with("http") && !t.starts_with('#'))
        .collect()
}

#[test]
fn relative_links_resolve() {
    let mut files = vec![root().join("README.md")];
    markdown(&root().join("docs"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in links(&text) {
            let path = link.split('#').next().unwrap();
            let target = file.parent().unwrap().join(path);
            assert!(
                target.exists(),
                "{}: link to {link} leads nowhere",
                file.display()
            );
        }
    }
}

fn every_test_source(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            every_test_source(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// A mitigation in SECURITY.md ends in `test: name`, with backticks around the name.
#[test]
fn every_mitigation_names_a_test_that_exists() {
    let text = std::fs::read_to_string(root().join("docs/SECURITY.md")).unwrap();
    let mut source = String::new();
    for folder in ["src", "attestors", "tests"] {
        every_test_source(&root().join(folder), &mut source);
    }
    let mut named = 0;
    for name in text
        .split("test: `")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
    {
        named += 1;
        assert!(
            source.contains(&format!("fn {name}(")),
            "SECURITY.md names {name}, no such test"
        );
    }
    assert!(named >= 20, "only {named} mitigations name a test");
}
