//! The guards around sled 0.34, each for a fault that was reproduced.
//!
//! 1. A kill while sled opens leaves `snap.*.generating`, which it later takes for its
//!    newest snapshot and refuses for ever: removed before each open.
//! 2. A damaged snapshot has the same effect: moved aside once, then sled replays its log.
//! 3. `flush()` does not reach the device: our own descriptor of `db` is synced after it.
//! 4. Messages above a quarter of a segment go to files that sled never syncs: larger
//!    segments than its default keep 32 KiB values inline, and stray files are synced.
//! 5. sled panics on damaged input: a panic is an error here, never a lost thread.
//! 6. It cannot open on a full disk: a reserve is kept free.
//! 7. Its lock outlives its last handle for a while: opening waits for it.

use std::any::Any;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::options::OpenError;

/// Fixed for good: sled refuses to open files made with another size. sled keeps a message
/// inline up to a quarter of this, and a full leaf has 17 values of up to 32 KiB.
const SEGMENT_BYTES: usize = 4 << 20;

/// How long an opener waits for sled's lock: a thousand times two milliseconds.
const LOCK_ATTEMPTS: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// Makes a directory for its owner alone, and its name durable.
pub(super) fn create_dir(path: &Path) -> Result<(), OpenError> {
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(OpenError::io("create", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), OpenError> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(OpenError::io("sync", path))
}

/// Opens sled in `dir`, with guards 1, 2 and 5.
pub(super) fn open_sled(dir: &Path, cache_bytes: u64) -> Result<sled::Db, OpenError> {
    for path in snapshots(dir)? {
        if path
            .extension()
            .is_some_and(|extension| extension == "generating")
        {
            tracing::warn!(path = %path.display(), "removing a half-written sled snapshot");
            fs::remove_file(&path).map_err(OpenError::io("remove", &path))?;
        }
    }
    let first = match try_open(dir, cache_bytes) {
        Ok(db) => return Ok(db),
        Err(reason) => reason,
    };
    let aside = dir.join("aside");
    create_dir(&aside)?;
    for path in snapshots(dir)? {
        tracing::warn!(path = %path.display(), %first, "moving a sled snapshot aside");
        let name = path.file_name().map_or_else(OsString::new, OsString::from);
        fs::rename(&path, aside.join(name)).map_err(OpenError::io("move aside", &path))?;
    }
    try_open(dir, cache_bytes)
        .map_err(|second| OpenError::Engine(format!("{first}; then {second}")))
}

/// Guard 7: whoever holds our own lock waits for sled's, which its threads give back only
/// some time after the last handle was dropped.
fn try_open(dir: &Path, cache_bytes: u64) -> Result<sled::Db, String> {
    let mut outcome = open_once(dir, cache_bytes);
    for _ in 0..LOCK_ATTEMPTS {
        match &outcome {
            Err(reason) if reason.contains("could not acquire lock") => {}
            _ => break,
        }
        thread::park_timeout(LOCK_PAUSE);
        outcome = open_once(dir, cache_bytes);
    }
    outcome
}

fn open_once(dir: &Path, cache_bytes: u64) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .segment_size(SEGMENT_BYTES)
        // Group commits flush; a second flusher would only hide its errors.
        .flush_every_ms(None);
    guarded(|| config.open().map_err(|error| error.to_string()))
}

fn snapshots(dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(OpenError::io("list", dir))? {
        let entry = entry.map_err(OpenError::io("list", dir))?;
        if entry.file_name().as_encoded_bytes().starts_with(b"snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Runs a call into sled; its panic becomes an error, after which sled must not be used.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panic_text(&*panic)))
}

/// Closes one handle to sled; closing the last one writes.
pub(super) fn drop_sled(db: sled::Db) {
    let closed = guarded(move || {
        drop(db);
        Ok(())
    });
    if let Err(error) = closed {
        tracing::error!(%error, "sled did not close cleanly");
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("sled panicked: {}", text.unwrap_or("no message"))
}

/// Makes durable what sled's flush only handed to the device.
pub(super) struct DataSync {
    file: File,
    blobs: PathBuf,
    synced: HashSet<OsString>,
}

impl DataSync {
    /// Syncs everything that is there: after a crash, what was read may still be in memory only.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("db");
        let file = File::open(&path).map_err(OpenError::io("open", &path))?;
        let mut this = Self {
            file,
            blobs: dir.join("blobs"),
            synced: HashSet::new(),
        };
        this.sync().map_err(OpenError::io("sync", &path))?;
        sync_dir(dir)?;
        Ok(this)
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.sync_blobs()?;
        self.file.sync_data()
    }

    /// Guard 4 for the case that a message is larger than the limits should allow.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let mut present = HashSet::new();
        for entry in fs::read_dir(&self.blobs)? {
            let name = entry?.file_name();
            if !self.synced.contains(&name) {
                match File::open(self.blobs.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // sled removes such files in the background.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            present.insert(name);
        }
        if present.iter().any(|name| !self.synced.contains(name)) {
            File::open(&self.blobs)?.sync_all()?;
        }
        self.synced = present;
        Ok(())
    }
}

/// Free bytes on the file system of `dir`; 0 if that cannot be told.
pub(super) fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}
