//! The folder a development trust domain lives in: made by us, marked as ours,
//! and emptied only when it carries the mark.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Marks a folder that `bulla dev` made and may empty.
const MARK: &str = ".bulla-dev";

/// The longest path a Unix socket may have, in bytes, less what we append.
const PATH_BYTES_MAX: usize = 80;

/// A prepared folder.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, or empties the one an earlier run left.
    ///
    /// # Errors
    /// It exists and is not ours, or cannot be written.
    pub(super) fn prepare(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(
                Failure::usage(format!("{} is too long for Unix sockets", path.display()))
                    .next("choose a shorter one with --dir"),
            );
        }
        if path.exists() {
            if !path.join(MARK).exists() {
                return Err(Failure::usage(format!(
                    "{} exists and was not made by `bulla dev`",
                    path.display()
                ))
                .next("choose another folder with --dir"));
            }
            fs::remove_dir_all(&path)?;
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        fs::write(
            path.join(MARK),
            "made by bulla dev; emptied at its next start\n",
        )?;
        for part in ["server", "agent", "bin"] {
            fs::DirBuilder::new().mode(0o700).create(path.join(part))?;
        }
        Ok(Self(path))
    }

    /// The folder of this user when none is named.
    #[must_use]
    pub(super) fn of_user() -> PathBuf {
        std::env::temp_dir().join(format!("bulla-dev-{}", nix::unistd::getuid()))
    }

    /// The folder itself.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The server's admin socket.
    #[must_use]
    pub(super) fn admin_socket(&self) -> PathBuf {
        self.0.join("server/admin.sock")
    }

    /// The agent's workload socket.
    #[must_use]
    pub(super) fn workload_socket(&self) -> PathBuf {
        self.0.join("agent/workload.sock")
    }

    /// The agent's admin socket.
    #[must_use]
    pub(super) fn agent_admin_socket(&self) -> PathBuf {
        self.0.join("agent/admin.sock")
    }

    /// A copy of this program under a name of its own, so that the kernel sees
    /// another executable path: a service with a selector of its own.
    ///
    /// # Errors
    /// The program cannot be linked or copied.
    pub(super) fn service(&self, program: &Path, name: &str) -> Result<PathBuf, Failure> {
        let path = self.0.join("bin").join(name);
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
        let at = |name: &str| self.0.join(name).display().to_string();
        let server = format!(
            "trust_domain = {trust_domain:?}\ndata_dir = {:?}\nlisten = \"127.0.0.1:0\"\n\
             admin_socket = {:?}\n\n[rotation]\npropagation = \"1s\"\n",
            at("server/data"),
            at("server/admin.sock")
        );
        fs::write(self.0.join("server.toml"), server)?;
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
        let at = |name: &str| self.0.join(name).display().to_string();
        let agent = format!(
            "trust_domain = {trust_domain:?}\ndata_dir = {:?}\nworkload_socket = {:?}\n\
             admin_socket = {:?}\n\n[server]\naddress = {server:?}\n\n[trust]\n\
             bundle_sha256 = [{pin:?}]\n",
            at("agent/data"),
            at("agent/workload.sock"),
            at("agent/admin.sock")
        );
        fs::write(self.0.join("agent.toml"), agent)?;
        Ok(())
    }
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
        Folder::prepare(ours.clone()).unwrap();
        fs::write(ours.join("old"), "").unwrap();
        Folder::prepare(ours.clone()).unwrap();
        assert!(!ours.join("old").exists());
    }
}
