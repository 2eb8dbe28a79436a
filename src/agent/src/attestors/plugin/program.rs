//! The very bytes that were checked are the bytes that run: they are copied into
//! memory while they are hashed, sealed there, and executed from there. What
//! happens to the file afterwards is of no account.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use ring::digest::{Context, SHA256};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// The largest program, in bytes.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
const CHUNK: usize = 256 * 1024;

/// The program at `path` in sealed memory, if its SHA-256 is `expected`. Blocks.
pub(super) fn checked(path: &Path, expected: [u8; 32]) -> Result<OwnedFd, String> {
    let unusable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut file = File::open(path).map_err(unusable)?;
    if !file.metadata().map_err(unusable)?.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let no_memory = |error: Errno| format!("a program cannot be kept in memory: {error}");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know that a program has to be declared as one.
    let sealed = memfd_create("attestor", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("attestor", flags))
        .map_err(no_memory)?;
    let mut copy = File::from(sealed);
    let mut context = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK];
    let mut left = MAX_BYTES;
    let mut is_script = false;
    loop {
        let read = file.read(&mut chunk).map_err(unusable)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        left = left
            .checked_sub(u64::try_from(read).unwrap_or(u64::MAX))
            .ok_or_else(|| format!("{} has over {MAX_BYTES} bytes", path.display()))?;
        is_script |= left.saturating_add(u64::try_from(read).unwrap_or(0)) == MAX_BYTES
            && bytes.starts_with(b"#!");
        context.update(bytes);
        copy.write_all(bytes).map_err(unusable)?;
    }
    let found = context.finish();
    if found.as_ref() != expected {
        return Err(format!(
            "{} has the SHA-256 {}, which is not the configured one",
            path.display(),
            hex::encode(found)
        ));
    }
    if is_script {
        // Its interpreter would have to open it by a name, which it has none.
        return Err(format!(
            "{} is a script; only compiled programs are run",
            path.display()
        ));
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals).map_err(no_memory)?;
    // A file that is open for writing is not executed: opened once more for reading.
    reopened(copy).map_err(unusable)
}

fn reopened(copy: File) -> std::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    File::open(path).map(OwnedFd::from)
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        let digest = ring::digest::digest(&SHA256, bytes);
        digest.as_ref().try_into().unwrap()
    }

    #[test]
    fn scripts_are_refused_by_name() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("plugin");
        std::fs::write(&path, b"#!/bin/sh\n").unwrap();
        let refused = checked(&path, sha256(b"#!/bin/sh\n")).unwrap_err();
        assert!(refused.contains("is a script"), "{refused}");
    }

    #[test]
    fn only_the_expected_bytes_are_taken_and_they_cannot_change_any_more() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("plugin");
        std::fs::write(&path, b"honest").unwrap();
        let expected = sha256(b"honest");
        let mut program = File::from(checked(&path, expected).unwrap());
        std::fs::write(&path, b"hostile").unwrap();
        let mut bytes = String::new();
        program.rewind().unwrap();
        program.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "honest");
        assert!(program.write_all(b"x").is_err());
        let refused = checked(&path, expected).unwrap_err();
        assert!(refused.contains("not the configured one"), "{refused}");
        assert!(checked(folder.path(), expected).is_err());
        assert!(checked(Path::new("/dev/zero"), expected).is_err());
    }
}
