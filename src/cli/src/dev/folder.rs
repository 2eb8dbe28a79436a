//! The folder a development trust domain lives in: made by us, marked as ours,
//! and emptied only when it carries the mark and nobody runs on it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Marks a folder that `bulla dev` made and may empty; locked by whoever runs on it.
const MARK: &str = ".bulla-dev";

/// The longest path a Unix socket may have, in bytes, less what we append.
const PATH_BYTES_MAX: usize = 80;

/// A prepared folder.
pub(super) struct Folder {
    path: PathBuf,
    // Held for its lock.
    _mark: File,
}

impl Folder {
    /// Makes the folder, or empties the one an earlier run left.
    ///
    /// # Errors
    /// It exists and is not ours, another `bulla dev` runs on it, or it cannot be
    /// written.
    pub(super) fn prepare(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(
                Failure::usage(format!("{} is too long for Unix sockets", path.display()))
                    .next("choose a shorter one with --dir"),
            );
        }
        if !path.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)?;
            // Whoever comes second finds the mark, or has made it.
            open_mark(&path, true)?;
        }
        let mark = claim(&path)?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_name() == MARK {
                continue;
            }
            // A link is removed, not followed.
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        for part in ["server", "agent", "bin"] {
            fs::DirBuilder::new().mode(0o700).create(path.join(part))?;
        }
        Ok(Self { path, _mark: mark })
    }

    /// The folder of this user when none is named.
    #[must_use]
    pub(super) fn of_user() -> PathBuf {
        std::env::temp_dir().join(format!("bulla-dev-{}", nix::unistd::getuid()))
    }

    /// The folder itself.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The server's admin socket.
    #[must_use]
    pub(super) fn admin_socket(&self) -> PathBuf {
        self.path.join("server/admin.sock")
    }

    /// The agent's workload socket.
    #[must_use]
    pub(super) fn workload_socket(&self) -> PathBuf {
        self.path.join("agent/workload.sock")
    }

    /// The agent's admin socket.
    #[must_use]
    pub(super) fn agent_admin_socket(&self) -> PathBuf {
        self.path.join("agent/admin.sock")
    }

    /// A copy of this program under a name of its own, so that the kernel sees
    /// another executable path: a service with a selector of its own.
    ///
    /// # Errors
    /// The program cannot be linked or copied.
    pub(super) fn service(&self, program: &Path, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join("bin").join(name);
        if fs::hard_link(program, &path).is_err() {
            fs::copy(program, &path)?;
        }
        Ok(path)
    }

    /// Writes both configuration files.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn write_configuration(&self, trust_domain: &str) -> Result<(), Failure> {
        let at = |name: &str| self.path.join(name).display().to_string();
        let server = format!(
            "trust_domain = {trust_domain:?}\ndata_dir = {:?}\nlisten = \"127.0.0.1:0\"\n\
             admin_socket = {:?}\n\n[rotation]\npropagation = \"1s\"\n",
            at("server/data"),
            at("server/admin.sock")
        );
        fs::write(self.path.join("server.toml"), server)?;
        Ok(())
    }

    /// Writes the agent's configuration, once the server's address and bundle
    /// are known.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn write_agent_configuration(
        &self,
        trust_domain: &str,
        server: &str,
        pin: &str,
    ) -> Result<(), Failure> {
        let at = |name: &str| self.path.join(name).display().to_string();
        let agent = format!(
            "trust_domain = {trust_domain:?}\ndata_dir = {:?}\nworkload_socket = {:?}\n\
             admin_socket = {:?}\n\n[server]\naddress = {server:?}\n\n[trust]\n\
             bundle_sha256 = [{pin:?}]\n",
            at("agent/data"),
            at("agent/workload.sock"),
            at("agent/admin.sock")
        );
        fs::write(self.path.join("agent.toml"), agent)?;
        Ok(())
    }
}

fn open_mark(path: &Path, create: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path.join(MARK))
}

/// Locks the mark of a folder that is ours, and writes into it who runs.
fn claim(path: &Path) -> Result<File, Failure> {
    let another = || "choose another folder with --dir";
    let Ok(mut mark) = open_mark(path, false) else {
        return Err(Failure::usage(format!(
            "{} exists and was not made by `bulla dev`",
            path.display()
        ))
        .next(another()));
    };
    let found = fs::symlink_metadata(path)?;
    let own = nix::unistd::geteuid().as_raw();
    if !found.is_dir() || found.uid() != own || found.mode() & 0o077 != 0 {
        // The default is in a folder where everybody may make one of that name.
        return Err(Failure::usage(format!(
            "{} is not a folder of your own with mode 0700",
            path.display()
        ))
        .next(another()));
    }
    match mark.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            mark.read_to_string(&mut text)?;
            let who = text.lines().next().unwrap_or_default();
            return Err(Failure::refused(format!(
                "another `bulla dev` runs in {} ({who})",
                path.display()
            ))
            .next("stop it, or choose another folder with --dir"));
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    mark.set_len(0)?;
    mark.rewind()?;
    let pid = std::process::id();
    writeln!(
        mark,
        "pid {pid}\nmade by bulla dev; emptied at its next start"
    )?;
    Ok(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let theirs = outer.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        assert!(Folder::prepare(theirs.clone()).is_err());
        assert!(theirs.exists());
        let ours = outer.path().join("ours");
        drop(Folder::prepare(ours.clone()).unwrap());
        fs::write(ours.join("old"), "").unwrap();
        drop(Folder::prepare(ours.clone()).unwrap());
        assert!(!ours.join("old").exists());
    }

    #[test]
    fn u4_a_folder_in_use_is_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let ours = outer.path().join("ours");
        let first = Folder::prepare(ours.clone()).unwrap();
        fs::write(ours.join("server/state"), "").unwrap();
        let Err(refused) = Folder::prepare(ours.clone()) else {
            panic!("a second run took the folder of the first");
        };
        assert!(
            refused.what.contains("another `bulla dev` runs in"),
            "{refused}"
        );
        let pid = format!("(pid {})", std::process::id());
        assert!(refused.what.contains(&pid), "{refused}");
        assert!(ours.join("server/state").exists());
        drop(first);
        Folder::prepare(ours).unwrap();
    }

    #[test]
    fn what_is_linked_to_is_not_emptied() {
        let outer = tempfile::tempdir().unwrap();
        let ours = outer.path().join("ours");
        drop(Folder::prepare(ours.clone()).unwrap());
        let theirs = outer.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&theirs, ours.join("link")).unwrap();
        drop(Folder::prepare(ours.clone()).unwrap());
        assert!(theirs.join("kept").exists() && !ours.join("link").exists());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let outer = tempfile::tempdir().unwrap();
        let ours = outer.path().join("ours");
        drop(Folder::prepare(ours.clone()).unwrap());
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Folder::prepare(ours).is_err());
    }
}
