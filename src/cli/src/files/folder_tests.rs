//! Generations: whole, private, two at a time, and safe against what others do.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

const OWN: Ownership = Ownership {
    owner: None,
    group: None,
    key_mode: 0o600,
};

fn pair(text: &str) -> Vec<NewFile> {
    let file = |name: &str, secret| NewFile {
        name: name.into(),
        contents: Zeroizing::new(text.to_owned()),
        secret,
        plain: true,
    };
    vec![file("svid.pem", false), file("svid-key.pem", true)]
}

#[test]
fn plain_names_show_the_newest_generation_and_the_last_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), "x509", OWN).unwrap();
    for (n, text) in ["one", "two", "three"].iter().enumerate() {
        let number = folder.put(&pair(text)).unwrap();
        assert_eq!(number, n as u64 + 1);
        for name in ["svid.pem", "svid-key.pem", "x509/svid.pem"] {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), *text);
        }
    }
    let key = fs::metadata(dir.path().join("svid-key.pem")).unwrap();
    assert_eq!(key.mode() & 0o777, 0o600);
    let mut kept = folder.generations().unwrap();
    kept.sort_unstable();
    assert_eq!(kept, [2, 3]);
}

#[test]
fn numbers_go_on_after_a_restart_and_a_half_written_generation_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), "x509", OWN).unwrap();
    folder.put(&pair("one")).unwrap();
    drop(folder);
    // As if the machine had stopped in the middle of the next one.
    fs::create_dir(dir.path().join(".x509-2")).unwrap();
    fs::write(dir.path().join(".x509-2/svid.pem"), "torn").unwrap();
    let mut folder = Folder::open(dir.path(), "x509", OWN).unwrap();
    let read = || fs::read_to_string(dir.path().join("svid.pem")).unwrap();
    assert_eq!(read(), "one");
    assert_eq!(folder.put(&pair("three")).unwrap(), 3);
    assert_eq!(read(), "three");
    assert!(!dir.path().join(".x509-2").exists());
}

#[test]
fn plain_files_of_before_become_links() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("svid.pem"), "by hand").unwrap();
    let mut folder = Folder::open(dir.path(), "x509", OWN).unwrap();
    folder.put(&pair("one")).unwrap();
    assert!(dir.path().join("svid.pem").is_symlink());
}

#[test]
fn one_process_at_a_time_keeps_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::open(dir.path(), "x509", OWN).unwrap();
    let second = Folder::open(dir.path(), "x509", OWN).err().unwrap();
    assert!(second.what.contains("another process"), "{second}");
    assert!(Folder::open(dir.path(), "jwt", OWN).is_ok());
    drop(first);
    assert!(Folder::open(dir.path(), "x509", OWN).is_ok());
}

#[test]
fn a_folder_that_anybody_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let failure = Folder::open(dir.path(), "x509", OWN).err().unwrap();
    assert!(failure.what.contains("anybody may write"), "{failure}");
}

#[test]
fn a_planted_link_leads_nothing_astray_and_a_failure_leaves_the_old_files() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), "x509", OWN).unwrap();
    folder.put(&pair("one")).unwrap();
    symlink(elsewhere.path(), dir.path().join(".x509-2")).unwrap();
    assert!(folder.put(&pair("two")).is_err());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    let read = || fs::read_to_string(dir.path().join("svid.pem")).unwrap();
    assert_eq!(read(), "one");
    // The next number is free again.
    folder.put(&pair("three")).unwrap();
    assert_eq!(read(), "three");
}
