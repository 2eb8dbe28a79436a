//! Random commits against a `BTreeMap`: the same records, the same refusals, the same log.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use store::memory::Memory;
    use store::sled_engine::{Sled, SledOptions};
    use store::{
        Commit, CommitError, CommitId, Condition, Key, Position, Store, Value, Write, block_on,
    };
    use tempfile::TempDir;

    #[derive(Clone, Debug)]
    enum Step {
        Commit(Vec<Condition>, Vec<Write>),
        Get(Key),
        Load(Vec<u8>),
        Reopen,
    }

    fn key() -> impl Strategy<Value = Key> {
        proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xff)], 1..4)
            .prop_map(Key::from)
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            4 => proptest::collection::vec(0..3_u8, 0..3).prop_map(Value::from),
            1 => (0..3_u8, 0..32_768_usize).prop_map(|(byte, length)| vec![byte; length].into()),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let condition = prop_oneof![
            key().prop_map(Condition::Absent),
            key().prop_map(Condition::Present),
            (key(), value()).prop_map(|(key, value)| Condition::Equals(key, value)),
        ];
        let write = prop_oneof![
            3 => (key(), value()).prop_map(|(key, value)| Write::Put(key, value)),
            1 => key().prop_map(Write::Delete),
        ];
        let conditions = proptest::collection::vec(condition, 0..2);
        let writes = proptest::collection::vec(write, 0..6);
        prop_oneof![
            12 => (conditions, writes).prop_map(|(some, writes)| Step::Commit(some, writes)),
            3 => key().prop_map(Step::Get),
            2 => proptest::collection::vec(prop_oneof![Just(b'a'), Just(0xff)], 0..3)
                .prop_map(Step::Load),
            1 => Just(Step::Reopen),
        ]
    }

    type Map = BTreeMap<Key, Value>;

    fn apply(model: &mut Map, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(key, value) => model.insert(key.clone(), value.clone()),
                Write::Delete(key) => model.remove(key),
            };
        }
    }

    fn run<S: Store>(steps: Vec<Step>, mut reopen: impl FnMut(Option<S>) -> S) {
        let mut store = reopen(None);
        let start = store.head();
        let mut model = Map::new();
        let mut log = Vec::new();
        for (n, step) in (0_u128..).zip(steps) {
            match step {
                Step::Commit(conditions, writes) => {
                    let current = |key: &Key| model.get(key).map(|value| &**value);
                    let failing = conditions
                        .iter()
                        .find(|it| !it.holds(current(it.key())))
                        .cloned();
                    let id = CommitId(n.to_be_bytes());
                    let commit = Commit {
                        id,
                        conditions,
                        writes: writes.clone(),
                    };
                    match (block_on(store.commit(commit)), failing) {
                        (Ok(position), None) => {
                            apply(&mut model, &writes);
                            log.push(writes);
                            assert_eq!(position.revision, u64::try_from(log.len()).unwrap());
                        }
                        (Err(CommitError::Conflict { key }), Some(failing)) => {
                            assert_eq!(&key, failing.key());
                        }
                        (outcome, failing) => panic!("{outcome:?}, but failing is {failing:?}"),
                    }
                }
                Step::Get(key) => {
                    assert_eq!(block_on(store.get(&key)).unwrap(), model.get(&key).cloned());
                }
                Step::Load(prefix) => {
                    let under = model.iter().filter(|(key, _)| key.starts_with(&prefix));
                    let expected: Vec<_> = under.map(|(k, v)| (k.clone(), v.clone())).collect();
                    assert!(block_on(store.load(&prefix)).unwrap().records == expected);
                }
                Step::Reopen => store = reopen(Some(store)),
            }
        }
        let mut watch = store.watch(start).unwrap();
        for (revision, writes) in (1..).zip(log) {
            let change = block_on(watch.next()).unwrap();
            assert_eq!(change.position, Position { revision, ..start });
            assert!(*change.writes == *writes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn memory_matches_the_model(steps in proptest::collection::vec(step(), 1..60)) {
            run(steps, |open: Option<Memory>| open.unwrap_or_else(|| Memory::new(1)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(25))]
        #[test]
        fn sled_matches_the_model_across_reopening(
            steps in proptest::collection::vec(step(), 1..60),
        ) {
            let dir = TempDir::new().unwrap();
            run(steps, |open: Option<Sled>| {
                drop(open);
                Sled::open(dir.path(), SledOptions::new([9; 32])).unwrap()
            });
        }
    }
}
