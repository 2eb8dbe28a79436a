//! The data folder: ours alone, locked, written atomically.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use keys::secret_file::{self, Readers};
use zeroize::Zeroizing;

use super::{DiskError, SealKey};
use crate::entropy::Entropy;
use crate::limits;

/// An open, locked data folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    seal: Option<SealKey>,
    entropy: Entropy,
    /// Taken for each write; true once nothing may be written any more.
    closed: Mutex<bool>,
    // Held for its lock.
    _lock: File,
}

impl Folder {
    /// Opens the folder, making it when it is not there, and locks it.
    pub(crate) fn open(
        path: &Path,
        seal: Option<SealKey>,
        entropy: Entropy,
    ) -> Result<Self, DiskError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io_error("creating", path))?;
        check_owner(path)?;
        let lock = lock(&path.join("lock"))?;
        Ok(Self {
            path: path.to_owned(),
            seal,
            entropy,
            closed: Mutex::new(false),
            _lock: lock,
        })
    }

    /// Whether what is written here is sealed by a key that lies elsewhere.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// Where a file of this name lies.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file whole; `None` when there is none.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.file(name);
        let Some(bytes) = read_limited(&path, limit)? else {
            return Ok(None);
        };
        SealKey::open(self.seal.as_ref(), name, bytes)
            .map(Some)
            .map_err(|why| DiskError::Sealed { path, why })
    }

    /// Writes a file whole, mode 0600. When this returns, the old contents or
    /// the new survive a power cut, and `Ok` says that it is the new.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Err(DiskError::Closed);
        }
        let path = self.file(name);
        match &self.seal {
            None => self.replace(&path, bytes),
            Some(key) => {
                let sealed = key
                    .seal(name, bytes, self.entropy.rng())
                    .ok_or(DiskError::Entropy)?;
                self.replace(&path, &sealed)
            }
        }
    }

    /// Refuses every later write; one under way is waited for. What is removed
    /// after this stays removed.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Removes a file; that it is not there is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), DiskError> {
        let path = self.file(name);
        match std::fs::remove_file(&path) {
            Ok(()) => beside_the_event_loop(|| self.sync()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(io_error("removing", &path)(source)),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        beside_the_event_loop(|| self.replace_now(path, bytes))
    }

    fn replace_now(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let temporary = path.with_extension("new");
        // A leftover of a crash may have another mode: start from nothing.
        match std::fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("removing", &temporary)(e));
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(io_error("creating", &temporary))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(io_error("writing", &temporary))?;
        std::fs::rename(&temporary, path).map_err(io_error("renaming to", path))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), DiskError> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(io_error("syncing", &self.path))
    }
}

/// Does what waits for a disk; on a worker of the event loop, others take over what
/// the worker would have done meanwhile.
fn beside_the_event_loop<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}

/// Reads a file that may have at most `limit` bytes; `None` when there is none.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("opening", path)(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io_error("reading", path))?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n <= limit) {
        return Ok(Some(bytes));
    }
    let path = path.to_owned();
    Err(DiskError::TooLarge { path, limit })
}

/// Reads a file with a secret of somebody else's making, which nobody else may read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    let own = rustix::process::geteuid().as_raw();
    let readers = Readers::of(path);
    let read = secret_file::read(path, limits::SMALL_FILE_BYTES, readers, own);
    read.map_err(|source| DiskError::Secret {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::Io {
        operation,
        path,
        source,
    }
}

fn check_owner(path: &Path) -> Result<(), DiskError> {
    let metadata = std::fs::symlink_metadata(path).map_err(io_error("looking at", path))?;
    let mode = metadata.mode() & 0o7777;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if metadata.is_dir() && ours && mode & 0o077 == 0 {
        return Ok(());
    }
    Err(DiskError::Loose {
        path: path.to_owned(),
        mode,
        owner: metadata.uid(),
    })
}

fn lock(path: &Path) -> Result<File, DiskError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io_error("opening", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let path = path.to_owned();
            Err(DiskError::InUse { path })
        }
        Err(TryLockError::Error(source)) => Err(io_error("locking", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{DiskError, Folder};
    use crate::disk::SealKey;
    use crate::entropy::Entropy;

    fn open(at: &std::path::Path, seal: Option<&[u8]>) -> Result<Folder, DiskError> {
        let seal = seal.map(|bytes| SealKey::new(bytes).unwrap());
        Folder::open(at, seal, Entropy::system())
    }

    #[test]
    fn what_is_written_is_read_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("data");
        let folder = open(&at, None).unwrap();
        assert_eq!(folder.read("a.json", 10).unwrap(), None);
        folder.write("a.json", b"one").unwrap();
        folder.write("a.json", b"two").unwrap();
        assert_eq!(folder.read("a.json", 10).unwrap().unwrap(), b"two");
        let mode = std::fs::metadata(at.join("a.json")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(matches!(
            folder.read("a.json", 2),
            Err(DiskError::TooLarge { .. })
        ));
        folder.remove("a.json").unwrap();
        folder.remove("a.json").unwrap();
        assert_eq!(folder.read("a.json", 10).unwrap(), None);
    }

    #[test]
    fn a_second_agent_and_a_loose_folder_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("data");
        let first = open(&at, None).unwrap();
        assert!(matches!(open(&at, None), Err(DiskError::InUse { .. })));
        drop(first);
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(open(&at, None), Err(DiskError::Loose { .. })));
    }

    #[test]
    fn sealed_files_open_with_their_key_and_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("data");
        let secret = b"a passphrase of the platform";
        {
            let folder = open(&at, Some(secret)).unwrap();
            folder.write("a.json", b"contents").unwrap();
            std::fs::copy(at.join("a.json"), at.join("b.json")).unwrap();
            assert_eq!(folder.read("a.json", 999).unwrap().unwrap(), b"contents");
            assert!(matches!(
                folder.read("b.json", 999),
                Err(DiskError::Sealed { .. })
            ));
        }
        let raw = std::fs::read(at.join("a.json")).unwrap();
        assert!(!raw.windows(8).any(|w| w == b"contents"));
        for key in [None, Some(b"another passphrase".as_slice())] {
            let folder = open(&at, key).unwrap();
            assert!(matches!(
                folder.read("a.json", 999),
                Err(DiskError::Sealed { .. })
            ));
        }
    }
}
