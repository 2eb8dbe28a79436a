//! Where news from the server meets the streams of workloads: the pure cache of
//! crate `workload` under one lock, and for each view the latest state, which
//! its streams watch.
//!
//! There are no queues here. A stream that reads slowly finds the newest state
//! when it comes back, and what it missed is gone.

mod all_bundles;
mod delivery;
mod encode;
mod lookups;
mod revoked;
mod standing;
mod subscription;
mod suspects;
mod upkeep;
mod viewers;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use duty::Duty;
use identity::{Bundle, Entry, EntryId, Timestamp};
use tokio::sync::{Notify, watch};
use tonic::Status;
use workload::{Cache, Caller, Effects, Jitter, TooManyViews, Update, ViewId};

pub(crate) use all_bundles::AllBundles;
pub(crate) use subscription::{
    Answer, NO_IDENTITY, Next, Subscription, no_identity, not_ready, withheld,
};

pub(crate) use revoked::RevocationNews;

use crate::clock::Clock;
use crate::config::Settings;
use crate::entropy::Entropy;
use delivery::Deliveries;
pub(crate) use delivery::{Laggard, Progress};
use subscription::Shown;
pub(crate) use suspects::{Authorities, authority_key_id, subject_key_id};
use viewers::Viewers;

/// Which view of the server's the entries are.
#[derive(Clone, Debug, Default)]
pub(crate) struct ViewPosition {
    /// The server's position; opaque.
    pub(crate) position: Bytes,
    /// The server's digest of the view; opaque.
    pub(crate) digest: Bytes,
    /// Whether nothing was left out.
    pub(crate) is_whole: bool,
}

/// The agent's cache and those who watch it.
pub(crate) struct Hub {
    state: Mutex<State>,
    deliveries: Arc<Deliveries>,
    /// Counts changes of any bundle.
    bundle_changes: watch::Sender<u64>,
    /// Sequence of the own bundle by which no SVID here is suspect.
    replaced: watch::Sender<u64>,
    /// The earliest renewal moved.
    pub(crate) due: Notify,
    /// Something that is kept on disk changed.
    pub(crate) unsaved: Notify,
    clock: Clock,
    entropy: Entropy,
    open_to_all: bool,
}

struct State {
    cache: Cache,
    /// The authorities that may be relied on.
    authorities: Authorities,
    /// Entries whose SVIDs no such authority signed and that wait for new ones.
    suspects: BTreeSet<EntryId>,
    /// What is revoked, if a list came.
    revocations: Option<RevocationNews>,
    /// Whether there is a view at all, be it from disk.
    is_ready: bool,
    /// Whether the server wants this node no more: it was banned or evicted.
    is_dismissed: bool,
    /// Whether what an earlier run knew to be revoked is lost, and not replaced yet.
    revocations_lost: bool,
    position: ViewPosition,
    /// When the entries were last brought up to date by the server; `None` while
    /// they are those of an earlier run.
    current_since: Option<Timestamp>,
    watched: HashMap<ViewId, Watched>,
    viewers: Viewers,
    max_views: usize,
    /// What callers without identity are answered, where that is allowed.
    own_only: Option<Arc<subscription::OwnBundle>>,
}

/// A view that is watched.
struct Watched {
    shown: watch::Sender<Shown>,
    /// How many subscriptions there are. Receivers are no measure: they outlive theirs by
    /// a moment.
    subscriptions: usize,
}

