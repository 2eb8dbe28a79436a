//! What verification must find: anything edited, deleted, reordered, inserted or cut off.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use journal::{Binding, Draft, Head, Journal, JournalError, Options, Priority, read, verify};
    use tempfile::TempDir;

    const DATA_START: usize = 4096;

    fn small() -> Options {
        Options {
            segment_bytes: 4096 + 600,
            origin: [9; 32],
            ..Options::default()
        }
    }

    /// A closed journal of 12 records in several segments.
    fn journal() -> (TempDir, Head) {
        let dir = TempDir::new().unwrap();
        let journal = Journal::open(dir.path(), small()).unwrap();
        for n in 0..12_u8 {
            let draft = Draft {
                priority: Priority::default(),
                binding: Binding::of(&[n]),
                payload: vec![n; 40 + usize::from(n)],
            };
            let receipts = journal.append_blocking(vec![draft]).unwrap();
            assert_eq!(receipts[0].seq(), u64::from(n) + 1);
        }
        let head = journal.head();
        journal.close();
        (dir, head)
    }

    fn segments(dir: &Path) -> Vec<PathBuf> {
        let files = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|it| it == "journal"))
            .collect();
        files.sort();
        files
    }

    /// Where each record of a segment begins and ends.
    fn records(segment: &Path) -> Vec<(usize, usize)> {
        let bytes = fs::read(segment).unwrap();
        let mut at = DATA_START;
        let mut found = Vec::new();
        while at < bytes.len() {
            let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
            let end = at + 48 + usize::try_from(length).unwrap() + 32;
            found.push((at, end));
            at = end;
        }
        found
    }

    fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        edit(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    fn assert_damaged(dir: &Path, head: &Head, what: &str) {
        match verify(dir, Some(head)) {
            Err(JournalError::Damaged(_)) => {}
            other => panic!("{what}: {other:?}"),
        }
    }

    #[test]
    fn an_untouched_journal_verifies_and_reads_back() {
        let (dir, head) = journal();
        assert!(
            segments(dir.path()).len() >= 3,
            "the test needs several segments"
        );
        let verified = verify(dir.path(), Some(&head)).unwrap();
        assert_eq!(
            (verified.head, verified.before.seq, verified.origin),
            (head, 0, [9; 32])
        );
        let all: Vec<_> = read(dir.path(), 1).unwrap().map(Result::unwrap).collect();
        assert_eq!(all.len(), 12);
        assert!(all.windows(2).all(|pair| pair[0].hash == pair[1].prev));
        assert_eq!(all[11].payload, vec![11; 51]);
        assert_eq!(all[11].binding, Binding::of(&[11]));
        let some: Vec<_> = read(dir.path(), 8)
            .unwrap()
            .map(|it| it.unwrap().seq)
            .collect();
        assert_eq!(some, [8, 9, 10, 11, 12]);
    }

    #[test]
    fn every_flipped_byte_of_every_record_and_header_is_found() {
        let (dir, head) = journal();
        for segment in segments(dir.path()) {
            let length = fs::read(&segment).unwrap().len();
            for at in (0..112).chain(DATA_START..length) {
                edit(&segment, |bytes| bytes[at] ^= 0x40);
                assert_damaged(dir.path(), &head, &format!("byte {at}"));
                edit(&segment, |bytes| bytes[at] ^= 0x40);
            }
        }
        verify(dir.path(), Some(&head)).unwrap();
    }

    #[test]
    fn a_deleted_record_is_found_wherever_it_was() {
        let (dir, head) = journal();
        for segment in segments(dir.path()) {
            let original = fs::read(&segment).unwrap();
            for (start, end) in records(&segment) {
                edit(&segment, |bytes| drop(bytes.drain(start..end)));
                assert_damaged(dir.path(), &head, "deleted record");
                fs::write(&segment, &original).unwrap();
            }
        }
    }

    #[test]
    fn reordered_and_repeated_records_are_found() {
        let (dir, head) = journal();
        let first = segments(dir.path()).remove(0);
        let original = fs::read(&first).unwrap();
        let (one, two) = (records(&first)[0], records(&first)[1]);
        let mut swapped = original[..one.0].to_vec();
        swapped.extend_from_slice(&original[two.0..two.1]);
        swapped.extend_from_slice(&original[one.0..one.1]);
        swapped.extend_from_slice(&original[two.1..]);
        fs::write(&first, swapped).unwrap();
        assert_damaged(dir.path(), &head, "swapped records");
        let mut repeated = original[..one.1].to_vec();
        repeated.extend_from_slice(&original[one.0..]);
        fs::write(&first, repeated).unwrap();
        assert_damaged(dir.path(), &head, "repeated record");
    }

    #[test]
    fn a_deleted_or_swapped_segment_is_found() {
        let (dir, head) = journal();
        for segment in segments(dir.path()) {
            let original = fs::read(&segment).unwrap();
            fs::remove_file(&segment).unwrap();
            assert_damaged(dir.path(), &head, "deleted segment");
            fs::write(&segment, &original).unwrap();
        }
        let files = segments(dir.path());
        let (one, two) = (fs::read(&files[0]).unwrap(), fs::read(&files[1]).unwrap());
        fs::write(&files[0], two).unwrap();
        fs::write(&files[1], one).unwrap();
        assert_damaged(dir.path(), &head, "swapped segments");
    }

    #[test]
    fn a_tail_cut_with_its_marks_is_found_by_a_head_kept_elsewhere() {
        let (dir, head) = journal();
        let other = TempDir::new().unwrap();
        let journal = Journal::open(other.path(), small()).unwrap();
        let draft = || Draft {
            priority: Priority::default(),
            binding: Binding::of(&[0]),
            payload: vec![0; 40],
        };
        journal.append_blocking(vec![draft()]).unwrap();
        let short = journal.head();
        journal.close();
        // The same history, but shorter: consistent in itself.
        verify(other.path(), None).unwrap();
        verify(other.path(), Some(&short)).unwrap();
        assert_damaged(other.path(), &head, "cut tail");
        verify(dir.path(), Some(&short)).unwrap();
        // A rewritten history of the same length has another hash.
        let forged = Head {
            seq: head.seq,
            hash: [1; 32],
        };
        assert_damaged(dir.path(), &forged, "other history");
    }

    #[test]
    fn cutting_acknowledged_records_without_the_marks_is_found_locally() {
        let (dir, _) = journal();
        let newest = segments(dir.path()).pop().unwrap();
        let length = fs::read(&newest).unwrap().len();
        let (last, _) = *records(&newest).last().unwrap();
        for cut in last..length {
            let original = fs::read(&newest).unwrap();
            edit(&newest, |bytes| bytes.truncate(cut));
            assert!(
                matches!(verify(dir.path(), None), Err(JournalError::Damaged(_))),
                "{cut}"
            );
            let opened = Journal::open(dir.path(), small());
            assert!(matches!(opened, Err(JournalError::Damaged(_))), "{cut}");
            fs::write(&newest, original).unwrap();
        }
    }

    #[test]
    fn archived_segments_are_asked_for_explicitly() {
        let (dir, head) = journal();
        let files = segments(dir.path());
        let last_archived = u64::try_from(records(&files[0]).len()).unwrap();
        let stored = read(dir.path(), last_archived)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let archived = Head {
            seq: stored.seq,
            hash: stored.hash,
        };
        fs::remove_file(&files[0]).unwrap();
        assert_damaged(dir.path(), &head, "missing first segment");
        let verified = journal::verify_archived(dir.path(), &archived, Some(&head)).unwrap();
        assert_eq!((verified.before, verified.head), (archived, head));
    }
}
