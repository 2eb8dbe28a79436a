//! The reader threads: sled may block on the disk, so no caller's thread enters it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use futures_channel::oneshot;

use super::guards::{drop_sled, guarded};
use super::layout;
use super::seal::Sealer;
use super::shared::Shared;
use crate::{Change, Key, Loaded, Position, StoreError, Value, Write};

pub(super) enum Read {
    Get(
        Box<[u8]>,
        oneshot::Sender<Result<Option<Value>, StoreError>>,
    ),
    Load(Box<[u8]>, oneshot::Sender<Result<Loaded, StoreError>>),
    Close(oneshot::Sender<()>),
}

pub(super) struct Reader {
    pub(super) db: sled::Db,
    pub(super) shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn run(self, requests: &Receiver<Read>) {
        let closing = loop {
            match requests.recv() {
                Ok(Read::Get(key, answer)) => {
                    let _gone = answer.send(self.answer(|| self.get(&key)));
                }
                Ok(Read::Load(prefix, answer)) => {
                    let _gone = answer.send(self.answer(|| self.load(&prefix)));
                }
                Ok(Read::Close(answer)) => break Some(answer),
                Err(_) => break None,
            }
        };
        drop_sled(self.db);
        if let Some(answer) = closing {
            let _gone = answer.send(());
        }
    }

    /// A panic inside sled fails the whole store: it may hold locks that are gone now.
    fn answer<T>(&self, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        guarded(|| Ok(read())).unwrap_or_else(|reason| {
            self.shared.fail(&reason);
            Err(StoreError::Unavailable(reason))
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let sled_key = layout::record_key(key);
        let _gate = self.shared.enter()?;
        let found = self.db.get(&sled_key).map_err(unavailable)?;
        found.map(|bytes| self.value(&sled_key, &bytes)).transpose()
    }

    /// A scan that does not stop the writer, then a replay of what it committed meanwhile.
    fn load(&self, prefix: &[u8]) -> Result<Loaded, StoreError> {
        let before = {
            let _gate = self.shared.enter()?;
            self.shared.log.head()
        };
        let scanned = self.scan(prefix)?;
        // The gate opens only once everything the scan may have seen is durable.
        let gate = self.shared.enter()?;
        if let Some((position, changes)) = self.shared.log.since(before.revision) {
            drop(gate);
            return Ok(replay(scanned, prefix, position, changes));
        }
        // The log moved past us: scan once more, with the writer waiting.
        let (position, records) = (self.shared.log.head(), self.scan(prefix)?);
        drop(gate);
        Ok(Loaded { position, records })
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Key, Value)>, StoreError> {
        let mut records = Vec::new();
        for item in self.db.scan_prefix(layout::record_key(prefix)) {
            let (key, bytes) = item.map_err(unavailable)?;
            let value = self.value(&key, &bytes)?;
            records.push((layout::record_of(&key).unwrap_or_default().into(), value));
        }
        Ok(records)
    }

    fn value(&self, key: &[u8], bytes: &[u8]) -> Result<Value, StoreError> {
        if self.shared.sealer.element(key, bytes).is_some() {
            return Ok(Sealer::value_of(bytes).into());
        }
        let key = layout::record_of(key)
            .unwrap_or(key)
            .escape_ascii()
            .to_string();
        Err(StoreError::Corrupt { key })
    }
}

fn unavailable(error: sled::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn replay(
    scanned: Vec<(Key, Value)>,
    prefix: &[u8],
    position: Position,
    changes: Vec<Change>,
) -> Loaded {
    if changes.is_empty() {
        return Loaded {
            position,
            records: scanned,
        };
    }
    let mut records: BTreeMap<Key, Value> = scanned.into_iter().collect();
    let writes = changes.iter().flat_map(|change| change.writes.iter());
    for write in writes.filter(|write| write.key().starts_with(prefix)) {
        match write {
            Write::Put(key, value) => records.insert(key.clone(), value.clone()),
            Write::Delete(key) => records.remove(key),
        };
    }
    Loaded {
        position,
        records: records.into_iter().collect(),
    }
}
