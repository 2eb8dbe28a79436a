//! Cases about records: what is there after which commits.

use super::{Subject, Verdict, commit, delete, ensure, ensure_eq, get, id, key, load, put, write};
use crate::{CommitError, Condition, Limits, Value};

pub(super) fn empty(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    ensure_eq(&get(&store, "a")?, &None, "get")?;
    let loaded = load(&store, "")?;
    ensure_eq(&loaded.records.len(), &0, "records")?;
    ensure_eq(&loaded.position, &store.head(), "position of the load")?;
    ensure_eq(&store.head().revision, &0, "revision")
}

pub(super) fn put_replace_delete(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    write(&store, 1, vec![put("a", "one"), put("b", "")])?;
    ensure_eq(&get(&store, "a")?, &Some(b"one".to_vec()), "after put")?;
    ensure_eq(&get(&store, "b")?, &Some(Vec::new()), "an empty value")?;
    write(&store, 2, vec![put("a", "two")])?;
    ensure_eq(&get(&store, "a")?, &Some(b"two".to_vec()), "after replace")?;
    write(&store, 3, vec![delete("a"), delete("never there")])?;
    ensure_eq(&get(&store, "a")?, &None, "after delete")?;
    ensure_eq(&load(&store, "")?.records.len(), &1, "records")
}

pub(super) fn prefixes(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    let keys: [&[u8]; 8] = [
        b"td/node/b",
        b"td/entry/2",
        b"td/entry/1",
        b"td/entry",
        b"te",
        b"\xff",
        b"\xff\xff",
        b"t",
    ];
    write(&store, 1, keys.iter().map(|name| put(name, name)).collect())?;
    let loaded = |prefix: &[u8]| -> Result<Vec<Vec<u8>>, String> {
        Ok(load(&store, prefix)?
            .records
            .iter()
            .map(|(key, _)| key.to_vec())
            .collect())
    };
    let mut sorted: Vec<_> = keys.iter().map(|key| key.to_vec()).collect();
    sorted.sort();
    ensure_eq(&loaded(b"")?, &sorted, "everything")?;
    let under: &[Vec<u8>] = &[b"td/entry/1".to_vec(), b"td/entry/2".to_vec()];
    ensure_eq(&loaded(b"td/entry/")?, &under.to_vec(), "a prefix")?;
    ensure_eq(
        &loaded(b"\xff")?,
        &vec![vec![0xff], vec![0xff, 0xff]],
        "the last prefix",
    )?;
    ensure_eq(&loaded(b"x")?, &Vec::new(), "a prefix of nothing")
}

pub(super) fn conditions(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    write(&store, 1, vec![put("there", "v")])?;
    let equals = |name, value: &str| Condition::Equals(key(name), Value::from(value.as_bytes()));
    let cases = [
        (Condition::Absent(key("gone")), true),
        (Condition::Absent(key("there")), false),
        (Condition::Present(key("there")), true),
        (Condition::Present(key("gone")), false),
        (equals("there", "v"), true),
        (equals("there", "w"), false),
        (equals("gone", ""), false),
    ];
    for (index, (condition, holds)) in (10..).zip(cases) {
        let before = store.head();
        let failing = key(condition.key());
        let conditions = vec![Condition::Present(key("there")), condition.clone()];
        let mark = format!("mark{index}");
        let outcome = commit(&store, id(0, index), conditions, vec![put(&mark, "")]);
        let expected_revision = before.revision.saturating_add(u64::from(holds));
        ensure_eq(&store.head().revision, &expected_revision, "revision")?;
        ensure_eq(
            &get(&store, &mark)?.is_some(),
            &holds,
            "whether anything was written",
        )?;
        match outcome {
            Ok(_) if holds => {}
            Err(CommitError::Conflict { key }) if !holds && key == failing => {}
            other => return Err(format!("{condition:?}: {other:?}")),
        }
    }
    Ok(())
}

pub(super) fn order_within_a_commit(subject: &dyn Subject) -> Verdict {
    let store = subject.fresh(Limits::default());
    write(
        &store,
        1,
        vec![
            put("a", "1"),
            delete("a"),
            put("a", "2"),
            put("b", "1"),
            delete("b"),
        ],
    )?;
    ensure_eq(&get(&store, "a")?, &Some(b"2".to_vec()), "put, delete, put")?;
    ensure_eq(&get(&store, "b")?, &None, "put, delete")?;
    ensure_eq(&load(&store, "")?.records.len(), &1, "records")
}

pub(super) fn limits(subject: &dyn Subject) -> Verdict {
    let limits = Limits {
        max_operations: 4,
        max_key_bytes: 8,
        max_value_bytes: 16,
        max_commit_bytes: 40,
        ..Limits::default()
    };
    let store = subject.fresh(limits);
    let many = (0..5_u8).map(|n| put([n], "")).collect();
    let absent = vec![Condition::Absent(key("x")); 5];
    let heavy = (0..3_u8).map(|n| put([n], [0; 16])).collect();
    let cases = [
        ("writes", Vec::new(), many),
        ("conditions", absent, Vec::new()),
        ("key", Vec::new(), vec![put("ninebytes", "")]),
        (
            "value",
            Vec::new(),
            vec![put("good", ""), put("a", [0; 17])],
        ),
        ("commit", Vec::new(), heavy),
        (
            "condition's value",
            vec![Condition::Equals(key("a"), [0; 17].into())],
            Vec::new(),
        ),
    ];
    for (index, (what, conditions, writes)) in (1..).zip(cases) {
        let outcome = commit(&store, id(0, index), conditions, writes);
        ensure(matches!(outcome, Err(CommitError::TooLarge { .. })), || {
            format!("too large a {what}: {outcome:?}")
        })?;
    }
    let outcome = commit(&store, id(0, 9), Vec::new(), vec![put("", "")]);
    ensure_eq(&outcome, &Err(CommitError::EmptyKey), "an empty key")?;
    ensure_eq(&store.head().revision, &0, "revision after refusals")?;
    ensure_eq(
        &load(&store, "")?.records.len(),
        &0,
        "records after refusals",
    )
}

pub(super) fn large(subject: &dyn Subject) -> Verdict {
    let limits = Limits::default();
    let store = subject.fresh(limits);
    let key_of = |n: u32| format!("large/{n:04}/{}", "k".repeat(limits.max_key_bytes - 11));
    let value_of = |n: u32| vec![n.to_le_bytes()[0]; limits.max_value_bytes];
    for n in 0..40_u32 {
        write(&store, u64::from(n), vec![put(key_of(n), value_of(n))])?;
    }
    let small = (0..u32::try_from(limits.max_operations).map_err(super::text)?)
        .map(|n| put(format!("small/{n:05}"), n.to_be_bytes()));
    write(&store, 100, small.collect())?;
    let entries = (0..500_u32).map(|n| put(format!("entry/{n:05}"), vec![1; 1000]));
    write(&store, 101, entries.collect())?;
    let large = load(&store, "large/")?.records;
    ensure_eq(&large.len(), &40, "large records")?;
    for (n, (key, value)) in (0..).zip(&large) {
        let same = **key == *key_of(n).as_bytes() && **value == *value_of(n);
        ensure(same, || {
            format!("large record {n} is not as it was written")
        })?;
    }
    ensure_eq(
        &load(&store, "small/")?.records.len(),
        &limits.max_operations,
        "small records",
    )?;
    ensure_eq(&load(&store, "entry/")?.records.len(), &500, "entries")
}
