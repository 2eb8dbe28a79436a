//! Sealed segments: removed in order, archived, verified across both.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use journal::{
        Binding, Draft, Head, Journal, JournalError, Options, Priority, archive, archived,
        note_archived, read, remove_through, removed, sealed, verify, verify_archive,
    };
    use tempfile::TempDir;

    fn options() -> Options {
        Options {
            segment_bytes: 4096 + 600,
            origin: [9; 32],
            ..Options::default()
        }
    }

    fn append(journal: &Journal, count: u8) {
        for n in 0..count {
            let draft = Draft {
                priority: Priority::default(),
                binding: Binding::of(&[n]),
                payload: vec![n; 200],
            };
            journal.append_blocking(vec![draft]).unwrap();
        }
    }

    /// An open journal of 12 records in several segments.
    fn journal() -> (TempDir, Journal) {
        let dir = TempDir::new().unwrap();
        let journal = Journal::open(dir.path(), options()).unwrap();
        append(&journal, 12);
        assert!(
            journal.sealed().unwrap().len() >= 3,
            "the test needs several segments"
        );
        (dir, journal)
    }

    fn copy_all(dir: &Path, to: &Path) -> Option<Head> {
        archive(dir, to, 0, |_| true).unwrap()
    }

    fn assert_damaged<T: std::fmt::Debug>(outcome: Result<T, JournalError>, what: &str) {
        assert!(
            matches!(outcome, Err(JournalError::Damaged(_))),
            "{what}: {outcome:?}"
        );
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let files = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|it| it == "journal"))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn s8_what_was_removed_in_order_leaves_a_journal_that_verifies_and_opens() {
        let (dir, journal) = journal();
        let second = journal.sealed().unwrap()[1].clone();
        assert_eq!(
            remove_through(journal.dir(), second.last.seq - 1).unwrap(),
            1
        );
        assert_eq!(remove_through(journal.dir(), second.last.seq).unwrap(), 1);
        let verified = verify(dir.path(), Some(&journal.head())).unwrap();
        assert_eq!(verified.before, second.last);
        let kept: Vec<u64> = journal.read(1).unwrap().map(|it| it.unwrap().seq).collect();
        assert_eq!(kept, (second.last.seq + 1..=12).collect::<Vec<_>>());
        append(&journal, 3);
        let head = journal.head();
        journal.close();
        assert_eq!(Journal::open(dir.path(), options()).unwrap().head(), head);
        verify(dir.path(), Some(&head)).unwrap();
    }

    #[test]
    fn s8_a_segment_that_was_not_removed_in_order_is_missed() {
        let (dir, journal) = journal();
        let sealed = journal.sealed().unwrap();
        remove_through(journal.dir(), sealed[0].last.seq).unwrap();
        fs::remove_file(&sealed[1].path).unwrap();
        assert_damaged(verify(dir.path(), None), "a segment removed by hand");
        journal.close();
        files(dir.path())
            .iter()
            .for_each(|path| fs::remove_file(path).unwrap());
        let opened = Journal::open(dir.path(), options()).map(drop);
        assert_damaged(opened, "every segment removed by hand");
    }

    #[test]
    fn s8_an_interrupted_removal_is_no_damage() {
        let (dir, journal) = journal();
        let second = journal.sealed().unwrap()[1].clone();
        let saved: Vec<_> = files(dir.path())
            .into_iter()
            .map(|path| (fs::read(&path).unwrap(), path))
            .collect();
        remove_through(journal.dir(), second.last.seq).unwrap();
        // The kill came after the first file, then before any.
        for (bytes, path) in saved[..2].iter().rev() {
            fs::write(path, bytes).unwrap();
            verify(dir.path(), Some(&journal.head())).unwrap();
        }
        // What is there once more must still be what was written off.
        let last = fs::metadata(&second.path).unwrap().len() - 1;
        let mut bytes = fs::read(&second.path).unwrap();
        bytes[usize::try_from(last).unwrap()] ^= 1;
        fs::write(&second.path, bytes).unwrap();
        assert_damaged(verify(dir.path(), None), "an edited segment");
        remove_through(journal.dir(), second.last.seq).unwrap();
        verify(dir.path(), Some(&journal.head())).unwrap();
    }

    #[test]
    fn s8_an_archive_is_verified_alone_and_with_what_follows() {
        let (dir, journal) = journal();
        let to = TempDir::new().unwrap();
        let last = copy_all(dir.path(), to.path()).unwrap();
        assert_eq!(last, journal.sealed().unwrap().last().unwrap().last);
        assert_eq!(
            verify_archive(to.path(), None, Some(&last)).unwrap().head,
            last
        );
        let head = journal.head();
        let both = || verify_archive(to.path(), Some(dir.path()), Some(&head));
        assert_eq!(both().unwrap().head, head);
        remove_through(journal.dir(), last.seq).unwrap();
        let verified = both().unwrap();
        assert_eq!((verified.before.seq, verified.head), (0, head));
        // It grows on, and the archive with it.
        append(&journal, 12);
        copy_all(dir.path(), to.path());
        let head = journal.head();
        verify_archive(to.path(), Some(dir.path()), Some(&head)).unwrap();
        let read = read(to.path(), 1).unwrap().filter(Result::is_ok).count();
        assert!(read > 12);
    }

    #[test]
    fn s8_archiving_goes_on_after_an_interruption_and_keeps_no_bad_copy() {
        let (dir, journal) = journal();
        let to = TempDir::new().unwrap();
        let stopped = archive(dir.path(), to.path(), 0, |at| at.segments < 2).unwrap();
        assert_eq!(stopped, Some(journal.sealed().unwrap()[1].last));
        assert_eq!(files(to.path()).len(), 2);
        fs::write(
            to.path().join("incoming/00000000000000000001.journal"),
            [7; 9],
        )
        .unwrap();
        copy_all(dir.path(), to.path());
        assert_eq!(files(to.path()).len(), journal.sealed().unwrap().len());
        let first = &files(to.path())[0];
        let mut bytes = fs::read(first).unwrap();
        bytes[5000 - 700] ^= 1;
        fs::write(first, bytes).unwrap();
        assert_damaged(archive(dir.path(), to.path(), 0, |_| true), "a bad copy");
        assert_damaged(verify_archive(to.path(), None, None), "a bad archive");
    }

    #[test]
    fn s8_another_journals_archive_and_gaps_are_refused() {
        let (dir, journal) = journal();
        let to = TempDir::new().unwrap();
        copy_all(dir.path(), to.path());
        let newest = files(to.path()).pop().unwrap();
        fs::remove_file(&newest).unwrap();
        let head = journal.head();
        remove_through(journal.dir(), head.seq).unwrap();
        assert_damaged(
            verify_archive(to.path(), Some(dir.path()), None),
            "a gap between archive and journal",
        );
        append(&journal, 12);
        assert_damaged(archive(dir.path(), to.path(), 0, |_| true), "a gap");
        let other = TempDir::new().unwrap();
        let foreign = Options {
            origin: [1; 32],
            ..options()
        };
        let foreign = Journal::open(other.path(), foreign).unwrap();
        append(&foreign, 12);
        let to = TempDir::new().unwrap();
        copy_all(dir.path(), to.path());
        assert_damaged(
            verify_archive(to.path(), Some(other.path()), None),
            "another journal",
        );
        assert_eq!(sealed(to.path()).unwrap().len() + 1, files(to.path()).len());
    }

    #[test]
    fn s8_what_is_noted_as_archived_is_the_end_of_a_sealed_segment() {
        let (dir, journal) = journal();
        let last = journal.sealed().unwrap()[1].last;
        assert_eq!(
            (archived(dir.path()).unwrap(), removed(dir.path()).unwrap()),
            (None, None)
        );
        for wrong in [
            Head {
                hash: [1; 32],
                ..last
            },
            Head {
                seq: last.seq + 1,
                ..last
            },
            journal.head(),
        ] {
            assert_damaged(note_archived(dir.path(), &wrong), "not a segment's end");
        }
        note_archived(dir.path(), &last).unwrap();
        assert_eq!(archived(dir.path()).unwrap(), Some(last));
        remove_through(dir.path(), last.seq).unwrap();
        assert_eq!(removed(dir.path()).unwrap(), Some(last));
    }

    #[test]
    fn a_reader_goes_on_when_what_it_would_read_next_is_removed() {
        let (_dir, journal) = journal();
        let mut records = journal.read(1).unwrap();
        assert_eq!(records.next().unwrap().unwrap().seq, 1);
        let second = journal.sealed().unwrap()[1].clone();
        remove_through(journal.dir(), second.last.seq).unwrap();
        let rest: Vec<u64> = records.map(|it| it.unwrap().seq).collect();
        assert_eq!(rest.last(), Some(&12));
        assert!(rest.contains(&(second.last.seq + 1)));
    }
}
