//! The battery over each engine, and over stores with planted bugs, which it must find.

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use store::conformance::{Subject, battery};
    use store::memory::Memory;
    use store::sled_engine::{Sled, SledOptions};
    use store::{
        BoxFuture, Commit, CommitError, CommitId, Limits, Loaded, Position, Resolution, Store,
        StoreError, Value, Watch, WatchError, Write, block_on,
    };
    use tempfile::TempDir;

    struct InMemory(Mutex<u128>);

    impl Subject for InMemory {
        fn fresh(&self, limits: Limits) -> Arc<dyn Store> {
            let mut next = self.0.lock().unwrap();
            *next += 1;
            Arc::new(Memory::with_limits(*next, limits))
        }
    }

    /// Remembers which directory holds the store of an incarnation.
    #[derive(Default)]
    struct OnDisk(Mutex<HashMap<u128, (TempDir, Limits)>>);

    impl OnDisk {
        fn open(dir: &TempDir, limits: Limits, randomness: [u8; 32]) -> Arc<dyn Store> {
            let options = SledOptions {
                limits,
                ..SledOptions::new(randomness)
            };
            Arc::new(Sled::open(dir.path(), options).unwrap())
        }
    }

    impl Subject for OnDisk {
        fn fresh(&self, limits: Limits) -> Arc<dyn Store> {
            let mut stores = self.0.lock().unwrap();
            let dir = TempDir::new().unwrap();
            let randomness = [u8::try_from(stores.len()).unwrap(); 32];
            let store = Self::open(&dir, limits, randomness);
            stores.insert(store.head().incarnation, (dir, limits));
            store
        }

        fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
            let incarnation = store.head().incarnation;
            drop(store);
            let stores = self.0.lock().unwrap();
            let (dir, limits) = &stores[&incarnation];
            Some(Self::open(dir, *limits, [255; 32]))
        }
    }

    #[test]
    fn memory_conforms() {
        battery(&InMemory(Mutex::new(0))).unwrap();
    }

    #[test]
    fn sled_conforms() {
        battery(&OnDisk::default()).unwrap();
    }

    #[derive(Clone, Copy, Debug)]
    enum Bug {
        IgnoresConditions,
        WritesDespiteConflict,
        DropsLastWrite,
        LosesEveryTenthCommit,
        AppliesRetriesAgain,
        AnswersOldPosition,
        LoadsBeyondPrefix,
        WatchesFromHead,
        IgnoresLimits,
        ResolvesWrong,
        ServesAfterClose,
    }

    struct Buggy(Memory, Bug);

    impl Buggy {
        fn broken(&self, mut commit: Commit) -> Commit {
            match self.1 {
                Bug::IgnoresConditions => commit.conditions.clear(),
                Bug::DropsLastWrite if commit.writes.len() > 1 => drop(commit.writes.pop()),
                Bug::LosesEveryTenthCommit if self.0.head().revision % 10 == 9 => {
                    commit.writes.clear();
                }
                Bug::AppliesRetriesAgain => {
                    commit.id = CommitId((u128::from(self.0.head().revision) << 9).to_be_bytes());
                }
                Bug::IgnoresLimits => commit.writes.truncate(4),
                _ => {}
            }
            commit
        }
    }

    impl Store for Buggy {
        fn get(&self, key: &[u8]) -> BoxFuture<'static, Result<Option<Value>, StoreError>> {
            if matches!(self.1, Bug::ServesAfterClose) {
                let value = block_on(self.0.get(key)).unwrap_or_default();
                return Box::pin(async move { Ok(value) });
            }
            self.0.get(key)
        }

        fn load(&self, prefix: &[u8]) -> BoxFuture<'static, Result<Loaded, StoreError>> {
            let shorter = prefix.len().saturating_sub(1);
            self.0.load(if matches!(self.1, Bug::LoadsBeyondPrefix) {
                &prefix[..shorter]
            } else {
                prefix
            })
        }

        fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Position, CommitError>> {
            let before = self.0.head();
            let writes = commit.writes.clone();
            let outcome = block_on(self.0.commit(self.broken(commit)));
            if let (Bug::WritesDespiteConflict, Err(CommitError::Conflict { .. })) =
                (self.1, &outcome)
            {
                let id = CommitId([before.revision.to_le_bytes()[0]; 16]);
                block_on(self.0.commit(Commit {
                    id,
                    conditions: vec![],
                    writes,
                }))
                .unwrap();
            }
            let old = matches!(self.1, Bug::AnswersOldPosition);
            Box::pin(async move { outcome.map(|position| if old { before } else { position }) })
        }

        fn resolve(&self, id: CommitId) -> BoxFuture<'static, Result<Resolution, StoreError>> {
            if matches!(self.1, Bug::ResolvesWrong) {
                return Box::pin(async { Ok(Resolution::NotCommitted) });
            }
            self.0.resolve(id)
        }

        fn watch(&self, after: Position) -> Result<Watch, WatchError> {
            self.0.watch(if matches!(self.1, Bug::WatchesFromHead) {
                self.0.head()
            } else {
                after
            })
        }

        fn compact(&self, before: Position) -> BoxFuture<'static, Result<(), StoreError>> {
            self.0.compact(before)
        }

        fn head(&self) -> Position {
            self.0.head()
        }

        fn close(&self) -> BoxFuture<'static, ()> {
            self.0.close()
        }
    }

    struct WithBug(Bug, Mutex<u128>);

    impl Subject for WithBug {
        fn fresh(&self, limits: Limits) -> Arc<dyn Store> {
            let mut next = self.1.lock().unwrap();
            *next += 1;
            Arc::new(Buggy(Memory::with_limits(*next, limits), self.0))
        }
    }

    #[test]
    fn the_battery_finds_every_planted_bug() {
        for bug in [
            Bug::IgnoresConditions,
            Bug::WritesDespiteConflict,
            Bug::DropsLastWrite,
            Bug::LosesEveryTenthCommit,
            Bug::AppliesRetriesAgain,
            Bug::AnswersOldPosition,
            Bug::LoadsBeyondPrefix,
            Bug::IgnoresLimits,
            Bug::ResolvesWrong,
            Bug::ServesAfterClose,
        ] {
            let verdict = battery(&WithBug(bug, Mutex::new(0)));
            assert!(verdict.is_err(), "{bug:?} was not found");
        }
    }

    /// A watch that begins too late would make the battery wait for a change that never
    /// comes, so this bug is shown by hand.
    #[test]
    fn a_watch_that_skips_changes_differs_from_one_that_does_not() {
        let store = Buggy(Memory::new(1), Bug::WatchesFromHead);
        let start = store.head();
        for n in 0..2 {
            let writes = vec![Write::Delete(b"k".as_slice().into())];
            block_on(store.commit(Commit {
                id: CommitId([n; 16]),
                conditions: vec![],
                writes,
            }))
            .unwrap();
        }
        let mut late = store.watch(start).unwrap();
        block_on(store.close());
        assert_eq!(block_on(late.next()), Err(WatchError::Closed));
    }
}
