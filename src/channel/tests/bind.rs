//! Binding a Unix socket: what may be in the way, and what may lead there.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use channel::uds::{BindError, SocketOptions, bind};
use tempfile::TempDir;

fn safe_dir() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.sock");
    (dir, path)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn makes_directories_and_sets_exactly_the_modes_asked() {
    let (dir, _) = safe_dir();
    let workload = dir.path().join("run/agent/workload.sock");
    let admin = dir.path().join("run/agent/admin.sock");
    let _workload = bind(&workload, SocketOptions::WORKLOAD).unwrap();
    let _admin = bind(&admin, SocketOptions::ADMIN).unwrap();
    assert_eq!(mode(&workload), 0o666);
    assert_eq!(mode(&admin), 0o600);
    assert_eq!(mode(admin.parent().unwrap()), 0o755);
    tokio::net::UnixStream::connect(&workload).await.unwrap();
}

#[tokio::test]
async fn replaces_a_dead_socket_but_not_a_living_one() {
    let (_dir, path) = safe_dir();
    let first = bind(&path, SocketOptions::ADMIN).unwrap();
    let second = bind(&path, SocketOptions::ADMIN);
    assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
    tokio::net::UnixStream::connect(&path).await.unwrap();
    drop(first);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let _third = bind(&path, SocketOptions::ADMIN).unwrap();
    tokio::net::UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn refuses_files_directories_and_links_in_the_way_and_leaves_them() {
    let (dir, path) = safe_dir();
    let target = dir.path().join("target");
    let plants: [fn(&Path, &Path); 4] = [
        |path, _| fs::write(path, b"keep me").unwrap(),
        |path, _| fs::create_dir(path).unwrap(),
        |path, target| symlink(target, path).unwrap(), // to nothing
        |path, target| {
            fs::write(target, b"keep me").unwrap();
            symlink(target, path).unwrap();
        },
    ];
    for plant in plants {
        plant(&path, &target);
        let refused = bind(&path, SocketOptions::WORKLOAD);
        assert!(
            matches!(refused, Err(BindError::InTheWay { .. })),
            "{refused:?}"
        );
        assert!(fs::symlink_metadata(&path).is_ok());
        let _removed = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
    assert_eq!(fs::read(&target).unwrap(), b"keep me");
}

#[tokio::test]
async fn refuses_a_directory_that_others_may_write_unless_it_is_sticky() {
    let (dir, _) = safe_dir();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let path = shared.join("deeper/a.sock");
    set_mode(&shared, 0o777);
    let refused = bind(&path, SocketOptions::WORKLOAD).unwrap_err();
    assert!(
        matches!(refused, BindError::UnsafeDirectory { .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("chmod o-w"), "{refused}");
    set_mode(&shared, 0o1777);
    let _bound = bind(&path, SocketOptions::WORKLOAD).unwrap();
}

#[tokio::test]
async fn refuses_what_belongs_to_another_user() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test gives files to another user, which is root's to do: run it as root"
    );
    let stranger = Some(nix::unistd::Uid::from_raw(12_345));
    let (dir, _) = safe_dir();
    let theirs = dir.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    nix::unistd::chown(&theirs, stranger, None).unwrap();
    let refused = bind(&theirs.join("a.sock"), SocketOptions::WORKLOAD);
    assert!(
        matches!(refused, Err(BindError::UnsafeDirectory { .. })),
        "{refused:?}"
    );

    let squatted = dir.path().join("squatted.sock");
    drop(std::os::unix::net::UnixListener::bind(&squatted).unwrap());
    nix::unistd::chown(&squatted, stranger, None).unwrap();
    let refused = bind(&squatted, SocketOptions::WORKLOAD);
    assert!(
        matches!(refused, Err(BindError::InTheWay { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn follows_links_among_the_directories_to_what_they_mean() {
    let (dir, _) = safe_dir();
    fs::create_dir(dir.path().join("run")).unwrap();
    symlink(dir.path().join("run"), dir.path().join("var-run")).unwrap();
    let _bound = bind(&dir.path().join("var-run/a.sock"), SocketOptions::WORKLOAD).unwrap();
    assert!(dir.path().join("run/a.sock").exists());
}

#[tokio::test]
async fn refuses_paths_no_socket_can_have() {
    let (dir, _) = safe_dir();
    let long = dir.path().join("x".repeat(108));
    for path in [Path::new("relative.sock"), Path::new("/"), &long] {
        let refused = bind(path, SocketOptions::WORKLOAD);
        assert!(
            matches!(refused, Err(BindError::Path { .. })),
            "{refused:?}"
        );
    }
}
