//! Opening: the key, the atomic creation of a new store, and the verification of an old one.
//!
//! Nothing is served before every record has been checked, singly and as a set.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ring::hmac;

use super::guards::{DataSync, create_dir, guarded, open_sled, sync_dir};
use super::layout::{self, HEAD, Head, Logged, StoredHead};
use super::mark::Mark;
use super::options::{Damage, OpenError, SledOptions};
use super::seal::Sealer;
use crate::Position;

const DATA_DIR: &str = "sled";
const NEW_DATA_DIR: &str = "sled.new";
const KEY_FILE: &str = "key";

/// A verified, open store, before its threads run.
pub(super) struct Opened {
    pub(super) db: sled::Db,
    pub(super) data: DataSync,
    pub(super) mark: Mark,
    pub(super) sealer: Sealer,
    pub(super) head: Head,
    pub(super) changes: Vec<Logged>,
    pub(super) lock: File,
}

pub(super) fn open(dir: &Path, options: &SledOptions) -> Result<Opened, OpenError> {
    create_dir(dir)?;
    let lock = lock(dir)?;
    let data_dir = dir.join(DATA_DIR);
    let exists = data_dir
        .try_exists()
        .map_err(OpenError::io("inspect", &data_dir))?;
    let key = match options.key {
        Some(key) => key,
        None => stored_key(dir, exists, options)?,
    };
    let sealer = Sealer::new(&key);
    let mut mark = Mark::open(&dir.join("mark"))?;
    if !exists {
        let acknowledged = mark.read(&sealer).is_some_and(|mark| mark.revision > 0);
        if acknowledged && !options.accept_damage {
            return Err(OpenError::Damaged(Damage {
                rolled_back: true,
                ..Damage::default()
            }));
        }
        create(dir, options, &sealer, &mut mark)?;
    }
    let db = open_sled(&data_dir, options.cache_bytes)?;
    let data = DataSync::open(&data_dir)?;
    let mut opened = Opened {
        db,
        data,
        mark,
        sealer,
        head: empty(options),
        changes: Vec::new(),
        lock,
    };
    opened.verify(options)?;
    Ok(opened)
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(OpenError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &path)(error)),
    }
}

/// The key in the data directory; a new store gets one before its first record.
fn stored_key(dir: &Path, exists: bool, options: &SledOptions) -> Result<[u8; 32], OpenError> {
    let path = dir.join(KEY_FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            let metadata = fs::metadata(&path).map_err(OpenError::io("inspect", &path))?;
            let private = metadata.permissions().mode() & 0o077 == 0;
            let key = <[u8; 32]>::try_from(bytes).ok().filter(|_| private);
            return key.ok_or(OpenError::Key(path));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !exists => {}
        Err(_) => return Err(OpenError::Key(path)),
    }
    let key = derive(options, b"bulla store: key");
    let new = dir.join("key.new");
    let mut create = OpenOptions::new();
    create.write(true).create(true).truncate(true).mode(0o600);
    create
        .open(&new)
        .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, &path))
        .map_err(OpenError::io("write", &path))?;
    sync_dir(dir)?;
    Ok(key)
}

fn derive(options: &SledOptions, label: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &options.randomness);
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&key, label).as_ref());
    out
}

fn incarnation(options: &SledOptions) -> u128 {
    let bytes = derive(options, b"bulla store: incarnation");
    bytes
        .first_chunk()
        .map_or(0, |half| u128::from_be_bytes(*half))
}

fn empty(options: &SledOptions) -> Head {
    let position = Position {
        incarnation: incarnation(options),
        revision: 0,
    };
    Head {
        position,
        floor: 0,
        count: 0,
        sum: 0,
    }
}

/// Makes the store under another name and renames it, so that a kill leaves all or nothing.
fn create(
    dir: &Path,
    options: &SledOptions,
    sealer: &Sealer,
    mark: &mut Mark,
) -> Result<(), OpenError> {
    let new = dir.join(NEW_DATA_DIR);
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(OpenError::io("remove", &new)(error));
        }
        _ => {}
    }
    create_dir(&new)?;
    let head = empty(options);
    mark.set(head.position, sealer)
        .map_err(OpenError::io("write the mark in", dir))?;
    let db = open_sled(&new, options.cache_bytes)?;
    guarded(|| {
        let written = db.insert(HEAD, head.seal(sealer)).and_then(|_| db.flush());
        written.map(drop).map_err(|error| error.to_string())
    })
    .map_err(OpenError::Engine)?;
    drop(db);
    DataSync::open(&new)?;
    for file in ["conf", "blobs"] {
        let path = new.join(file);
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(OpenError::io("sync", &path))?;
    }
    let path = dir.join(DATA_DIR);
    fs::rename(&new, &path).map_err(OpenError::io("publish", &path))?;
    sync_dir(dir)
}

/// What a walk over the whole tree found.
#[derive(Default)]
struct Walk {
    head: Option<StoredHead>,
    count: u64,
    sum: u128,
    groups: BTreeMap<u64, Vec<u8>>,
    damage: Damage,
    damaged_keys: Vec<sled::IVec>,
}

