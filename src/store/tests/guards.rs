//! What the guards around sled promise in normal operation, and how failures end.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::Arc;

    use store::sled_engine::{OpenError, PlantedFault, Sled, SledOptions};
    use store::{
        Commit, CommitError, CommitId, Limits, Position, Resolution, Store, StoreError, WatchError,
        Write, block_on,
    };
    use tempfile::TempDir;

    fn options() -> SledOptions {
        SledOptions::new([3; 32])
    }

    fn commit(store: &Sled, n: u16, writes: Vec<Write>) -> Result<Position, CommitError> {
        let id = CommitId(u128::from(n).to_be_bytes());
        block_on(store.commit(Commit {
            id,
            conditions: vec![],
            writes,
        }))
    }

    fn put(key: String, value: Vec<u8>) -> Write {
        Write::Put(key.as_bytes().into(), value.into())
    }

    #[test]
    fn the_largest_values_stay_in_the_log_that_is_synced() {
        let dir = TempDir::new().unwrap();
        let store = Sled::open(dir.path(), options()).unwrap();
        let limits = Limits::default();
        for n in 0..120_u16 {
            let writes = (0..4_u16).map(|part| {
                let name = format!("{:04}", n.wrapping_mul(7919) % 1000 * 4 + part);
                put(
                    name + &"k".repeat(1000),
                    vec![n.to_le_bytes()[0]; limits.max_value_bytes],
                )
            });
            commit(&store, n, writes.collect()).unwrap();
        }
        let blobs = fs::read_dir(dir.path().join("sled/blobs")).unwrap();
        assert_eq!(blobs.count(), 0);
    }

    #[test]
    fn a_failed_sync_leaves_the_outcome_unknown_and_ends_the_store() {
        let dir = TempDir::new().unwrap();
        let fault = PlantedFault::SyncFailsAfter(2);
        let store = Sled::open(dir.path(), SledOptions { fault, ..options() }).unwrap();
        let mut watch = store.watch(store.head()).unwrap();
        let first = commit(&store, 1, vec![put("a".into(), vec![1])]).unwrap();
        let second = commit(&store, 2, vec![put("a".into(), vec![2])]).unwrap();
        let outcome = commit(&store, 3, vec![put("a".into(), vec![3])]);
        assert_eq!(outcome, Err(CommitError::Unknown));
        assert!(matches!(
            commit(&store, 4, vec![]),
            Err(CommitError::Unavailable(_))
        ));
        assert!(matches!(
            block_on(store.get(b"a")),
            Err(StoreError::Unavailable(_))
        ));
        assert_eq!(store.head(), second);
        assert_eq!(block_on(watch.next()).unwrap().position, first);
        assert_eq!(block_on(watch.next()).unwrap().position, second);
        assert_eq!(block_on(watch.next()), Err(WatchError::Closed));
        drop(store);
        // Opened again, the unknown outcome can be resolved.
        let store = Sled::open(dir.path(), options()).unwrap();
        let resolved = block_on(store.resolve(CommitId(3_u128.to_be_bytes()))).unwrap();
        let value = block_on(store.get(b"a")).unwrap().unwrap();
        match resolved {
            Resolution::Committed(_) => assert_eq!(*value, [3]),
            Resolution::NotCommitted => assert_eq!(*value, [2]),
            Resolution::Forgotten => panic!("nothing was compacted"),
        }
    }

    #[test]
    fn a_full_disk_refuses_commits_and_still_serves_and_reopens() {
        let dir = TempDir::new().unwrap();
        let fault = PlantedFault::FullFrom(3);
        let store = Sled::open(dir.path(), SledOptions { fault, ..options() }).unwrap();
        for n in 1..=3 {
            commit(&store, n, vec![put("a".into(), n.to_be_bytes().into())]).unwrap();
        }
        assert_eq!(
            commit(&store, 4, vec![put("a".into(), vec![])]),
            Err(CommitError::Full)
        );
        let resolved = block_on(store.resolve(CommitId(4_u128.to_be_bytes())));
        assert_eq!(resolved, Ok(Resolution::NotCommitted));
        assert_eq!(*block_on(store.get(b"a")).unwrap().unwrap(), [0, 3]);
        drop(store);
        let huge = SledOptions {
            reserve_bytes: u64::MAX,
            ..options()
        };
        let store = Sled::open(dir.path(), huge).unwrap();
        assert_eq!(commit(&store, 5, vec![]), Err(CommitError::Full));
        assert_eq!(*block_on(store.get(b"a")).unwrap().unwrap(), [0, 3]);
    }

    #[test]
    fn a_second_opener_is_refused_and_the_store_is_private() {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("store");
        let store = Sled::open(&dir, options()).unwrap();
        assert!(matches!(Sled::open(&dir, options()), Err(OpenError::InUse)));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("key"))), (0o700, 0o600));
        drop(store);
        fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Sled::open(&dir, options()),
            Err(OpenError::Key(_))
        ));
    }

    /// sled's own threads hold its lock for a while after the last handle is gone.
    #[test]
    fn a_store_can_be_opened_again_at_once() {
        let dir = TempDir::new().unwrap();
        for n in 0..30 {
            let store = Sled::open(dir.path(), options()).unwrap();
            commit(&store, n, vec![put(n.to_string(), vec![])]).unwrap();
            assert_eq!(store.head().revision, u64::from(n) + 1);
        }
    }

    #[test]
    fn an_interrupted_creation_begins_again() {
        let dir = TempDir::new().unwrap();
        let half = dir.path().join("sled.new");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("conf"), "segm").unwrap();
        fs::write(dir.path().join("key.new"), [1; 7]).unwrap();
        let store = Sled::open(dir.path(), options()).unwrap();
        commit(&store, 1, vec![put("a".into(), vec![])]).unwrap();
        assert!(!half.exists());
    }

    /// The stored change log shrinks with the one in memory, and stays complete.
    #[test]
    fn the_change_log_on_disk_is_bounded() {
        let dir = TempDir::new().unwrap();
        let limits = Limits {
            max_log_changes: 10,
            ..Limits::default()
        };
        let bounded = SledOptions {
            limits,
            ..options()
        };
        let store = Sled::open(dir.path(), bounded.clone()).unwrap();
        for n in 0..100 {
            commit(&store, n, vec![put("a".into(), vec![0; 100])]).unwrap();
        }
        let head = store.head();
        drop(store);
        let store = Sled::open(dir.path(), bounded).unwrap();
        let at = |revision| Position { revision, ..head };
        assert_eq!(store.watch(at(89)).err(), Some(WatchError::Reload));
        let mut watch = store.watch(at(90)).unwrap();
        assert_eq!(block_on(watch.next()).unwrap().position, at(91));
        drop(store);
        let db = sled::Config::new()
            .path(dir.path().join("sled"))
            .segment_size(4 << 20);
        let groups = db.open().unwrap().scan_prefix(b"l").count();
        assert!(groups <= 12, "{groups} groups kept for 10 changes");
    }

    /// Whatever was acknowledged before a close is there after it.
    #[test]
    fn commits_of_many_threads_survive_a_close_in_between() {
        let dir = TempDir::new().unwrap();
        let store = Arc::new(Sled::open(dir.path(), options()).unwrap());
        let acknowledged: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u16)
                .map(|thread| {
                    let store = Arc::clone(&store);
                    scope.spawn(move || {
                        let commits = (0..2000_u16).map_while(|n| {
                            let key = format!("{thread}/{n}");
                            commit(&store, thread * 4096 + n, vec![put(key, vec![])]).ok()
                        });
                        commits.count()
                    })
                })
                .collect();
            let mut watch = store.watch(store.head()).unwrap();
            for _ in 0..40 {
                block_on(watch.next()).unwrap();
            }
            block_on(store.close());
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        drop(store);
        let store = Sled::open(dir.path(), options()).unwrap();
        let kept = block_on(store.load(b"")).unwrap().records.len();
        assert!(kept >= acknowledged, "{kept} kept of {acknowledged}");
    }
}
