//! Files stay readable: each opens with why it exists, none grows without end.

use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "gen" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

pub(crate) fn all() -> Vec<(PathBuf, String)> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut found = Vec::new();
    for folder in ["src", "attestors", "tests"] {
        rust_files(&root.join(folder), &mut found);
    }
    found
        .into_iter()
        .map(|p| (p.clone(), std::fs::read_to_string(p).unwrap()))
        .collect()
}

#[test]
fn every_file_opens_with_why_it_exists() {
    let bare: Vec<_> = all()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(bare.is_empty(), "files without an opening //!: {bare:#?}");
}

#[test]
fn no_file_outgrows_a_sitting() {
    let long: Vec<_> = all()
        .into_iter()
        .map(|(path, text)| (text.lines().count(), path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "files over {LINES_MAX} lines: {long:#?}");
}

#[test]
fn nothing_is_left_unfinished() {
    // Assembled so that this file does not find itself.
    let marks = [
        ["todo", "!("],
        ["unimplemented", "!("],
        ["TO", "DO"],
        ["FIX", "ME"],
        ["#[ign", "ore"],
    ];
    let marks: Vec<String> = marks.iter().map(|parts| parts.concat()).collect();
    for (path, text) in all() {
        for mark in &marks {
            assert!(
                !text.contains(mark.as_str()),
                "{} contains {mark}",
                path.display()
            );
        }
    }
}
