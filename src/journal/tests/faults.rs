//! Disks that fail, disks that are full, queues that are full: no one is told a lie.

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::os::unix::fs::FileExt as _;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use journal::{
        Binding, Condition, Draft, Journal, JournalError, Options, PlantedFault, Priority, Receipt,
        read, verify,
    };
    use tempfile::TempDir;

    fn draft(bytes: usize) -> Draft {
        Draft {
            priority: Priority::default(),
            binding: Binding::of(b"serial"),
            payload: vec![1; bytes],
        }
    }

    fn open(dir: &TempDir, fault: PlantedFault) -> Journal {
        Journal::open(
            dir.path(),
            Options {
                fault,
                ..Options::default()
            },
        )
        .unwrap()
    }

    /// Appends until the journal takes it; how often it was refused as unavailable.
    fn append_until_taken(journal: &Journal) -> u32 {
        let mut refused = 0;
        loop {
            match journal.append_blocking(vec![draft(10)]) {
                Ok(_) => return refused,
                Err(JournalError::Unavailable(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            std::thread::yield_now();
        }
    }

    /// Waits until the journal is in a condition of this kind.
    fn await_condition(journal: &Journal, holds: impl Fn(&Condition) -> bool) {
        while !holds(&journal.condition()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn s9_a_failed_sync_heals_by_itself() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::SyncFailsFor { after: 4, times: 5 });
        // Opening a new journal syncs nothing that the fault counts.
        for _ in 0..4 {
            journal.append_blocking(vec![draft(10)]).unwrap();
        }
        assert!(append_until_taken(&journal) > 0);
        assert_eq!(journal.condition(), Condition::Writable);
        let head = journal.head();
        assert_eq!(head.seq, 5, "a refused record was kept");
        journal.close();
        verify(dir.path(), Some(&head)).unwrap();
        assert_eq!(read(dir.path(), 1).unwrap().count(), 5);
    }

    #[test]
    fn s9_it_is_known_to_be_well_again_without_an_append() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::SyncFailsFor { after: 1, times: 3 });
        journal.append_blocking(vec![draft(10)]).unwrap();
        journal.append_blocking(vec![draft(10)]).unwrap_err();
        await_condition(&journal, |at| *at == Condition::Writable);
    }

    #[test]
    fn s9_while_syncs_fail_nothing_is_acknowledged() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::SyncFailsAfter(2));
        journal.append_blocking(vec![draft(10)]).unwrap();
        journal.append_blocking(vec![draft(10)]).unwrap();
        let head = journal.head();
        for _ in 0..3 {
            let outcome = journal.append_blocking(vec![draft(10)]);
            assert!(
                matches!(outcome, Err(JournalError::Unavailable(_))),
                "{outcome:?}"
            );
            assert_eq!(journal.head(), head);
            assert!(matches!(journal.condition(), Condition::Healing(_)));
        }
        journal.close();
        verify(dir.path(), Some(&head)).unwrap();
        let reopened = open(&dir, PlantedFault::None);
        assert!(reopened.head().seq >= 2);
    }

    #[test]
    fn s9_without_descriptors_the_segment_in_use_grows() {
        let dir = TempDir::new().unwrap();
        let options = Options {
            segment_bytes: 8192,
            fault: PlantedFault::NoNextSegment,
            ..Options::default()
        };
        let journal = Journal::open(dir.path(), options).unwrap();
        for _ in 0..40 {
            journal.append_blocking(vec![draft(1000)]).unwrap();
        }
        assert_eq!(journal.condition(), Condition::Writable);
        let head = journal.head();
        journal.close();
        assert_eq!(verify(dir.path(), Some(&head)).unwrap().head.seq, 40);
    }

    #[test]
    fn s9_damage_found_while_healing_ends_the_journal() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::SyncFailsFor { after: 1, times: 1 });
        journal.append_blocking(vec![draft(10)]).unwrap();
        let files = std::fs::read_dir(dir.path()).unwrap();
        let segment = files
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|it| it == "journal"))
            .unwrap();
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(segment)
            .unwrap();
        file.write_all_at(&[0xff; 4], 4096 + 48).unwrap();
        journal.append_blocking(vec![draft(10)]).unwrap_err();
        await_condition(&journal, |at| matches!(at, Condition::Failed(_)));
        let outcome = journal.append_blocking(vec![draft(10)]);
        assert!(
            matches!(outcome, Err(JournalError::Failed(_))),
            "{outcome:?}"
        );
    }

    #[test]
    fn s8_each_priority_leaves_room_for_those_above_it() {
        let options = Options {
            max_queue_records: 16,
            ..Options::default()
        };
        for (priority, most) in Priority::ALL.into_iter().zip([2, 12, 14, 16]) {
            let dir = TempDir::new().unwrap();
            let journal = Journal::open(dir.path(), options.clone()).unwrap();
            let drafts = |count| {
                let of = |n| Draft {
                    priority,
                    ..draft(n)
                };
                (0..count).map(of).collect()
            };
            assert_eq!(journal.append_blocking(drafts(most)).unwrap().len(), most);
            let outcome = journal.append_blocking(drafts(most + 1));
            assert!(matches!(outcome, Err(JournalError::Busy)), "{priority:?}");
        }
    }

    #[test]
    fn a_full_disk_refuses_clearly_leaves_no_trace_and_recovers() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::FullEveryOther(3));
        let mut acknowledged = Vec::new();
        let mut refused = 0;
        for n in 0..24 {
            match journal.append_blocking(vec![draft(n)]) {
                Ok(receipts) => acknowledged.extend(receipts.iter().map(Receipt::seq)),
                Err(JournalError::Full) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((acknowledged.len(), refused), (12, 12));
        assert_eq!(acknowledged, (1..=12).collect::<Vec<u64>>());
        let head = journal.head();
        journal.close();
        assert_eq!(verify(dir.path(), Some(&head)).unwrap().head, head);
        let kept: Vec<_> = read(dir.path(), 1)
            .unwrap()
            .map(|it| it.unwrap().seq)
            .collect();
        assert_eq!(kept, acknowledged);
    }

    #[test]
    fn a_too_large_payload_is_refused_with_its_whole_call() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::None);
        let outcome = journal.append_blocking(vec![draft(1), draft((64 << 10) + 1)]);
        assert!(matches!(
            outcome,
            Err(JournalError::TooLarge { limit: 65_536, .. })
        ));
        assert_eq!(journal.head().seq, 0);
        assert!(journal.append_blocking(vec![]).unwrap().is_empty());
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let dir = TempDir::new().unwrap();
        let options = Options {
            max_queue_records: 5,
            ..Options::default()
        };
        let journal = Journal::open(dir.path(), options).unwrap();
        let outcome = journal.append_blocking((0..5).map(draft).collect());
        assert!(matches!(outcome, Err(JournalError::Busy)));
        assert_eq!(
            journal
                .append_blocking((0..4).map(draft).collect())
                .unwrap()
                .len(),
            4
        );
    }

    #[test]
    fn drafts_of_one_call_are_consecutive_and_bound_to_their_receipts() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::None);
        let threads: Vec<_> = (0..8_u8)
            .map(|thread| {
                let journal = journal.clone();
                std::thread::spawn(move || {
                    for n in 0..20_u8 {
                        let bindings = [Binding::of(&[thread, n]), Binding::NONE];
                        let drafts = bindings.map(|binding| Draft {
                            priority: Priority::default(),
                            binding,
                            payload: vec![n],
                        });
                        let receipts = journal.append_blocking(drafts.into()).unwrap();
                        assert_eq!(receipts[0].seq() + 1, receipts[1].seq());
                        assert_eq!(*receipts[0].binding(), bindings[0]);
                        let seq = receipts[0].seq();
                        let stored = journal.read(seq).unwrap().next().unwrap().unwrap();
                        assert_eq!((stored.seq, stored.binding), (seq, bindings[0]));
                        assert_eq!(stored.hash, *receipts[0].hash());
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(journal.head().seq, 320);
        verify(dir.path(), Some(&journal.head())).unwrap();
    }

    #[test]
    fn closing_writes_what_is_queued_and_refuses_what_comes_later() {
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::None);
        let queued: Vec<_> = (0..50).map(|n| journal.append(vec![draft(n)])).collect();
        journal.close();
        for mut appending in queued {
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(outcome) = Pin::new(&mut appending).poll(&mut context) else {
                panic!("closed, but an append has no answer");
            };
            outcome.unwrap();
        }
        assert!(matches!(
            journal.append_blocking(vec![draft(1)]),
            Err(JournalError::Closed)
        ));
        assert_eq!(open(&dir, PlantedFault::None).head().seq, 50);
    }

    /// The last handle may be dropped by the waker that the writer thread itself runs.
    #[test]
    fn the_writer_thread_can_drop_the_last_handle() {
        struct DropsJournal(
            std::sync::Mutex<Option<Journal>>,
            std::sync::mpsc::Sender<()>,
        );
        impl Wake for DropsJournal {
            fn wake(self: Arc<Self>) {
                drop(self.0.lock().unwrap().take());
                self.1.send(()).unwrap();
            }
        }
        let dir = TempDir::new().unwrap();
        let journal = open(&dir, PlantedFault::None);
        let mut appending = journal.append(vec![draft(200)]);
        let (sender, woken) = std::sync::mpsc::channel();
        let waker = Waker::from(Arc::new(DropsJournal(Some(journal).into(), sender)));
        let mut context = Context::from_waker(&waker);
        if Pin::new(&mut appending).poll(&mut context).is_pending() {
            woken.recv().unwrap();
        }
    }
}
