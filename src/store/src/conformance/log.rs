//! Cases about the change log: revisions, commit ids, watches and their bounds.

use std::thread;

use super::{Subject, Verdict, commit, ensure, ensure_eq, get, id, key, put, text, write};
use crate::{Condition, Limits, Position, Resolution, Store, Watch, WatchError, Write, block_on};

pub(super) fn revisions(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    let incarnation = store.head().incarnation;
    for revision in 1..=5 {
        // The third is a heartbeat: no writes, and yet a revision.
        let writes = if revision == 3 {
            Vec::new()
        } else {
            vec![put("a", "")]
        };
        let position = write(&store, revision, writes)?;
        ensure_eq(
            &position,
            &Position {
                incarnation,
                revision,
            },
            "position of the commit",
        )?;
        ensure_eq(&store.head(), &position, "head")?;
    }
    let other = subject.fresh(Limits::default());
    ensure(other.head().incarnation != incarnation, || {
        "two stores share an incarnation".into()
    })
}

pub(super) fn repeated_id(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    let first = write(&store, 1, vec![put("a", "1")])?;
    write(&store, 2, vec![put("a", "2")])?;
    let absent = vec![Condition::Absent(key("a"))];
    let again = commit(&store, id(0, 1), absent, vec![put("a", "1")]).map_err(text)?;
    ensure_eq(&again, &first, "position of the repeated commit")?;
    ensure_eq(
        &get(&store, "a")?,
        &Some(b"2".to_vec()),
        "value after the repetition",
    )?;
    ensure_eq(&store.head().revision, &2, "revision after the repetition")
}

pub(super) fn resolution(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    let resolve = |which| block_on(store.resolve(id(0, which))).map_err(text);
    let first = write(&store, 1, vec![put("a", "")])?;
    let refused = commit(
        &store,
        id(0, 2),
        vec![Condition::Absent(key("a"))],
        Vec::new(),
    );
    ensure(refused.is_err(), || {
        "a failed condition was acknowledged".into()
    })?;
    ensure_eq(
        &resolve(1)?,
        &Resolution::Committed(first),
        "a committed id",
    )?;
    ensure_eq(&resolve(2)?, &Resolution::NotCommitted, "a refused id")?;
    ensure_eq(&resolve(3)?, &Resolution::NotCommitted, "an id never seen")?;
    block_on(store.compact(first)).map_err(text)?;
    ensure_eq(
        &resolve(1)?,
        &Resolution::Forgotten,
        "an id whose change was compacted",
    )?;
    ensure_eq(
        &resolve(2)?,
        &Resolution::NotCommitted,
        "a refused id after compaction",
    )
}

fn next(watch: &mut Watch) -> Result<(u64, Vec<Write>), String> {
    let change = block_on(watch.next()).map_err(text)?;
    Ok((change.position.revision, change.writes.to_vec()))
}

pub(super) fn watches(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    let start = store.head();
    let writes_of = |n: u64| vec![put(format!("k{n}"), n.to_be_bytes()), put("last", [])];
    for n in 1..=20 {
        write(&store, n, writes_of(n))?;
    }
    for after in [0, 7, 20] {
        let mut watch = store
            .watch(Position {
                revision: after,
                ..start
            })
            .map_err(text)?;
        for n in after.saturating_add(1)..=20 {
            ensure_eq(&next(&mut watch)?, &(n, writes_of(n)), "change")?;
        }
        let n = store.head().revision.saturating_add(1);
        write(&store, n, vec![put("later", n.to_be_bytes())])?;
        for n in 21..=n {
            let expected = (n, vec![put("later", n.to_be_bytes())]);
            ensure_eq(
                &next(&mut watch)?,
                &expected,
                "change committed after the watch began",
            )?;
        }
    }
    Ok(())
}

