//! Generations: whole, private, two at a time, and safe against what others do.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use nix::unistd::geteuid;

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
fn a6_a_folder_that_its_group_or_another_user_may_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("above/tls");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |why: &str| {
        let failure = Folder::open(&path, "x509", OWN).err().unwrap();
        assert!(failure.what.contains(why), "{failure}");
        assert!(failure.next.is_some(), "{failure}");
    };
    // Made by us, it is fit, whatever the umask.
    drop(Folder::open(&path, "x509", OWN).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o022, 0);
    mode(&path, 0o770);
    refused("its group may write");
    mode(&path, 0o1777);
    refused("anybody may write");
    mode(&path, 0o755);
    let above = path.parent().unwrap().to_owned();
    mode(&above, 0o777);
    refused("anybody may write");
    mode(&above, 0o775);
    refused("its group may write");
    mode(&above, 0o1777);
    assert!(
        Folder::open(&path, "x509", OWN).is_ok(),
        "only owners rename"
    );
    assert!(
        geteuid().is_root(),
        "this test gives folders away: run it as root"
    );
    let give = |path: &Path, to| std::os::unix::fs::chown(path, Some(to), None).unwrap();
    give(&path, 4_000_000);
    refused("belongs to user 4000000");
    let for_them = Ownership {
        owner: Some(nix::unistd::Uid::from_raw(4_000_000)),
        ..OWN
    };
    assert!(Folder::open(&path, "x509", for_them).is_ok());
    give(&path, 0);
    give(&above, 4_000_000);
    refused("above the folder, belongs to user 4000000");
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
