//! One folder and its generations. All work is relative to the folder's
//! descriptor and follows no link, so that whoever may rename things in it cannot
//! make us write elsewhere.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, fchmod, fchown, flock, fstat, fsync,
    mkdirat, openat, readlinkat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use zeroize::Zeroizing;

use super::{Ownership, guarded};
use crate::failure::Failure;

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);
const NEW_FILE: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::WRONLY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The most that is read of a file that an earlier run wrote.
const MAX_READ_BYTES: u64 = 1024 * 1024;

/// A file of the next generation.
pub(crate) struct NewFile {
    /// Its name.
    pub(crate) name: String,
    /// What it says.
    pub(crate) contents: Zeroizing<String>,
    /// Whether only its owner (and perhaps a group) may read it.
    pub(crate) secret: bool,
    /// Whether the folder itself also shows it under this name.
    pub(crate) plain: bool,
}

/// A folder that this process alone writes credentials of one kind into.
pub(crate) struct Folder {
    path: PathBuf,
    dir: OwnedFd,
    /// Names the link to the newest generation, and the generations.
    kind: &'static str,
    ownership: Ownership,
    newest: u64,
    _lock: OwnedFd,
}

impl Folder {
    /// Opens a folder, makes it if need be, and claims it.
    ///
    /// # Errors
    /// It cannot be made or written, others may write into it or put another in its
    /// place, or another process keeps files of this kind in it.
    pub(crate) fn open(
        path: &Path,
        kind: &'static str,
        ownership: Ownership,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::refused(format!("cannot use {}: {error}", path.display()))
        };
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(failed)?;
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        let dir = openat(CWD, path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        guarded::check(path, ownership.owner)?;
        // What was checked is what is open: others cannot have moved it since.
        let (open, named) = (fstat(&dir), rustix::fs::stat(path));
        let number = |found: rustix::fs::Stat| (found.st_dev, found.st_ino);
        if open.map(number).ok() != named.map(number).ok() {
            return Err(Failure::refused(format!(
                "{} was replaced while it was opened",
                path.display()
            )));
        }
        let lock = lock(&dir, path, kind)?;
        let mut folder = Self {
            path: path.to_owned(),
            dir,
            kind,
            ownership,
            newest: 0,
            _lock: lock,
        };
        folder.newest = folder
            .generations()
            .map_err(failed)?
            .into_iter()
            .max()
            .unwrap_or(0);
        Ok(folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a file of the newest generation says, if there is one.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = format!("{}/{name}", self.kind);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.dir, path, flags, Mode::empty()).ok()?);
        let mut contents = Vec::new();
        file.take(MAX_READ_BYTES).read_to_end(&mut contents).ok()?;
        Some(contents)
    }

    /// Makes these files the newest generation, all of them at once, and returns
    /// its number. The one before stays for whoever is reading it.
    ///
    /// # Errors
    /// Something cannot be written; what was there before is still there.
    pub(crate) fn put(&mut self, files: &[NewFile]) -> Result<u64, Failure> {
        let number = self.newest.saturating_add(1);
        let before = self.current();
        self.newest = number;
        if let Err(failure) = self.write_generation(number, files) {
            // Best effort: the next one sweeps whatever is left.
            let _ = self.remove(number);
            return Err(failure);
        }
        let shown = |what: &str, error: Errno| self.failed(what, error.into());
        self.point(self.kind, &self.name_of(number))
            .map_err(|e| shown(self.kind, e))?;
        for file in files.iter().filter(|file| file.plain) {
            let target = format!("{}/{}", self.kind, file.name);
            self.point(&file.name, &target)
                .map_err(|e| shown(&file.name, e))?;
        }
        fsync(&self.dir).map_err(|e| shown("the folder", e))?;
        self.sweep(number, before);
        Ok(number)
    }

    fn write_generation(&self, number: u64, files: &[NewFile]) -> Result<(), Failure> {
        let name = self.name_of(number);
        let shown = |error: Errno| self.failed(&name, error.into());
        mkdirat(&self.dir, &name, Mode::from_raw_mode(0o700)).map_err(shown)?;
        let generation = openat(&self.dir, &name, FOLDER, Mode::empty()).map_err(shown)?;
        for file in files {
            self.write_file(&generation, file)
                .map_err(|error| self.failed(&file.name, error))?;
        }
        fchmod(&generation, Mode::from_raw_mode(0o755)).map_err(shown)?;
        fsync(&generation).map_err(shown)
    }

    /// Owner and mode are right before the first byte is written.
    fn write_file(&self, generation: &OwnedFd, file: &NewFile) -> std::io::Result<()> {
        let private = Mode::from_raw_mode(0o600);
        let new = openat(generation, &file.name, NEW_FILE, private)?;
        let owner = self.ownership.owner.map(|id| Uid::from_raw(id.as_raw()));
        let group = self.ownership.group.map(|id| Gid::from_raw(id.as_raw()));
        if owner.is_some() || group.is_some() {
            fchown(&new, owner, group)?;
        }
        let mode = if file.secret {
            self.ownership.key_mode
        } else {
            0o644
        };
        fchmod(&new, Mode::from_raw_mode(mode))?;
        let mut new = File::from(new);
        new.write_all(file.contents.as_bytes())?;
        new.sync_all()
    }

    /// Makes `link` lead to `target`, by one rename. A link that already does is
    /// left alone.
    fn point(&self, link: &str, target: &str) -> Result<(), Errno> {
        let now = readlinkat(&self.dir, link, Vec::new());
        if now.is_ok_and(|now| now.as_bytes() == target.as_bytes()) {
            return Ok(());
        }
        let new = format!(".{link}.new");
        match unlinkat(&self.dir, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        symlinkat(target, &self.dir, &new)?;
        renameat(&self.dir, &new, &self.dir, link)
    }

    /// The generation that the link leads to.
    fn current(&self) -> Option<u64> {
        let target = readlinkat(&self.dir, self.kind, Vec::new()).ok()?;
        self.number_of(target.as_bytes())
    }

    fn name_of(&self, number: u64) -> String {
        format!(".{}-{number}", self.kind)
    }

    fn number_of(&self, name: &[u8]) -> Option<u64> {
        let name = std::str::from_utf8(name).ok()?;
        let rest = name.strip_prefix('.')?.strip_prefix(self.kind)?;
        rest.strip_prefix('-')?.parse().ok()
    }

    fn generations(&self) -> std::io::Result<Vec<u64>> {
        let entries = Dir::read_from(&self.dir)?.filter_map(Result::ok);
        let folders = entries
            .filter(|entry| matches!(entry.file_type(), FileType::Directory | FileType::Unknown));
        Ok(folders
            .filter_map(|entry| self.number_of(entry.file_name().to_bytes()))
            .collect())
    }

    /// Removes all generations but two; one that stays behind does no harm.
    fn sweep(&self, newest: u64, before: Option<u64>) {
        for old in self.generations().unwrap_or_default() {
            if old != newest
                && Some(old) != before
                && let Err(error) = self.remove(old)
            {
                tracing::warn!(
                    "an old generation stays in {}: {error}",
                    self.path.display()
                );
            }
        }
    }

    fn remove(&self, number: u64) -> Result<(), Errno> {
        let name = self.name_of(number);
        let generation = openat(&self.dir, &name, FOLDER, Mode::empty())?;
        for entry in Dir::read_from(&generation)?.filter_map(Result::ok) {
            let file = entry.file_name();
            if file.to_bytes() != b"." && file.to_bytes() != b".." {
                let file = OsStr::from_bytes(file.to_bytes());
                unlinkat(generation.as_fd(), file, AtFlags::empty())?;
            }
        }
        unlinkat(&self.dir, &name, AtFlags::REMOVEDIR)
    }

    fn failed(&self, what: &str, error: std::io::Error) -> Failure {
        let failure = Failure::refused(format!(
            "cannot write {what} in {}: {error}",
            self.path.display()
        ));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied
                if self.ownership.owner.is_some() || self.ownership.group.is_some() =>
            {
                failure.next("only root gives files to other users; run as root, or as the owner")
            }
            _ => failure,
        }
    }
}

/// Claims the folder for as long as the descriptor is open.
fn lock(dir: &OwnedFd, path: &Path, kind: &str) -> Result<OwnedFd, Failure> {
    let failed = |error: Errno| {
        Failure::refused(format!("cannot write into {}: {error}", path.display()))
            .next("check the folder's owner and mode")
    };
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let lock = openat(dir, format!(".{kind}.lock"), flags, mode).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(Failure::refused(format!(
            "another process keeps {kind} files in {}",
            path.display()
        ))
        .next("stop it first, or choose another folder")),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
