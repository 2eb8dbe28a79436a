//! Random sequences of everything that can happen to a cache, beside the naive
//! model: after each step every view is what the model says, exactly the views
//! that moved are named, streams get each content once, and exactly the SVIDs
//! that somebody wants are due.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::{Entry, EntryId, Seconds, Selectors, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::events::{Event, events};
use super::model::{IN_FLIGHT, Model, RETRY_MAX, Seen, jwt_of, seen_bundles, seen_x509, x509_of};
use super::world::{bundle, entry, entry_id, fed, issued, selectors, td};
use crate::{
    BundleView, Cache, Delivered, Effects, Jitter, Limits, State, Step, Update, ViewId, X509View,
};

/// One open stream of each kind for one caller.
struct Stream {
    caller: Selectors,
    view: ViewId,
    x509: (Delivered, Option<Seen>),
    x509_bundles: (Delivered, Option<Seen>),
    jwt_bundles: (Delivered, Option<Seen>),
    before: [Seen; 3],
}

struct Pair {
    cache: Cache,
    model: Model,
    streams: Vec<Stream>,
    marks: u64,
    /// What stands between the server's news and the cache: nothing, or a bug.
    plant: fn(Update) -> Option<Update>,
}

fn states(cache: &Cache, view: ViewId) -> [Seen; 3] {
    [
        seen_x509(&cache.x509(view)),
        seen_bundles(&cache.x509_bundles(view), x509_of),
        seen_bundles(&cache.jwt_bundles(view), jwt_of),
    ]
}

impl Pair {
    fn new(plant: fn(Update) -> Option<Update>) -> Self {
        let limits = Limits {
            max_idle_views: 2,
            in_flight: Seconds(u32::try_from(IN_FLIGHT).unwrap()),
            retry_max: Seconds(u32::try_from(RETRY_MAX).unwrap()),
            ..Limits::default()
        };
        Self {
            cache: Cache::new(limits),
            model: Model::default(),
            streams: Vec::new(),
            marks: 0,
            plant,
        }
    }

    fn apply(&mut self, update: Update) -> Effects {
        let now = Timestamp(self.model.now);
        match (self.plant)(update) {
            Some(update) => self.cache.apply(update, now),
            None => Effects::default(),
        }
    }

    fn step(&mut self, event: Event) -> Result<Effects, TestCaseError> {
        let now = Timestamp(self.model.now);
        Ok(match event {
            Event::Put(put) => {
                put.iter().for_each(|e| self.model.put(e));
                self.apply(Update::Delta {
                    put,
                    removed: vec![],
                })
            }
            Event::Remove(n) => {
                self.model.known.remove(&entry_id(n));
                self.apply(Update::Delta {
                    put: vec![],
                    removed: vec![entry_id(n)],
                })
            }
            Event::Snapshot(entries) => {
                self.model
                    .known
                    .retain(|id, _| entries.iter().any(|e| e.id == *id));
                entries.iter().for_each(|e| self.model.put(e));
                self.apply(Update::Snapshot(entries))
            }
            Event::Bundles(x509, jwt, federated) => {
                let own = bundle(td(), x509, jwt);
                let some = (0..).zip(federated).filter(|(_, (x, j))| x + j > 0);
                let federated: Vec<_> = some.map(|(n, (x, j))| bundle(fed(n), x, j)).collect();
                self.model.own = Some(own.clone());
                let by_name = federated
                    .iter()
                    .map(|b| (b.trust_domain.clone(), b.clone()));
                self.model.federated = by_name.collect();
                self.apply(Update::Bundles { own, federated })
            }
            Event::Open(bits) => {
                let caller = selectors(bits);
                let (view, effects) = self.cache.subscribe(&caller, now).unwrap();
                let before = states(&self.cache, view);
                let nothing = || (Delivered::default(), None);
                self.streams.push(Stream {
                    caller,
                    view,
                    before,
                    x509: nothing(),
                    x509_bundles: nothing(),
                    jwt_bundles: nothing(),
                });
                effects
            }
            Event::Close(n) => {
                if n < self.streams.len() {
                    let stream = self.streams.swap_remove(n);
                    self.cache.unsubscribe(stream.view);
                }
                Effects::default()
            }
            Event::TakeDue => self.take_due()?,
            Event::Issue(n, life, jitter) => self.issue(n, life, Jitter(jitter)),
            Event::Fail(n, jitter) => {
                if let Some(known) = self.model.known.get_mut(&entry_id(n)) {
                    known.failed = true;
                    known.due = (now.0 + 1, now.0 + RETRY_MAX);
                }
                self.cache.fail_x509(&entry_id(n), Jitter(jitter), now)
            }
            Event::Advance(seconds) => {
                self.model.advance(seconds);
                self.cache.tick(Timestamp(self.model.now))
            }
        })
    }

    fn issue(&mut self, n: u8, life: i64, jitter: Jitter) -> Effects {
        let now = self.model.now;
        let Some(known) = self.model.known.get_mut(&entry_id(n)) else {
            return Effects::default();
        };
        self.marks += 1;
        let asked = known.entry.clone();
        let issued = issued(&asked, self.marks, now, life);
        known.svid = Some((self.marks, now + life));
        known.failed = false;
        known.due = (now + life * 2 / 5 - 1, now + life * 3 / 5 + 1);
        self.cache
            .store_x509(&asked, issued, jitter, Timestamp(now))
    }

