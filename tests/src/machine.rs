//! What tests ask of the machine they run on: root's rights, a port, and what the
//! kernel says of a process.

use std::fs;
use std::net::TcpListener;

/// Insists on root. `what` completes "this test …".
///
/// # Panics
/// The tester is somebody else: nothing that was not tested may look tested.
pub fn need_root(what: &str) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test {what}, which is root's to do: run it as root, in a container or on a \
         machine that you can throw away"
    );
}

/// A port that nobody has: bound and released. Somebody else is unlikely to take it at once.
#[must_use]
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// Open descriptors of a process.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Resident memory of a process, KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}