impl Opened {
    fn verify(&mut self, options: &SledOptions) -> Result<(), OpenError> {
        let mut walk = self.walk()?;
        let head = walk
            .head
            .as_ref()
            .and_then(|it| it.over(walk.count, walk.sum, &self.sealer));
        walk.damage.incomplete = head.is_none();
        let position = head.map(|head| head.position);
        let (mark, kept) = (self.mark.read(&self.sealer), options.at_least);
        let known = [mark, kept];
        // The mark of a store that has one is there from the start.
        let is_older = |known: &Position| {
            // Of another incarnation counts as well: nothing of that one is here.
            position.is_some_and(|it| {
                !matches!(
                    it.partial_cmp(known),
                    Some(Ordering::Greater | Ordering::Equal)
                )
            })
        };
        // A store that has records has had a mark from the start.
        walk.damage.rolled_back = mark.is_none() || known.iter().flatten().any(is_older);
        match head {
            Some(head) if walk.damage.is_none() => {
                self.head = head;
                self.take_changes(&walk.groups);
                self.mark
                    .set(head.position, &self.sealer)
                    .map_err(OpenError::io("mark", Path::new("mark")))
            }
            _ if options.accept_damage => {
                tracing::error!(damage = %walk.damage, "opening a damaged store as a new incarnation");
                let revisions = known
                    .iter()
                    .flatten()
                    .chain(&position)
                    .map(|it| it.revision);
                let revision = revisions.max().unwrap_or(0).saturating_add(1);
                self.accept(
                    &walk,
                    Position {
                        incarnation: incarnation(options),
                        revision,
                    },
                )
            }
            _ => Err(OpenError::Damaged(walk.damage)),
        }
    }

    fn walk(&self) -> Result<Walk, OpenError> {
        let mut walk = Walk::default();
        guarded(|| {
            for item in self.db.iter() {
                let (key, bytes) = item.map_err(|error| error.to_string())?;
                self.visit(&mut walk, key, &bytes);
            }
            Ok(())
        })
        .map_err(OpenError::Engine)?;
        Ok(walk)
    }

    fn visit(&self, walk: &mut Walk, key: sled::IVec, bytes: &[u8]) {
        let element = self.sealer.element(&key, bytes);
        match (layout::record_of(&key), layout::changes_of(&key), element) {
            _ if key == HEAD => walk.head = StoredHead::decode(bytes),
            (Some(_), _, Some(element)) => {
                walk.count = walk.count.saturating_add(1);
                walk.sum = walk.sum.wrapping_add(element);
            }
            (_, Some((first, _)), Some(_)) => {
                let group = walk.groups.entry(first).or_default();
                group.extend_from_slice(Sealer::value_of(bytes));
            }
            (record, ..) => {
                walk.damage.add(record.unwrap_or(&key));
                walk.damaged_keys.push(key);
            }
        }
    }

    /// Keeps the changes after the floor; where they are not complete, none before the gap.
    fn take_changes(&mut self, groups: &BTreeMap<u64, Vec<u8>>) {
        let compacted = self.head.floor;
        let mut next = None;
        for (first, bytes) in groups {
            let Some(group) = layout::decode_group(bytes) else {
                tracing::warn!(
                    first,
                    "changes are incomplete: followers before them must reload"
                );
                next = None;
                continue;
            };
            if next != Some(*first) {
                self.changes.clear();
                self.head.floor = first.saturating_sub(1);
            }
            next = Some(first.saturating_add(u64::try_from(group.len()).unwrap_or(u64::MAX)));
            self.changes.extend(group);
        }
        if next != Some(self.head.position.revision.saturating_add(1)) {
            self.changes.clear();
            self.head.floor = self.head.position.revision;
        }
        let surplus =
            usize::try_from(compacted.saturating_sub(self.head.floor)).unwrap_or(usize::MAX);
        self.changes.drain(..surplus.min(self.changes.len()));
        self.head.floor = self.head.floor.max(compacted);
    }

    /// Drops what is damaged and begins a new incarnation over the rest.
    fn accept(&mut self, walk: &Walk, position: Position) -> Result<(), OpenError> {
        let floor = position.revision;
        self.head = Head {
            position,
            floor,
            count: walk.count,
            sum: walk.sum,
        };
        let mut batch = sled::Batch::default();
        walk.damaged_keys
            .iter()
            .for_each(|key| batch.remove(key.clone()));
        batch.insert(HEAD, self.head.seal(&self.sealer));
        guarded(|| {
            for key in self.db.scan_prefix(layout::CHANGES_PREFIX).keys() {
                batch.remove(key.map_err(|error| error.to_string())?);
            }
            let written = self.db.apply_batch(batch).and_then(|()| self.db.flush());
            written.map(drop).map_err(|error| error.to_string())
        })
        .map_err(OpenError::Engine)?;
        let synced = self.data.sync();
        let marked = synced.and_then(|()| self.mark.set(position, &self.sealer));
        marked.map_err(OpenError::io("mark", Path::new("mark")))
    }
}
