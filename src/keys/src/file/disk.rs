//! A directory that only we can read, and files that are whole or absent.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::StorageError;

/// The largest file looked at: a sealed RSA-4096 key needs 2.5 KiB.
const MAX_FILE_BYTES: u64 = 16 * 1024;

const LOCK_FILE: &str = "lock";
const TEMPORARY: &str = ".new-";
const PROBE: &str = ".new-probe";

pub(super) struct Directory {
    path: PathBuf,
    /// Our user id on this file system.
    us: u32,
    /// For syncing entries.
    handle: File,
    /// Held as long as the directory is in use.
    _lock: File,
}

impl Directory {
    /// Opens the directory, made when missing, and takes its lock. Every file in
    /// it must belong to us alone; leftovers of an interrupted write are removed.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let fail = |what| failure(what, path);
        if !path.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(fail("create"))?;
            sync_parent(path)?;
        }
        let handle = File::open(path).map_err(fail("open"))?;
        let metadata = handle.metadata().map_err(fail("inspect"))?;
        if !metadata.is_dir() {
            return Err(fail("use")(ErrorKind::NotADirectory.into()));
        }
        let us = who_are_we(path)?;
        check_private(path, &metadata, us, "700")?;
        let lock = open_lock(path)?;
        let directory = Self {
            path: path.to_owned(),
            us,
            handle,
            _lock: lock,
        };
        directory.check_files()?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn check_files(&self) -> Result<(), StorageError> {
        for entry in fs::read_dir(&self.path).map_err(failure("list", &self.path))? {
            let entry = entry.map_err(failure("list", &self.path))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_file(&path).map_err(failure("remove", &path))?;
                continue;
            }
            let metadata = fs::symlink_metadata(&path).map_err(failure("inspect", &path))?;
            if metadata.is_file() {
                check_private(&path, &metadata, self.us, "600")?;
            }
        }
        Ok(())
    }

    /// The names with that suffix, without it, sorted.
    pub(super) fn names(&self, suffix: &str) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failure("list", &self.path))? {
            let entry = entry.map_err(failure("list", &self.path))?;
            let name = entry.file_name().into_string().unwrap_or_default();
            if let Some(id) = name.strip_suffix(suffix)
                && crate::check_key_id(id).is_ok()
            {
                names.push(id.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A file's bytes, or `None` when there is none. A symbolic link is refused:
    /// what is read must be what lies here.
    pub(super) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        let path = self.path.join(name);
        let entry = match fs::symlink_metadata(&path) {
            Ok(entry) => entry,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure("inspect", &path)(error)),
        };
        let damaged = |what| StorageError::Damaged {
            path: path.display().to_string(),
            what,
        };
        if !entry.is_file() {
            return Err(damaged("it is not a regular file"));
        }
        let file = File::open(&path).map_err(failure("open", &path))?;
        let metadata = file.metadata().map_err(failure("inspect", &path))?;
        if (metadata.dev(), metadata.ino()) != (entry.dev(), entry.ino()) {
            return Err(damaged("it was replaced while it was opened"));
        }
        check_private(&path, &metadata, self.us, "600")?;
        // Room for everything at once: growing would leave copies of a secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            usize::try_from(MAX_FILE_BYTES + 1).unwrap_or(usize::MAX),
        ));
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failure("read", &path))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(damaged("it is too large"));
        }
        Ok(Some(bytes))
    }

    /// Writes a whole file: beside first, synced, renamed, and the entry synced.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.path.join(name);
        let beside = self.path.join(format!("{TEMPORARY}{name}"));
        let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, &path));
        if let Err(error) = written {
            // The error that counts is the first.
            let _ = fs::remove_file(&beside);
            return Err(failure("write", &path)(error));
        }
        self.sync()
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failure("remove", &path)(error)),
        }
    }

    /// Gives a file another name, durably.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let (from, to) = (self.path.join(from), self.path.join(to));
        fs::rename(&from, &to).map_err(failure("rename", &from))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.handle.sync_all().map_err(failure("sync", &self.path))
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn open_lock(directory: &Path) -> Result<File, StorageError> {
    let path = directory.join(LOCK_FILE);
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failure("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            Err(StorageError::InUse(directory.display().to_string()))
        }
        Err(fs::TryLockError::Error(error)) => Err(failure("lock", &path)(error)),
    }
}

/// A new directory's own entry is synced too, so that its keys do not vanish with it.
fn sync_parent(path: &Path) -> Result<(), StorageError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|handle| handle.sync_all())
        .map_err(failure("sync", parent))
}

/// The owner that a file gets which we make there. Asking the system for our user
/// id would take another crate, and give the wrong answer on a mapped file system.
fn who_are_we(directory: &Path) -> Result<u32, StorageError> {
    let path = directory.join(PROBE);
    // A leftover of a process that was killed right here, which may not be ours.
    let _ = fs::remove_file(&path);
    write_new(&path, b"").map_err(failure("write", &path))?;
    let owner = fs::symlink_metadata(&path).map(|m| m.uid());
    fs::remove_file(&path).map_err(failure("remove", &path))?;
    owner.map_err(failure("inspect", &path))
}

/// Refuses what others may read or write, or what is not ours.
fn check_private(
    path: &Path,
    metadata: &Metadata,
    us: u32,
    wanted: &str,
) -> Result<(), StorageError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 && metadata.uid() == us {
        return Ok(());
    }
    let path = path.display();
    let chown = if metadata.uid() == us {
        String::new()
    } else {
        format!("chown {us} '{path}' && ")
    };
    Err(StorageError::LooseMode {
        path: path.to_string(),
        mode,
        owner: metadata.uid(),
        remedy: format!("{chown}chmod {wanted} '{path}'"),
    })
}

fn failure(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
    let path = path.display().to_string();
    move |source| StorageError::Io { what, path, source }
}
