//! Files are read strictly, and the schema that editors use says the same.

use super::*;

const GOOD: &str = "\
trust_domain: example.org
entries:
  - spiffe_id: spiffe://example.org/api
    parent_id: spiffe://example.org/node
    selectors: [unix:uid:1000]
    x509_ttl: 600
  - id: web
    spiffe_id: spiffe://example.org/web
    parent_id: spiffe://example.org/node
    selectors:
      - unix:uid:1001
";

fn complaint(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.yaml"), text).unwrap();
    read(&[dir.path().to_owned()]).unwrap_err().what
}

#[test]
fn a_good_file_is_read_with_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("more")).unwrap();
    std::fs::write(dir.path().join("more/a.yaml"), GOOD).unwrap();
    std::fs::write(dir.path().join("README.md"), "not an entry").unwrap();
    let all = read(&[dir.path().to_owned()]).unwrap();
    assert_eq!((all.files, all.wanted.len()), (1, 2));
    assert_eq!(all.wanted[0].entry.x509_svid_ttl, 600);
    assert!(
        all.wanted[1].place.ends_with("more/a.yaml:7"),
        "{}",
        all.wanted[1].place
    );
}

#[test]
fn every_complaint_names_file_and_line() {
    for (from, to, line, what) in [
        ("x509_ttl", "x509_tll", 6, "x509_tll"),
        ("x509_ttl: 600", "x509_ttl: soon", 6, "i32"),
        ("x509_ttl: 600", "x509_ttl: -1", 3, "negative"),
        ("[unix:uid:1000]", "[]", 3, "selector"),
        ("[unix:uid:1000]", "[uid]", 3, "selector"),
        (
            "spiffe://example.org/api",
            "example.org/api",
            3,
            "SPIFFE ID",
        ),
        ("trust_domain: example.org", "owner: me", 1, "owner"),
        (
            "    parent_id: spiffe://example.org/node\n    selectors: [",
            "    selectors: [",
            5,
            "parent_id",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        let seen = complaint(&text);
        assert!(seen.contains(what), "{to}: {seen}");
        assert!(seen.contains(&format!("a.yaml:{line}:")), "{to}: {seen}");
    }
}

#[test]
fn what_is_described_twice_is_refused() {
    let again = GOOD.replace("spiffe://example.org/web", "spiffe://example.org/api");
    let same = again.replace("unix:uid:1001", "unix:uid:1000");
    assert!(complaint(&same).contains("as at"));
    let ids = GOOD.replacen("  - spiffe_id", "  - id: web\n    spiffe_id", 1);
    assert!(complaint(&ids).contains("the same id"));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test's switch, not configuration of the product"
)]
fn the_schema_for_editors_is_that_of_the_types() {
    let schema = schemars::schema_for!(Document);
    let mut text = serde_json::to_string_pretty(&schema).unwrap();
    text.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/entries.schema.json");
    if std::env::var_os("BULLA_REGENERATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    // Compared as values: whether serde_json keeps the order of members depends on
    // what else is built.
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written, expected, "run with BULLA_REGENERATE=1");
}
