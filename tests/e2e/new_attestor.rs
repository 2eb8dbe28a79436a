//! The guide for a new attestor, followed as it is written: its files are cut
//! out of the page, put into a copy of the workspace, and their tests run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_tests::Ran;

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}

/// The blocks of the guide that name a file.
fn files(guide: &str) -> Vec<(String, String)> {
    let blocks = guide.split("\n```").skip(1).step_by(2);
    let named = blocks.filter_map(|block| {
        let (info, text) = block.split_once('\n')?;
        let (_language, path) = info.split_once(' ')?;
        Some((path.to_owned(), format!("{text}\n")))
    });
    named.collect()
}

/// A workspace like this one, in which nothing of this one can be changed.
fn workspace_beside() -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-attestor");
    let _none_yet = fs::remove_dir_all(&copy);
    fs::create_dir_all(copy.join("attestors")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(root().join(file), copy.join(file)).unwrap();
    }
    for folder in ["src", "tests"] {
        symlink(root().join(folder), copy.join(folder)).unwrap();
    }
    for attestor in fs::read_dir(root().join("attestors")).unwrap() {
        let attestor = attestor.unwrap();
        symlink(
            attestor.path(),
            copy.join("attestors").join(attestor.file_name()),
        )
        .unwrap();
    }
    copy
}

#[test]
fn the_guide_for_a_new_attestor_works_as_written() {
    let guide = fs::read_to_string(root().join("docs/adding-an-attestor.md")).unwrap();
    let copy = workspace_beside();
    let files = files(&guide);
    assert_eq!(files.len(), 3);
    for (path, text) in files {
        let path = copy.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    // What other crates were built to is shared; what is here is built anew.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--offline", "--package", "folder", "--target-dir"])
        .arg(target)
        .current_dir(&copy);
    let ran = Ran::of(&mut command).ok();
    assert!(
        ran.out.contains("test tests::passes_the_battery ... ok"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("4 passed"), "{}", ran.out);
}
