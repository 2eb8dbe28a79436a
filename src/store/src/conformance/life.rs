//! Cases about a store's life: many users at once, closing, and opening again.

use std::sync::Arc;
use std::thread;

use super::{
    Subject, Verdict, as_map, commit, delete, ensure, ensure_eq, get, id, key, load, put, text,
    write,
};
use crate::{
    CommitError, Condition, Limits, Position, Resolution, Store, StoreError, Value, WatchError,
    Write, block_on,
};

const WRITERS: u64 = 6;
const COMMITS_EACH: u64 = 25;

/// Runs `work` on several threads and gives the first failure.
fn in_parallel(work: impl Fn(u64) -> Verdict + Sync) -> Verdict {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (1..=WRITERS)
            .map(|n| scope.spawn(move || work(n)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_panic| Err("a writing thread panicked".into()))
        })
    })
}

/// Adds one to the counter, however often others are faster.
fn increment(store: &Arc<dyn Store>, writer: u64, which: u64) -> Verdict {
    for attempt in 0..100_000_u64 {
        let current = block_on(store.get(b"counter")).map_err(text)?;
        let count = match &current {
            None => 0,
            Some(value) => u64::from_be_bytes(value.as_ref().try_into().map_err(text)?),
        };
        let condition = match current {
            None => Condition::Absent(key("counter")),
            Some(value) => Condition::Equals(key("counter"), value),
        };
        let writes = vec![put("counter", count.saturating_add(1).to_be_bytes())];
        let attempt_id = id(
            writer,
            which.saturating_mul(1 << 20).saturating_add(attempt),
        );
        match commit(store, attempt_id, vec![condition], writes) {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict { .. }) => {}
            Err(other) => return Err(other.to_string()),
        }
    }
    Err("the counter could not be incremented in 100,000 attempts".into())
}

pub(super) fn counter(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    in_parallel(|writer| (0..COMMITS_EACH).try_for_each(|n| increment(&store, writer, n)))?;
    let total = WRITERS * COMMITS_EACH;
    ensure_eq(
        &get(&store, "counter")?,
        &Some(total.to_be_bytes().to_vec()),
        "counter",
    )?;
    ensure_eq(
        &store.head().revision,
        &total,
        "revision: one for each increment",
    )
}

/// What a load shows plus every later change must be what a later load shows; and each
/// commit's pair of records is seen whole.
pub(super) fn load_then_follow(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    in_parallel(|writer| {
        for n in 0..COMMITS_EACH {
            let name = format!("{writer}/{}", n % 7);
            let value = n.to_be_bytes();
            let writes = match n % 5 {
                4 => vec![delete(format!("x{name}")), delete(format!("y{name}"))],
                _ => vec![
                    put(format!("x{name}"), value),
                    put(format!("y{name}"), value),
                ],
            };
            commit(&store, id(writer, n), Vec::new(), writes).map_err(text)?;
            if n % 8 == 0 {
                follow(&store)?;
            }
        }
        Ok(())
    })?;
    let mut watch = store
        .watch(Position {
            revision: 0,
            ..store.head()
        })
        .map_err(text)?;
    for revision in 1..=WRITERS * COMMITS_EACH {
        let change = block_on(watch.next()).map_err(text)?;
        ensure_eq(&change.position.revision, &revision, "revision")?;
    }
    Ok(())
}

