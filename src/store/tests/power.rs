//! Power cuts: of what was written since the last sync, any part may be on the disk.
//!
//! For each commit the sectors that it changed are known by comparing sled's file before
//! and after; a crash state is the file before plus some of those sectors. Every such
//! state must open as the state before the commit or the one after it.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use store::sled_engine::{Sled, SledOptions};
    use store::{Commit, CommitId, Key, Limits, Store, Value, Write, block_on};
    use tempfile::TempDir;

    const SECTOR_BYTES: usize = 512;
    const STATES_PER_COMMIT: u64 = 8;

    type Records = BTreeMap<Key, Value>;

    fn open(dir: &Path) -> Sled {
        let limits = Limits {
            max_log_changes: 4,
            ..Limits::default()
        };
        Sled::open(
            dir,
            SledOptions {
                limits,
                ..SledOptions::new([3; 32])
            },
        )
        .unwrap()
    }

    fn records(store: &Sled) -> Records {
        block_on(store.load(b""))
            .unwrap()
            .records
            .into_iter()
            .collect()
    }

    fn commit(store: &Sled, n: u32, key_count: u32, value_bytes: usize) {
        let value = |part: u32| Value::from(vec![(n + part).to_le_bytes()[0]; value_bytes]);
        let key = |part: u32| Key::from(format!("k{:03}", (n * 7 + part) % key_count).as_bytes());
        let mut writes: Vec<_> = (0..3)
            .map(|part| Write::Put(key(part), value(part)))
            .collect();
        writes.push(Write::Delete(key(9)));
        let id = CommitId(u128::from(n).to_be_bytes());
        block_on(store.commit(Commit {
            id,
            conditions: vec![],
            writes,
        }))
        .unwrap();
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

    /// A reproducible stream of bits (xorshift).
    struct Bits(u64);

    impl Bits {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    /// The file before, with those changed sectors of the file after that `keep` chooses.
    fn mix(before: &[u8], after: &[u8], mut keep: impl FnMut(usize, usize) -> bool) -> Vec<u8> {
        let mut padded = before.to_vec();
        padded.resize(after.len().max(before.len()), 0);
        let sector = |n: usize| n * SECTOR_BYTES..((n + 1) * SECTOR_BYTES).min(after.len());
        let changed: Vec<_> = (0..after.len().div_ceil(SECTOR_BYTES))
            .filter(|n| padded[sector(*n)] != after[sector(*n)])
            .collect();
        for (index, n) in changed.iter().enumerate() {
            if keep(index, changed.len()) {
                padded[sector(*n)].copy_from_slice(&after[sector(*n)]);
            }
        }
        padded
    }

    /// Which of the changed sectors reached the disk: the first ones, the last ones, all
    /// but one, or any.
    fn crash_state(which: u64, bits: &mut Bits, before: &[u8], after: &[u8]) -> Vec<u8> {
        let random = bits.next();
        let pick = |count: usize| usize::try_from(random).unwrap() % count.max(1);
        match which % 4 {
            0 => mix(before, after, |index, count| index < pick(count)),
            1 => mix(before, after, |index, count| index >= pick(count)),
            2 => mix(before, after, |index, count| index != pick(count)),
            _ => mix(before, after, |_, _| bits.next().is_multiple_of(2)),
        }
    }

    fn run(commits: std::ops::Range<u32>, warm_up: u32, key_count: u32, value_bytes: usize) -> u64 {
        let dir = TempDir::new().unwrap();
        let mut bits = Bits(0x9e37_79b9_7f4a_7c15);
        let store = open(dir.path());
        (0..warm_up).for_each(|n| commit(&store, n, key_count, value_bytes));
        let db = dir.path().join("sled/db");
        let (mut applied, mut not_applied) = (0, 0);
        for n in commits {
            let base = TempDir::new().unwrap();
            copy(dir.path(), base.path());
            let (before, state_before) = (fs::read(&db).unwrap(), records(&store));
            commit(&store, warm_up + n, key_count, value_bytes);
            let (after, state_after) = (fs::read(&db).unwrap(), records(&store));
            for which in 0..STATES_PER_COMMIT {
                let crashed = TempDir::new().unwrap();
                copy(base.path(), crashed.path());
                let bytes = crash_state(which, &mut bits, &before, &after);
                fs::write(crashed.path().join("sled/db"), bytes).unwrap();
                let found = records(&open(crashed.path()));
                if found == state_after {
                    applied += 1;
                } else {
                    assert!(found == state_before, "commit {n}, state {which}: neither");
                    not_applied += 1;
                }
            }
        }
        assert!(applied > 0 || not_applied > 0);
        fs::metadata(db).unwrap().len()
    }

    #[test]
    fn small_commits_are_whole_or_absent_after_a_power_cut() {
        run(0..20, 30, 40, 300);
    }

    /// Enough churn that sled reuses segments, which it overwrites in place.
    #[test]
    fn large_commits_over_reused_segments_are_whole_or_absent_after_a_power_cut() {
        // Each value is written twice: as a record and in the change log.
        let written = 250 * 3 * 20_000 * 2;
        let length = run(0..4, 250, 60, 20_000);
        assert!(length < written, "{length} bytes: no segment was reused");
    }
}
