//! Opening what is on disk: the data directory, keys, journal and store. All of it
//! blocks, and all of it happens before anything listens.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Journal, JournalError};
use keys::KeyStorage;
use records::AuditRecord;
use ring::digest::{Context, SHA256};
use store::Store;
use store::memory::Memory;
use store::sled_engine::{OpenError, Sled, SledOptions};

use crate::audit;
use crate::clock::Clock;
use crate::config::{Settings, StoreEngine};
use crate::entropy::{Entropy, NoEntropy};
use crate::key_storage::{self, KeysFailure};
use crate::limits;

/// Storage that is open and ours.
pub(crate) struct Opened {
    pub(crate) keys: Arc<dyn KeyStorage>,
    pub(crate) journal: Journal,
    pub(crate) journal_dir: PathBuf,
    pub(crate) newest_record_ms: i64,
    pub(crate) store: Arc<dyn Store>,
}

/// Why storage did not open.
#[derive(Debug, thiserror::Error)]
pub enum StorageFailure {
    /// The data directory cannot be made or is not ours alone.
    #[error("data directory {path}: {problem}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The key storage.
    #[error("key storage did not open")]
    Keys(#[from] KeysFailure),
    /// The decision log.
    #[error("decision log did not open")]
    Journal(#[from] JournalError),
    /// The store.
    #[error("store did not open")]
    Store(#[from] OpenError),
    /// What is there was written by somebody else.
    #[error(
        "{path} was written by another trust domain or server number than \
         {trust_domain} with server_number = {server_number}; correct the configuration, or give \
         this server a data_dir of its own"
    )]
    Foreign {
        /// The directory of the decision log.
        path: PathBuf,
        /// The configured trust domain.
        trust_domain: String,
        /// The configured number.
        server_number: u8,
    },
    /// No randomness.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

/// Opens everything under the data directory, which [`own_directory`] has seen to.
pub(crate) fn open(
    settings: &Settings,
    entropy: &Entropy,
    clock: &Clock,
) -> Result<Opened, StorageFailure> {
    let keys = key_storage::open(settings, entropy, clock)?;
    // Neither journal nor store opens on a disk that is really full.
    let free = audit::free_bytes(&settings.data_dir);
    if free.is_some_and(|free| free < settings.watermarks.floor())
        && audit::release_reserve(&settings.data_dir)
    {
        tracing::error!("disk is full: the reserve of space was given up to start");
    }
    let journal_dir = settings.data_dir.join("journal");
    let journal = Journal::open(
        &journal_dir,
        journal::Options {
            origin: origin(settings),
            segment_bytes: settings.journal_segment_bytes,
            ..journal::Options::default()
        },
    );
    let journal = journal.map_err(|error| match error {
        JournalError::OtherOrigin => StorageFailure::Foreign {
            path: journal_dir.clone(),
            trust_domain: settings.trust_domain.to_string(),
            server_number: settings.server_number,
        },
        error => error.into(),
    })?;
    let newest_record_ms = if settings.accept_clock {
        tracing::warn!(
            "clock.accept is set: newer records than the clock are not minded this time"
        );
        0
    } else {
        newest_record_ms(&journal)?
    };
    let store = open_store(settings, entropy)?;
    Ok(Opened {
        keys,
        journal,
        journal_dir,
        newest_record_ms,
        store,
    })
}

/// Makes the directory with mode 0700, or refuses one that others may enter.
pub(crate) fn own_directory(path: &Path) -> Result<(), StorageFailure> {
    let refuse = |problem: String| StorageFailure::DataDir {
        path: path.to_path_buf(),
        problem,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| refuse(e.to_string()))?;
    let found = std::fs::symlink_metadata(path).map_err(|e| refuse(e.to_string()))?;
    if !found.is_dir() {
        return Err(refuse("it is not a directory".into()));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(refuse(format!(
            "it belongs to uid {}; run the server as its owner, or chown it",
            found.uid()
        )));
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(refuse(format!(
            "its mode lets others in; run: chmod 0700 {}",
            path.display()
        )));
    }
    let run = path.join("run");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&run)
        .map_err(|e| refuse(e.to_string()))?;
    std::fs::set_permissions(&run, Permissions::from_mode(0o700)).map_err(|e| refuse(e.to_string()))
}

fn open_store(settings: &Settings, entropy: &Entropy) -> Result<Arc<dyn Store>, StorageFailure> {
    let randomness: [u8; 32] = entropy.bytes()?;
    match settings.store {
        StoreEngine::Memory => {
            let (incarnation, _) = randomness
                .split_first_chunk::<16>()
                .unwrap_or((&[0; 16], &[]));
            let incarnation = u128::from_be_bytes(*incarnation);
            Ok(Arc::new(Memory::with_limits(incarnation, store_limits())))
        }
        StoreEngine::Sled => {
            let options = SledOptions {
                cache_bytes: settings.store_cache_bytes,
                reserve_bytes: settings.watermarks.floor(),
                limits: store_limits(),
                ..SledOptions::new(randomness)
            };
            Ok(Arc::new(Sled::open(
                &settings.data_dir.join("store"),
                options,
            )?))
        }
    }
}

/// What one commit may hold: all changes that may be applied together.
pub(crate) fn store_limits() -> store::Limits {
    store::Limits {
        max_log_bytes: limits::CHANGE_LOG_BYTES,
        max_operations: limits::MAX_COMMIT_OPERATIONS,
        max_commit_bytes: limits::MAX_COMMIT_BYTES,
        ..store::Limits::default()
    }
}

/// Whose journal it is: another server's or trust domain's does not open here.
fn origin(settings: &Settings) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"bulla decision log\0");
    context.update(settings.trust_domain.as_str().as_bytes());
    context.update(&[0, settings.server_number]);
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The time of the newest record, 0 for an empty journal. A record that is no audit
/// record tells no time; the check of the journal itself has passed.
fn newest_record_ms(journal: &Journal) -> Result<i64, JournalError> {
    let head = journal.head();
    if head.seq == 0 {
        return Ok(0);
    }
    let newest = journal.read(head.seq)?.last().transpose()?;
    let record = newest.and_then(|stored| AuditRecord::decode(&stored.payload).ok());
    Ok(record.map_or(0, |record| record.view().at_ms))
}
