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
    for folder in ["docs", "deploy", "tests"] {
        markdown(&root().join(folder), &mut files);
    }
    for read in ["deploy/policy-example/README.md", "tests/corpus/README.md"] {
        assert!(
            files.contains(&root().join(read)),
            "{read} is not looked at"
        );
    }
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

/// The README leads to every page.
#[test]
fn the_readme_leads_to_every_page() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut pages = Vec::new();
    markdown(&root().join("docs"), &mut pages);
    for page in pages {
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap();
        // Decisions are found from the folder and from the pages they concern.
        let is_led_to = name.starts_with("docs/adr/") || links(&readme).contains(&name);
        assert!(is_led_to, "README.md does not link {name}");
    }
}

/// The page about the server's API names every service that the server offers beside
/// SPIRE's.
#[test]
fn the_server_api_names_every_service_of_ours() {
    let page = std::fs::read_to_string(root().join("docs/server-api.md")).unwrap();
    let mut services = 0;
    for package in std::fs::read_dir(root().join("src/api/proto/bulla")).unwrap() {
        let package = package.unwrap().path();
        // The agent's, on the workload socket.
        if package.ends_with("workload") {
            continue;
        }
        for proto in std::fs::read_dir(package.join("v1")).unwrap() {
            let proto = std::fs::read_to_string(proto.unwrap().path()).unwrap();
            let lines = proto
                .lines()
                .filter_map(|line| line.strip_prefix("service "));
            for service in lines.filter_map(|line| line.split(' ').next()) {
                let package = package.file_name().unwrap().to_str().unwrap();
                let name = format!("`bulla.{package}.v1.{service}");
                assert!(page.contains(&name), "docs/server-api.md lacks {name}`");
                services += 1;
            }
        }
    }
    assert!(services >= 12, "only {services} services");
}

/// A decision record's number is its own, and stands before its name.
#[test]
fn every_decision_has_a_number() {
    let mut numbers = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(root().join("docs/adr")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let number = name.split('-').next().unwrap().to_owned();
        assert!(number.len() == 4 && number.parse::<u16>().is_ok(), "{name}");
        assert!(numbers.insert(number), "{name}: another has that number");
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
