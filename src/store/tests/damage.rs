//! Damage, forgery and rollback: found at open, named, and accepted only on request.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use store::sled_engine::{Damage, OpenError, Sled, SledOptions};
    use store::{Commit, CommitId, Key, Position, Store, Value, WatchError, Write, block_on};
    use tempfile::TempDir;

    const SEGMENT_BYTES: usize = 4 << 20;

    fn options() -> SledOptions {
        SledOptions::new([3; 32])
    }

    fn key(n: u8) -> Key {
        format!("td/entry/{n:03}").as_bytes().into()
    }

    fn commit(store: &Sled, n: u8, writes: Vec<Write>) -> Position {
        let id = CommitId([n; 16]);
        block_on(store.commit(Commit {
            id,
            conditions: vec![],
            writes,
        }))
        .unwrap()
    }

    fn records(store: &Sled) -> BTreeMap<Key, Value> {
        block_on(store.load(b""))
            .unwrap()
            .records
            .into_iter()
            .collect()
    }

    /// A closed store of 60 records, some of them replaced.
    fn store() -> (TempDir, Position, BTreeMap<Key, Value>) {
        let dir = TempDir::new().unwrap();
        let store = Sled::open(dir.path(), options()).unwrap();
        for n in 0..60 {
            let old = Write::Put(key(n / 2), vec![n; 100].into());
            commit(
                &store,
                n,
                vec![Write::Put(key(n), vec![n; 300].into()), old],
            );
        }
        let (head, records) = (store.head(), records(&store));
        block_on(store.close());
        (dir, head, records)
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    fn raw(dir: &Path) -> sled::Result<sled::Db> {
        sled::Config::new()
            .path(dir.join("sled"))
            .segment_size(SEGMENT_BYTES)
            .open()
    }

    /// Edits sled's tree as someone would who has its crate but not the key.
    fn tamper(dir: &Path, edit: impl FnOnce(&sled::Db)) {
        let db = raw(dir).unwrap();
        edit(&db);
        db.flush().unwrap();
    }

    fn damage(dir: &Path) -> Damage {
        match Sled::open(dir, options()) {
            Err(OpenError::Damaged(damage)) => damage,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("damage was not found"),
        }
    }

    fn sled_key(n: u8) -> Vec<u8> {
        [b"r".as_slice(), &key(n)].concat()
    }

    #[test]
    fn an_edited_record_is_named_and_everything_else_can_be_saved() {
        let (dir, head, mut expected) = store();
        tamper(dir.path(), |db| {
            let mut bytes = db.get(sled_key(7)).unwrap().unwrap().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            db.insert(sled_key(7), bytes).unwrap();
        });
        let found = damage(dir.path());
        assert_eq!(
            (found.record_count, found.records),
            (1, vec!["td/entry/007".to_owned()])
        );
        let accepting = SledOptions {
            accept_damage: true,
            ..SledOptions::new([4; 32])
        };
        let store = Sled::open(dir.path(), accepting).unwrap();
        expected.remove(&key(7));
        assert_eq!(records(&store), expected);
        assert_ne!(store.head().incarnation, head.incarnation);
        assert_eq!(store.watch(head).err(), Some(WatchError::Reload));
        commit(&store, 99, vec![Write::Delete(key(8))]);
        drop(store);
        expected.remove(&key(8));
        assert_eq!(
            records(&Sled::open(dir.path(), options()).unwrap()),
            expected
        );
    }

    #[test]
    fn deleted_added_moved_and_old_records_are_found() {
        let (dir, ..) = store();
        type Edit = (&'static str, fn(&sled::Db));
        let edits: [Edit; 5] = [
            ("deleted", |db| drop(db.remove(sled_key(9)).unwrap())),
            ("added", |db| {
                drop(db.insert(sled_key(99), [0; 40].as_slice()).unwrap())
            }),
            ("copied to another key", |db| {
                let bytes = db.get(sled_key(1)).unwrap().unwrap();
                db.insert(sled_key(2), bytes).unwrap();
            }),
            ("head removed", |db| drop(db.remove(b"h").unwrap())),
            ("change log edited", |db| {
                let (key, bytes) = db.scan_prefix(b"l").next().unwrap().unwrap();
                db.insert(key, &bytes[1..]).unwrap();
            }),
        ];
        for (what, edit) in edits {
            let copied = TempDir::new().unwrap();
            copy(dir.path(), copied.path());
            tamper(copied.path(), edit);
            assert_ne!(damage(copied.path()), Damage::default(), "{what}");
        }
        // An authentic, but older version of a record.
        let copied = TempDir::new().unwrap();
        copy(dir.path(), copied.path());
        let old = raw(copied.path())
            .unwrap()
            .get(sled_key(1))
            .unwrap()
            .unwrap();
        let store = Sled::open(copied.path(), options()).unwrap();
        commit(
            &store,
            200,
            vec![Write::Put(key(1), b"ban".as_slice().into())],
        );
        block_on(store.close());
        tamper(copied.path(), |db| {
            drop(db.insert(sled_key(1), old).unwrap())
        });
        assert!(damage(copied.path()).incomplete);
    }

    #[test]
    fn a_rolled_back_store_is_found_by_its_mark_or_by_a_position_kept_elsewhere() {
        let (dir, old_head, _) = store();
        let old = TempDir::new().unwrap();
        copy(dir.path(), old.path());
        let store = Sled::open(dir.path(), options()).unwrap();
        let head = commit(&store, 201, vec![Write::Delete(key(5))]);
        block_on(store.close());
        // sled's files alone go back: the mark shows it.
        fs::remove_dir_all(dir.path().join("sled")).unwrap();
        copy(&old.path().join("sled"), &dir.path().join("sled"));
        assert!(damage(dir.path()).rolled_back);
        // Everything goes back: only a position kept elsewhere shows it.
        assert_eq!(Sled::open(old.path(), options()).unwrap().head(), old_head);
        let kept = SledOptions {
            at_least: Some(head),
            ..options()
        };
        let refused = Sled::open(old.path(), kept.clone());
        assert!(matches!(
            refused,
            Err(OpenError::Damaged(Damage {
                rolled_back: true,
                ..
            }))
        ));
        let accepting = SledOptions {
            accept_damage: true,
            randomness: [5; 32],
            ..kept
        };
        let accepted = Sled::open(old.path(), accepting).unwrap();
        assert_ne!(accepted.head().incarnation, head.incarnation);
        assert!(accepted.head().revision > head.revision);
        // All data gone, but the mark remembers.
        fs::remove_dir_all(dir.path().join("sled")).unwrap();
        assert!(damage(dir.path()).rolled_back);
    }

    #[test]
    fn another_or_a_missing_key_opens_nothing() {
        let (dir, ..) = store();
        let other = SledOptions {
            key: Some([1; 32]),
            ..options()
        };
        assert!(matches!(
            Sled::open(dir.path(), other),
            Err(OpenError::Damaged(_))
        ));
        fs::remove_file(dir.path().join("key")).unwrap();
        assert!(matches!(
            Sled::open(dir.path(), options()),
            Err(OpenError::Key(_))
        ));
    }

    fn snapshot(dir: &Path) -> PathBuf {
        let files = fs::read_dir(dir.join("sled"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_snapshot = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("snap."))
        };
        files.filter(is_snapshot).max().unwrap()
    }

    /// What a kill in the middle of sled's snapshot leaves behind, at every stage of it.
    #[test]
    fn a_half_written_snapshot_does_not_brick_the_store() {
        let (dir, head, expected) = store();
        let snapshot = snapshot(dir.path());
        let whole = fs::read(&snapshot).unwrap();
        let mut left = snapshot.clone().into_os_string();
        left.push(".generating");
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&left, &whole[..length]).unwrap();
            if length > 0 {
                let bare = TempDir::new().unwrap();
                copy(dir.path(), bare.path());
                let opened = std::panic::catch_unwind(|| raw(bare.path()).is_ok());
                assert!(
                    !matches!(opened, Ok(true)),
                    "the guard is no longer needed: {length}"
                );
            }
            let store = Sled::open(dir.path(), options()).unwrap();
            assert_eq!((store.head(), records(&store)), (head, expected.clone()));
            drop(store);
            assert!(!PathBuf::from(&left).exists());
            let newer = self::snapshot(dir.path());
            if newer != snapshot {
                fs::rename(newer, &snapshot).unwrap();
            }
        }
    }

    #[test]
    fn a_damaged_snapshot_is_moved_aside() {
        let (dir, head, expected) = store();
        let snapshot = snapshot(dir.path());
        let mut bytes = fs::read(&snapshot).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&snapshot, bytes).unwrap();
        let store = Sled::open(dir.path(), options()).unwrap();
        assert_eq!((store.head(), records(&store)), (head, expected));
        assert_eq!(
            fs::read_dir(dir.path().join("sled/aside")).unwrap().count(),
            1
        );
    }

    /// A flipped bit is harmless or reported: never another state, never a crash.
    #[test]
    fn flipped_bytes_never_change_what_is_served() {
        let (dir, head, expected) = store();
        let mut reported = 0;
        let snapshot = snapshot(dir.path());
        let files = ["sled/db", "sled/conf", "mark", "key"].map(|name| dir.path().join(name));
        for file in files.iter().chain([&snapshot]) {
            let whole = fs::read(file).unwrap();
            let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            let trials = used.min(if file.ends_with("db") { 60 } else { 16 });
            for trial in 0..trials {
                let copied = TempDir::new().unwrap();
                copy(dir.path(), copied.path());
                let mut bytes = whole.clone();
                bytes[used / trials * trial] ^= 1 << (trial % 8);
                fs::write(
                    copied.path().join(file.strip_prefix(dir.path()).unwrap()),
                    bytes,
                )
                .unwrap();
                match Sled::open(copied.path(), options()) {
                    Ok(store) => {
                        let found = (store.head(), records(&store));
                        assert_eq!(found, (head, expected.clone()), "{file:?} {trial}");
                    }
                    Err(_) => reported += 1,
                }
            }
        }
        assert!(
            reported > 16,
            "too few flips met live data: the test shows nothing"
        );
    }
}