    fn take_due(&mut self) -> Result<Effects, TestCaseError> {
        let now = self.model.now;
        let taken = self.cache.take_due(Timestamp(now), usize::MAX);
        let taken: BTreeSet<EntryId> = taken.iter().map(|e| e.id.clone()).collect();
        let callers: Vec<Selectors> = self.streams.iter().map(|s| s.caller.clone()).collect();
        let ids: Vec<EntryId> = self.model.known.keys().cloned().collect();
        for id in ids {
            let known = &self.model.known[&id];
            let wanted = self.model.wanted(known, &callers);
            let (earliest, latest) = known.due;
            if taken.contains(&id) {
                prop_assert!(
                    wanted && earliest <= now,
                    "{} taken, due {}..{}",
                    id,
                    earliest,
                    latest
                );
                self.model.known.get_mut(&id).unwrap().due = (now + IN_FLIGHT, now + IN_FLIGHT);
            } else {
                prop_assert!(
                    !wanted || now < latest,
                    "{} not taken, due {}..{}",
                    id,
                    earliest,
                    latest
                );
            }
        }
        Ok(Effects::default())
    }

    fn check(&mut self, effects: &Effects) -> Result<(), TestCaseError> {
        prop_assert!(effects.changed.is_sorted());
        let due_exists = self.cache.next_due().is_some();
        let callers: Vec<Selectors> = self.streams.iter().map(|s| s.caller.clone()).collect();
        let wanted = self
            .model
            .known
            .values()
            .any(|k| self.model.wanted(k, &callers));
        prop_assert_eq!(
            due_exists,
            wanted,
            "something is scheduled exactly when wanted"
        );
        for stream in &mut self.streams {
            let found = states(&self.cache, stream.view);
            let expected = [
                self.model.x509(&stream.caller),
                self.model.bundles(&stream.caller, x509_of),
                self.model.bundles(&stream.caller, jwt_of),
            ];
            prop_assert_eq!(&found, &expected);
            let moved = found != stream.before;
            prop_assert!(
                !moved || effects.changed.contains(&stream.view),
                "a move was not named"
            );
            stream.before = found;
            let (a, b, c) = (
                self.cache.x509(stream.view),
                self.cache.x509_bundles(stream.view),
                self.cache.jwt_bundles(stream.view),
            );
            deliver(&mut stream.x509, &a, &expected[0], |v: &Arc<X509View>| {
                seen_x509(&State::Ready(v.clone()))
            })?;
            let x509 = |v: &Arc<BundleView>| seen_bundles(&State::Ready(v.clone()), x509_of);
            deliver(&mut stream.x509_bundles, &b, &expected[1], x509)?;
            let jwt = |v: &Arc<BundleView>| seen_bundles(&State::Ready(v.clone()), jwt_of);
            deliver(&mut stream.jwt_bundles, &c, &expected[2], jwt)?;
        }
        let members = self.model.members(&selectors(7));
        prop_assert_eq!(
            self.cache
                .matching(&selectors(7), Timestamp(self.model.now)),
            members
        );
        prop_assert_eq!(
            self.cache.digest(),
            identity::ViewDigest::of(self.cache.entries())
        );
        Ok(())
    }
}

/// Lets a stream act on a state: it sends only news, and what it has sent is what
/// the model says.
fn deliver<V: crate::Versioned>(
    (delivered, last): &mut (Delivered, Option<Seen>),
    state: &State<V>,
    expected: &Seen,
    seen: impl Fn(&Arc<V>) -> Seen,
) -> Result<(), TestCaseError> {
    match delivered.step(state) {
        Step::Wait => prop_assert!(*expected == Seen::Pending || last.as_ref() == Some(expected)),
        Step::Send(view) => {
            let content = seen(&view);
            prop_assert_eq!(&content, expected);
            prop_assert_ne!(Some(&content), last.as_ref(), "the same content twice");
            *last = Some(content);
        }
        Step::End => {
            prop_assert_eq!(expected, &Seen::Denied);
            // A new stream begins from nothing.
            (*delivered, *last) = (Delivered::default(), None);
        }
        Step::Withheld(why) => panic!("nothing is unknown here: {why}"),
    }
    Ok(())
}

fn run(events: Vec<Event>, plant: fn(Update) -> Option<Update>) -> Result<(), TestCaseError> {
    let mut pair = Pair::new(plant);
    for event in events {
        let effects = pair.step(event)?;
        pair.check(&effects)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_cache_is_what_the_naive_model_says(events in events()) {
        run(events, Some)?;
    }
}

fn finds(plant: fn(Update) -> Option<Update>) -> bool {
    let mut runner = TestRunner::new(Config {
        cases: 1_000,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    });
    runner.run(&events(), |events| run(events, plant)).is_err()
}

#[test]
fn the_model_turns_red_when_a_removal_is_lost() {
    assert!(finds(|update| Some(match update {
        Update::Delta { put, .. } => Update::Delta {
            put,
            removed: vec![]
        },
        other => other,
    })));
}

#[test]
fn the_model_turns_red_when_a_federated_bundle_is_kept_after_redaction() {
    assert!(finds(|update| match update {
        Update::Bundles { federated, .. } if federated.is_empty() => None,
        other => Some(other),
    }));
}

#[test]
fn the_model_turns_red_when_a_hint_is_not_unique() {
    // The bug: hints that differ only in the cache, so that none is a repeat.
    assert!(finds(|update| Some(match update {
        Update::Delta { put, removed } => {
            let distinct = |e: Arc<Entry>| {
                let mut fields = (*e).clone().into_fields();
                fields.hint = if fields.hint.is_empty() {
                    String::new()
                } else {
                    fields.id.to_string()
                };
                entry(fields)
            };
            Update::Delta {
                put: put.into_iter().map(distinct).collect(),
                removed,
            }
        }
        other => other,
    })));
}
