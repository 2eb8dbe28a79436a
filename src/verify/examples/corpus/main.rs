//! Writes `tests/corpus`: good and bad IDs, chains, tokens and bundle documents with
//! a verdict and a reason each. See the README there.
//!
//! usage: cargo run -p verify --example corpus
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a tool of the tests, which share their kit with it"
)]

mod bundles;
mod chains;
mod ids;
mod intermediates;
#[path = "../../tests/verify/kit.rs"]
mod kit;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keys::{KeyType, generate_pkcs8};
use serde_json::Value;

/// The folder that is written.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus")
}

pub(crate) fn write(name: &str, content: &str) {
    let path = folder().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// An index: `{"cases": [...]}`, one case for a line or more.
pub(crate) fn write_index(name: &str, cases: &[Value]) {
    let cases: Vec<String> = cases.iter().map(ToString::to_string).collect();
    let text = format!("{{\"cases\": [\n  {}\n]}}\n", cases.join(",\n  "));
    write(name, &text);
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// The PKCS#8 of a key of the corpus, made when it is not there yet.
pub(crate) fn key(name: &str, key_type: KeyType) -> Vec<u8> {
    let file = format!("keys/{name}.pem");
    if let Ok(text) = fs::read_to_string(folder().join(&file)) {
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        return STANDARD.decode(body).unwrap();
    }
    let (pkcs8, _) = generate_pkcs8(key_type, &kit::rng()).unwrap();
    write(&file, &pem("PRIVATE KEY", &pkcs8));
    pkcs8.to_vec()
}

fn main() {
    ids::write_all();
    chains::write_all();
    bundles::write_all();
    tokens::write_all();
}