impl Hub {
    pub(crate) fn new(settings: &Settings, clock: Clock, entropy: Entropy) -> Arc<Self> {
        let bounds = &settings.config.limits;
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let limits = workload::Limits {
            max_entries: count(bounds.entries),
            jwt_svids: workload::Room {
                items: count(bounds.cached_jwt_svids),
                bytes: count(bounds.cached_token_bytes),
            },
            max_views: count(bounds.views),
            ..workload::Limits::default()
        };
        let state = State {
            cache: Cache::new(limits),
            authorities: Authorities::default(),
            suspects: BTreeSet::new(),
            revocations: None,
            is_ready: false,
            is_dismissed: false,
            revocations_lost: false,
            position: ViewPosition::default(),
            current_since: None,
            watched: HashMap::new(),
            viewers: Viewers::default(),
            max_views: limits.max_views,
            own_only: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            deliveries: Deliveries::new(clock.clone()),
            bundle_changes: watch::Sender::new(0),
            replaced: watch::Sender::new(0),
            due: Notify::new(),
            unsaved: Notify::new(),
            clock,
            entropy,
            open_to_all: settings.config.workload_api.allow_unauthenticated_verifiers,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a view to serve workloads from, of this run or an earlier one.
    pub(crate) fn is_ready(&self) -> bool {
        let state = self.lock();
        state.is_ready && !state.is_dismissed && state.cache.own_bundle().is_some()
    }

    /// These are all entries.
    pub(crate) fn replace_entries(&self, entries: Vec<Arc<Entry>>, position: ViewPosition) {
        self.update(Update::Snapshot(entries), Some(position));
    }

    /// These entries are new or changed, and those are gone.
    pub(crate) fn change_entries(
        &self,
        put: Vec<Arc<Entry>>,
        removed: Vec<EntryId>,
        position: ViewPosition,
    ) {
        self.update(Update::Delta { put, removed }, Some(position));
    }

    /// These are all bundles.
    pub(crate) fn replace_bundles(&self, own: Arc<Bundle>, federated: Vec<Arc<Bundle>>) {
        let sequence = own.sequence;
        self.update(Update::Bundles { own, federated }, None);
        self.deliveries.hold(sequence);
        self.note_bundles();
    }

    fn note_bundles(&self) {
        self.bundle_changes.send_modify(|changes| *changes += 1);
    }

    /// Takes the own bundle and keeps the federated ones.
    pub(crate) fn hold_own_bundle(&self, own: Arc<Bundle>) {
        let federated = {
            let state = self.lock();
            let all = state.cache.federated_bundles();
            all.map(|(_, bundle)| Arc::clone(bundle)).collect()
        };
        self.replace_bundles(own, federated);
    }

    fn update(&self, update: Update, position: Option<ViewPosition>) {
        let now = self.clock.now();
        let mut state = self.lock();
        let is_bundles = matches!(update, Update::Bundles { .. });
        let effects = state.cache.apply(update, now);
        if effects.left_out > 0 {
            tracing::warn!(
                entries = effects.left_out,
                "entries beyond limits.entries were left out"
            );
        }
        let was_ready = state.is_ready;
        if let Some(position) = position {
            state.is_ready = true;
            state.position = position;
            state.current_since = Some(now);
        }
        if is_bundles {
            self.rely_on_new_bundle(&mut state, now);
            self.show_own_bundle(&mut state);
        }
        // A bundle's sequence reaches every stream, also where nothing else changed.
        if is_bundles || !was_ready {
            state.show_all(self.clock.boottime());
        }
        self.settle(&mut state, &effects);
        self.note_replaced(&mut state);
        self.unsaved.notify_one();
    }

    fn settle(&self, state: &mut State, effects: &Effects) {
        let now = self.clock.boottime();
        for id in &effects.changed {
            state.show(*id, now);
        }
        if effects.reschedule {
            self.due.notify_one();
        }
    }

    /// Opens a stream of a user's process for a caller.
    ///
    /// # Errors
    /// There are too many distinct callers, in all or of this user.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        caller: &Caller,
        uid: u32,
    ) -> Result<Subscription, TooManyViews> {
        let now = self.clock.now();
        let mut state = self.lock();
        let (id, effects) = state.cache.subscribe(caller, now)?;
        self.settle(&mut state, &effects);
        let open = state.cache.open_views();
        let free = state.max_views.saturating_sub(open);
        if !state.viewers.enter(uid, id, free) {
            state.cache.unsubscribe(id);
            return Err(TooManyViews(open));
        }
        let shown = match state.watched.get_mut(&id) {
            Some(watched) => {
                watched.subscriptions += 1;
                watched.shown.subscribe()
            }
            None => {
                let (shown, receiver) = watch::channel(state.shown(id, self.clock.boottime()));
                let watched = Watched {
                    shown,
                    subscriptions: 1,
                };
                state.watched.insert(id, watched);
                receiver
            }
        };
        drop(state);
        Ok(Subscription::new(Arc::clone(self), id, uid, shown))
    }

    fn unsubscribe(&self, id: ViewId, uid: u32) {
        let mut state = self.lock();
        state.cache.unsubscribe(id);
        state.viewers.leave(uid, id);
        if let Some(watched) = state.watched.get_mut(&id) {
            watched.subscriptions = watched.subscriptions.saturating_sub(1);
            if watched.subscriptions == 0 {
                state.watched.remove(&id);
            }
        }
    }

    /// The entries of a caller, the default first.
    ///
    /// # Errors
    /// Nothing is known yet, or what the caller is depends on an attestor that does
    /// not answer.
    pub(crate) fn matching(&self, caller: &Caller) -> Result<Vec<Arc<Entry>>, Status> {
        self.matching_among(caller, |_| true)
    }

    /// As [`Hub::matching`], as if there were only these entries.
    pub(crate) fn matching_among(
        &self,
        caller: &Caller,
        among: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Arc<Entry>>, Status> {
        let state = self.lock();
        if !state.is_ready && !state.is_dismissed {
            return Err(not_ready());
        }
        let entries = state.cache.resolve_among(caller, self.clock.now(), among);
        entries.map_err(withheld)
    }

    /// The bundles a caller may verify with: the own one and those its entries
    /// federate with.
    pub(crate) fn visible_bundles(&self, caller: &Caller) -> Result<Vec<Arc<Bundle>>, Status> {
        let entries = self.matching(caller)?;
        let is_open = self.is_open_to_all() && !self.lock().is_dismissed;
        if entries.is_empty() && !is_open {
            return Err(no_identity());
        }
        Ok(self.bundles_for(&entries))
    }

    /// How many callers watch their views.
    #[cfg(test)]
    pub(crate) fn watchers(&self) -> usize {
        let state = self.lock();
        let counts = state.watched.values();
        counts.map(|watched| watched.subscriptions).sum()
    }

    /// Whether callers without an identity may use the own bundle.
    pub(crate) const fn is_open_to_all(&self) -> bool {
        self.open_to_all
    }

    /// The own trust domain's bundle.
    pub(crate) fn own_bundle(&self) -> Option<Arc<Bundle>> {
        self.lock().cache.own_bundle().cloned()
    }

    /// The own bundle and those of the trust domains these entries federate with.
    pub(crate) fn bundles_for(&self, entries: &[Arc<Entry>]) -> Vec<Arc<Bundle>> {
        let state = self.lock();
        let federated = state.cache.federated_bundles();
        let mut bundles: Vec<Arc<Bundle>> = federated
            .filter(|(td, _)| entries.iter().any(|e| e.federates_with.contains(td)))
            .map(|(_, bundle)| Arc::clone(bundle))
            .collect();
        bundles.extend(state.cache.own_bundle().cloned());
        bundles
    }

    /// Follows what every open stream was sent of the own bundle.
    pub(crate) fn delivered(&self) -> watch::Receiver<Progress> {
        self.deliveries.progress()
    }

    /// Watches for streams that take nothing, for as long as the agent runs.
    pub(crate) async fn watch_streams(&self, duty: &Duty) {
        self.deliveries.watch(duty).await;
    }

    fn jitter(&self) -> Jitter {
        Jitter(self.entropy.number())
    }
}

impl State {
    fn shown(&self, id: ViewId, since: Duration) -> Shown {
        if self.is_dismissed {
            return Shown::denied(since);
        }
        if !self.is_ready {
            return Shown::not_ready(since);
        }
        Shown {
            is_ready: true,
            x509: self.cache.x509(id),
            x509_bundles: self.cache.x509_bundles(id),
            jwt_bundles: self.cache.jwt_bundles(id),
            own_only: self.own_only.clone(),
            waits_for: self
                .cache
                .first_without_svid(id)
                .map(|entry| entry.spiffe_id.clone()),
            bundle_sequence: self.cache.own_bundle().map_or(0, |b| b.sequence),
            since,
        }
    }

    fn show(&self, id: ViewId, now: Duration) {
        if let Some(watched) = self.watched.get(&id) {
            watched.shown.send_replace(self.shown(id, now));
        }
    }

    fn show_all(&self, now: Duration) {
        for id in self.watched.keys() {
            self.show(*id, now);
        }
    }
}