pub(super) fn waiting_watch(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    let watches = [store.watch(store.head()), store.watch(store.head())];
    thread::scope(|scope| {
        let waiting = watches.map(|watch| {
            scope.spawn(move || {
                let mut watch = watch.map_err(text)?;
                (1..=50_u64).try_for_each(|n| ensure_eq(&next(&mut watch)?.0, &n, "revision"))
            })
        });
        (1..=50).try_for_each(|n| write(&store, n, Vec::new()).map(drop))?;
        waiting.into_iter().try_for_each(|it| {
            it.join()
                .unwrap_or_else(|_panic| Err("a watching thread panicked".into()))
        })
    })
}

fn refusal(store: &dyn Store, after: Position) -> Option<WatchError> {
    store.watch(after).err()
}

pub(super) fn reload(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    for n in 1..=10 {
        write(&store, n, vec![put("a", n.to_be_bytes())])?;
    }
    let head = store.head();
    let at = |revision| Position { revision, ..head };
    let reload = Some(WatchError::Reload);
    ensure_eq(
        &refusal(&*store, at(11)),
        &reload,
        "a position in the future",
    )?;
    let foreign = Position {
        incarnation: !head.incarnation,
        ..head
    };
    ensure_eq(
        &refusal(&*store, foreign),
        &reload,
        "a position of another incarnation",
    )?;
    let mut slow = store.watch(at(2)).map_err(text)?;
    block_on(store.compact(foreign)).map_err(text)?;
    ensure_eq(
        &refusal(&*store, at(0)),
        &None,
        "after compacting another incarnation",
    )?;
    block_on(store.compact(at(6))).map_err(text)?;
    ensure_eq(&refusal(&*store, at(5)), &reload, "a compacted position")?;
    ensure_eq(&refusal(&*store, at(6)), &None, "the position compacted to")?;
    ensure_eq(
        &block_on(slow.next()),
        &Err(WatchError::Reload),
        "a watch that was compacted away",
    )?;
    ensure_eq(
        &get(&store, "a")?,
        &Some(10_u64.to_be_bytes().to_vec()),
        "the record",
    )?;
    block_on(store.compact(at(99))).map_err(text)?;
    ensure_eq(&store.head(), &head, "head after compacting everything")?;
    let mut watch = store.watch(head).map_err(text)?;
    write(&store, 11, Vec::new())?;
    ensure_eq(
        &next(&mut watch)?.0,
        &11,
        "revision after compacting everything",
    )
}

pub(super) fn bounded(subject: &dyn Subject) -> Verdict {
    let by_count = Limits {
        max_log_changes: 5,
        ..Limits::default()
    };
    let by_bytes = Limits {
        max_log_bytes: 5 * 101,
        ..Limits::default()
    };
    for limits in [by_count, by_bytes] {
        let store = subject.fresh(limits);
        let start = store.head();
        let mut slow = store.watch(start).map_err(text)?;
        for n in 1..=6 {
            write(&store, n, vec![put("k", [0; 100])])?;
        }
        ensure_eq(
            &block_on(slow.next()),
            &Err(WatchError::Reload),
            "a watch six behind",
        )?;
        let mut watch = store
            .watch(Position {
                revision: 1,
                ..start
            })
            .map_err(text)?;
        for n in 2..=6 {
            ensure_eq(&next(&mut watch)?.0, &n, "revision")?;
        }
    }
    let tiny = subject.fresh(Limits {
        max_log_bytes: 1,
        ..Limits::default()
    });
    let mut watch = tiny.watch(tiny.head()).map_err(text)?;
    write(&tiny, 1, vec![put("k", [0; 100])])?;
    ensure_eq(
        &next(&mut watch)?.0,
        &1,
        "the newest change, larger than the log",
    )
}

pub(super) fn watch_count(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits {
        max_watches: 2,
        ..Limits::default()
    });
    let head = store.head();
    let first = store.watch(head).map_err(text)?;
    let _second = store.watch(head).map_err(text)?;
    ensure_eq(
        &refusal(&*store, head),
        &Some(WatchError::TooMany),
        "a third watch",
    )?;
    drop(first);
    ensure_eq(
        &refusal(&*store, head),
        &None,
        "a watch after another ended",
    )
}
