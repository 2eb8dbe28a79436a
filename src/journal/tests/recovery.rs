//! What a crash may leave behind, and what opening makes of it.

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};

    use journal::{Binding, Draft, Journal, JournalError, Options, Priority, read, verify};
    use proptest::prelude::*;
    use tempfile::TempDir;

    const DATA_START: u64 = 4096;

    fn draft(n: usize) -> Draft {
        Draft {
            priority: Priority::default(),
            binding: Binding::of(&n.to_be_bytes()),
            payload: vec![7; n % 300],
        }
    }

    fn newest(dir: &Path) -> PathBuf {
        let files = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|it| it == "journal"))
            .max()
            .unwrap()
    }

    /// The bytes of `count` records after record 1, as a group that was being written.
    fn next_group(count: usize) -> Vec<u8> {
        let dir = TempDir::new().unwrap();
        let journal = Journal::open(dir.path(), Options::default()).unwrap();
        journal.append_blocking(vec![draft(100)]).unwrap();
        journal
            .append_blocking((0..count).map(draft).collect())
            .unwrap();
        journal.close();
        let bytes = fs::read(newest(dir.path())).unwrap();
        bytes[usize::try_from(DATA_START).unwrap() + 48 + 100 + 32..].to_vec()
    }

    /// A journal with record 1 acknowledged and these bytes behind it.
    fn with_tail(tail: &[u8]) -> TempDir {
        let dir = TempDir::new().unwrap();
        let journal = Journal::open(dir.path(), Options::default()).unwrap();
        journal.append_blocking(vec![draft(100)]).unwrap();
        journal.close();
        let file = OpenOptions::new()
            .write(true)
            .open(newest(dir.path()))
            .unwrap();
        let end = file.metadata().unwrap().len();
        file.write_all_at(tail, end).unwrap();
        dir
    }

    /// Opens, appends and verifies; returns how many records there were at open.
    fn reopen(dir: &Path) -> u64 {
        let journal = Journal::open(dir, Options::default()).unwrap();
        let before = journal.head();
        let receipts = journal.append_blocking(vec![draft(5)]).unwrap();
        assert_eq!(receipts[0].seq(), before.seq + 1);
        let head = journal.head();
        journal.close();
        verify(dir, Some(&before)).unwrap();
        verify(dir, Some(&head)).unwrap();
        before.seq
    }

    #[test]
    fn a_group_torn_at_any_byte_leaves_whole_records_only() {
        let group = next_group(3);
        let (first, second) = (48 + 32, 48 + 1 + 32);
        for cut in 0..=group.len() {
            let dir = with_tail(&group[..cut]);
            let whole = [first, first + second, group.len()]
                .iter()
                .filter(|it| cut >= **it)
                .count();
            assert_eq!(
                reopen(dir.path()),
                1 + u64::try_from(whole).unwrap(),
                "cut at {cut}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_group_with_lost_or_garbled_sectors_never_harms_what_was_acknowledged(
            lost in proptest::collection::vec((0_usize..2600, 1_usize..600, any::<u8>()), 1..5),
        ) {
            let mut group = next_group(24);
            for (start, length, byte) in lost {
                let end = (start + length).min(group.len());
                if let Some(sector) = group.get_mut(start..end) { sector.fill(byte); }
            }
            let dir = with_tail(&group);
            prop_assert!(reopen(dir.path()) >= 1);
        }
    }

    #[test]
    fn what_was_cut_does_not_come_back() {
        let group = next_group(8);
        let dir = with_tail(&group[30..]);
        assert_eq!(reopen(dir.path()), 1);
        assert_eq!(reopen(dir.path()), 2);
    }

    #[test]
    fn a_half_made_segment_is_ignored_and_removed() {
        let dir = with_tail(&[]);
        fs::write(dir.path().join("next.tmp"), [1; 5000]).unwrap();
        assert_eq!(reopen(dir.path()), 1);
        assert!(!dir.path().join("next.tmp").exists());
    }

    #[test]
    fn one_damaged_mark_is_survived_and_two_are_reported() {
        let dir = with_tail(&[]);
        let garble = |slot: u64| {
            let file = OpenOptions::new()
                .write(true)
                .open(newest(dir.path()))
                .unwrap();
            file.write_all_at(&[0xff; 16], slot).unwrap();
        };
        garble(1024);
        assert_eq!(reopen(dir.path()), 1);
        garble(1024);
        garble(2048);
        let opened = Journal::open(dir.path(), Options::default());
        assert!(matches!(opened, Err(JournalError::Damaged(_))));
    }

    #[test]
    fn records_survive_rotation_and_reopening() {
        let dir = TempDir::new().unwrap();
        let options = Options {
            segment_bytes: 8192,
            ..Options::default()
        };
        let mut heads = Vec::new();
        for round in 0..6 {
            let journal = Journal::open(dir.path(), options.clone()).unwrap();
            assert_eq!(journal.head().seq, round * 20);
            for n in 0..20 {
                journal.append_blocking(vec![draft(n * 31)]).unwrap();
            }
            heads.push(journal.head());
        }
        for head in heads {
            verify(dir.path(), Some(&head)).unwrap();
        }
        assert_eq!(
            read(dir.path(), 1).unwrap().filter(Result::is_ok).count(),
            120
        );
    }

    #[test]
    fn reading_follows_a_journal_that_is_open() {
        let dir = TempDir::new().unwrap();
        let journal = Journal::open(dir.path(), Options::default()).unwrap();
        journal
            .append_blocking((0..3).map(draft).collect())
            .unwrap();
        let mut records = journal.read(2).unwrap();
        assert_eq!(records.next().unwrap().unwrap().seq, 2);
        journal.append_blocking(vec![draft(9)]).unwrap();
        let rest: Vec<_> = records.map(|it| it.unwrap().seq).collect();
        assert_eq!(rest, [3, 4]);
    }

    #[test]
    fn another_origin_and_a_second_writer_are_refused() {
        let dir = with_tail(&[]);
        let other = Options {
            origin: [1; 32],
            ..Options::default()
        };
        assert!(matches!(
            Journal::open(dir.path(), other),
            Err(JournalError::OtherOrigin)
        ));
        let open = Journal::open(dir.path(), Options::default()).unwrap();
        let second = Journal::open(dir.path(), Options::default());
        assert!(matches!(second, Err(JournalError::InUse)));
        drop(open);
        assert_eq!(reopen(dir.path()), 1);
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("journal");
        Journal::open(&dir, Options::default()).unwrap().close();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&newest(&dir))), (0o700, 0o600));
    }
}