fn follow(store: &Arc<dyn Store>) -> Verdict {
    let loaded = load(store, "")?;
    let mut records = as_map(&loaded);
    let (xs, ys): (Vec<_>, Vec<_>) = records.iter().partition(|(key, _)| key.starts_with(b"x"));
    let halves = |half: &[(&crate::Key, &Value)]| -> Vec<_> {
        half.iter()
            .map(|(key, value)| (key.get(1..).map(<[u8]>::to_vec), value.to_vec()))
            .collect()
    };
    ensure(halves(&xs) == halves(&ys), || {
        "a load shows half a commit".into()
    })?;
    let mut watch = store.watch(loaded.position).map_err(text)?;
    let later = load(store, "")?;
    let mut position = loaded.position;
    while position.revision < later.position.revision {
        let change = block_on(watch.next()).map_err(text)?;
        ensure_eq(
            &change.position.revision,
            &position.revision.saturating_add(1),
            "revision",
        )?;
        position = change.position;
        for write in change.writes.iter() {
            match write {
                Write::Put(key, value) => records.insert(key.clone(), value.clone()),
                Write::Delete(key) => records.remove(key),
            };
        }
    }
    ensure(records == as_map(&later), || {
        "a load and the changes after it do not meet".into()
    })
}

pub(super) fn close(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    let start = store.head();
    let mut watch = store.watch(start).map_err(text)?;
    write(&store, 1, vec![put("a", "")])?;
    block_on(store.close());
    block_on(store.close());
    let change = block_on(watch.next()).map_err(text)?;
    ensure_eq(
        &change.position.revision,
        &1,
        "a change committed before the close",
    )?;
    ensure_eq(
        &block_on(watch.next()),
        &Err(WatchError::Closed),
        "a watch after the close",
    )?;
    ensure_eq(&block_on(store.get(b"a")), &Err(StoreError::Closed), "get")?;
    let outcome = commit(&store, id(0, 2), Vec::new(), Vec::new());
    ensure(matches!(outcome, Err(CommitError::Unavailable(_))), || {
        format!("commit: {outcome:?}")
    })?;
    let loaded = block_on(store.load(b"")).map(|loaded| loaded.position);
    ensure_eq(&loaded, &Err(StoreError::Closed), "load")?;
    ensure_eq(
        &block_on(store.resolve(id(0, 1))),
        &Err(StoreError::Closed),
        "resolve",
    )?;
    ensure_eq(
        &block_on(store.compact(start)),
        &Err(StoreError::Closed),
        "compact",
    )?;
    ensure_eq(
        &store.watch(start).err(),
        &Some(WatchError::Closed),
        "watch",
    )
}

pub(super) fn reopen(subject: &dyn Subject) -> Verdict {
    let mut store = subject.fresh(Limits::default());
    let start = store.head();
    let mut compacted = start;
    for round in 0..4_u64 {
        for n in 0..30 {
            let which = round.saturating_mul(100).saturating_add(n);
            let writes = vec![
                put(format!("k{}", n % 10), which.to_be_bytes()),
                delete("k3"),
            ];
            write(&store, which, writes)?;
        }
        if round == 2 {
            compacted = Position {
                revision: 45,
                ..start
            };
            block_on(store.compact(compacted)).map_err(text)?;
        }
        let (head, before) = (store.head(), as_map(&load(&store, "")?));
        block_on(store.close());
        let Some(reopened) = subject.reopen(store) else {
            return Ok(());
        };
        store = reopened;
        ensure_eq(&store.head(), &head, "head after reopening")?;
        ensure(as_map(&load(&store, "")?) == before, || {
            "records changed by reopening".into()
        })?;
        let mut watch = store.watch(compacted).map_err(text)?;
        for revision in compacted.revision.saturating_add(1)..=head.revision {
            let change = block_on(watch.next()).map_err(text)?;
            ensure_eq(
                &change.position,
                &Position { revision, ..start },
                "position",
            )?;
        }
        let last = id(0, round.saturating_mul(100).saturating_add(29));
        let resolved = block_on(store.resolve(last)).map_err(text)?;
        ensure_eq(
            &resolved,
            &Resolution::Committed(head),
            "the last commit after reopening",
        )?;
    }
    let too_old = store
        .watch(Position {
            revision: 44,
            ..start
        })
        .err();
    ensure_eq(
        &too_old,
        &Some(WatchError::Reload),
        "a compacted position after reopening",
    )
}
