//! Loading the state at start and following the change log ever after: the only
//! writer of the in-memory view.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use channel::LiveBundles;
use duty::Duty;
use identity::{SpiffeId, Timestamp, TrustDomain};
use records::key;
use registry::{Change, Registry, Touched};
use store::{Position, Store, WatchError};
use tokio::sync::watch;

use super::stored::{Stored, decode, unread_revocation};
use super::{Inner, State, View};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::limits;
use crate::metrics::{self, Meters};

/// What a state is made of.
pub(crate) struct Loading {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) live_bundles: Arc<LiveBundles>,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) meters: Meters,
    pub(crate) following: Duty,
}

impl State {
    /// Loads everything of the trust domain into memory.
    ///
    /// # Errors
    /// The store cannot be read, or it cannot be told what is revoked. Any other record
    /// that cannot be read is no error: it is left out, logged and counted.
    pub(crate) async fn load(parts: Loading) -> Result<Self, Failure> {
        let (view, position) =
            load_view(&parts.trust_domain, &parts.store, parts.clock.now()).await?;
        let orphaned = tokio::sync::Notify::new();
        if view.trust.has_orphans() {
            orphaned.notify_one();
        }
        for bundle in view.registry.bundles() {
            parts.live_bundles.set(Arc::clone(bundle));
        }
        let revoked = super::revocations::of(&view, parts.clock.now());
        parts.live_bundles.set_revocations(Arc::clone(&revoked));
        let state = Self(Arc::new(Inner {
            revocation_sequence: watch::Sender::new(revoked.sequence()),
            revoked: ArcSwap::new(revoked),
            orphaned,
            trust_domain: parts.trust_domain,
            store: parts.store,
            view: RwLock::new(view),
            applied: watch::Sender::new(position),
            activated: watch::Sender::new(()),
            fresh_ms: AtomicU64::new(0),
            admin_writes: tokio::sync::Mutex::new(()),
            row_locks: super::decide::RowLocks::new(),
            subscribers: Arc::default(),
            pollers: super::polled::Pollers::default(),
            contacts: super::contacts::Contacts::default(),
            live_bundles: parts.live_bundles,
            audit: parts.audit,
            clock: parts.clock,
            entropy: parts.entropy,
            meters: parts.meters,
            following: parts.following,
        }));
        state.mark_fresh();
        Ok(state)
    }

    fn apply(&self, writes: &[store::Write], position: Position) {
        let mut effects = Effects::default();
        {
            let mut guard = self.0.view.write().unwrap_or_else(PoisonError::into_inner);
            let whose = (&self.0.trust_domain, self.0.clock.now());
            for write in writes {
                let value = write.value().map(AsRef::as_ref);
                take(whose, &mut guard, write.key(), value, &mut effects);
            }
            settle_trust(&mut guard, whose.1, &mut effects);
            // Before anybody is told that the change is in force.
            if effects.revocations {
                self.take_revocations(&guard);
            }
            // Inside the lock, so that a reader sees view and position together.
            self.0.applied.send_replace(position);
        }
        self.mark_fresh();
        self.tell(&effects);
    }

    fn tell(&self, effects: &Effects) {
        for change in &effects.bundles {
            match change {
                Change::PutBundle(bundle) => self.0.live_bundles.set(Arc::clone(bundle)),
                Change::DeleteBundle(of) => self.0.live_bundles.remove(of),
                _ => {}
            }
        }
        for touched in &effects.touched {
            self.0.subscribers.mark_views(touched);
        }
        if !effects.bundles.is_empty() {
            self.0.subscribers.mark_bundles();
        }
        for agent in &effects.gone {
            self.forget_heard(agent);
        }
        if effects.policy {
            self.0.activated.send_replace(());
        }
        if effects.orphans {
            self.0.orphaned.notify_one();
        }
    }

    async fn reload(&self) -> Result<Position, Failure> {
        let (mut view, position) =
            load_view(&self.0.trust_domain, &self.0.store, self.0.clock.now()).await?;
        {
            let mut guard = self.0.view.write().unwrap_or_else(PoisonError::into_inner);
            keep_sequence(&mut view.registry, &guard.registry);
            for bundle in view.registry.bundles() {
                self.0.live_bundles.set(Arc::clone(bundle));
            }
            if view.trust.has_orphans() {
                self.0.orphaned.notify_one();
            }
            *guard = view;
            self.take_revocations(&guard);
            self.0.applied.send_replace(position);
        }
        self.mark_fresh();
        self.0.subscribers.mark_everything();
        self.0.activated.send_replace(());
        Ok(position)
    }
}

/// What applying one commit asks to be told, gathered outside the lock.
#[derive(Default)]
struct Effects {
    touched: Vec<Touched>,
    bundles: Vec<Change>,
    /// Agents that were evicted.
    gone: Vec<SpiffeId>,
    /// Another policy set is active.
    policy: bool,
    revocations: bool,
    /// An owner of authorities is gone whose record is still there.
    orphans: bool,
}

/// Composes the own bundle again when something of it may have changed.
fn settle_trust(view: &mut View, now: Timestamp, effects: &mut Effects) {
    let composes = view.trust.is_changed();
    let shown = view.registry.bundle(view.registry.trust_domain()).cloned();
    if let Some(change) = view.trust.settle(&view.registry, shown.as_ref(), now) {
        effects.bundles.push(change.clone());
        effects.touched.push(view.registry.apply(change));
    }
    effects.orphans |= composes && view.trust.has_orphans();
}

/// The own bundle of a view that was loaded again has a sequence number that is not
/// lower than before, and a higher one when it is another.
fn keep_sequence(loaded: &mut Registry, before: &Registry) {
    let td = before.trust_domain();
    let (Some(now), Some(shown)) = (loaded.bundle(td), before.bundle(td)) else {
        return;
    };
    let mut bundle = identity::Bundle::clone(now);
    bundle.sequence = shown.sequence;
    if bundle != **shown {
        bundle.sequence = now.sequence.max(shown.sequence.saturating_add(1));
    } else {
        bundle.sequence = now.sequence.max(shown.sequence);
    }
    loaded.apply(Change::PutBundle(Arc::new(bundle)));
}

/// Reads all records of the trust domain.
async fn load_view(
    td: &TrustDomain,
    store: &Arc<dyn Store>,
    now: Timestamp,
) -> Result<(View, Position), Failure> {
    let loaded = store.load(&key::all(td)).await;
    let loaded =
        loaded.map_err(|error| Failure::unavailable(format!("state cannot be loaded: {error}")))?;
    let mut view = View {
        registry: Registry::new(td.clone()),
        trust: super::trust::Trust::default(),
        tokens: HashMap::new(),
        activations: BTreeMap::new(),
        limits: HashMap::new(),
        glass: BTreeMap::new(),
        poison: BTreeMap::new(),
    };
    let mut effects = Effects::default();
    for (key, value) in &loaded.records {
        take((td, now), &mut view, key, Some(value), &mut effects);
        // Nobody listens yet; do not gather what nobody is told.
        effects = Effects::default();
    }
    settle_trust(&mut view, now, &mut effects);
    check_revocations(td, &view, now)?;
    Ok((view, loaded.position))
}

/// A server that does not know all that is revoked would accept some of it.
fn check_revocations(td: &TrustDomain, view: &View, now: Timestamp) -> Result<(), Failure> {
    let mut lost = view.poison.iter().filter(|(key, poison)| {
        poison.is_revocation() && unread_revocation(td, key, now).is_none()
    });
    lost.next().map_or(Ok(()), |(_, poison)| {
        Err(Failure::internal(format!(
            "the stored record {} says what is revoked and cannot be read: {}; run the version of bulla that wrote \
             it, or restore the data directory from a backup",
            poison.key, poison.why
        )))
    })
}

/// Applies one record, or its deletion, to the view.
fn take(
    (td, now): (&TrustDomain, Timestamp),
    view: &mut View,
    key: &[u8],
    value: Option<&[u8]>,
    effects: &mut Effects,
) {
    match decode(td, key, value) {
        Ok(stored) => {
            if !view.poison.is_empty() {
                view.poison.remove(key);
            }
            take_good(view, stored, effects);
        }
        Err(poison) => {
            tracing::error!(
                record = poison.key,
                why = poison.why,
                "stored record cannot be read"
            );
            if let Some(revocation) = unread_revocation(td, key, now) {
                let still = Stored::Registry(Change::PutRevocation(Arc::new(revocation)));
                take_good(view, still, effects);
            } else {
                // What was there before under this key can no longer be vouched for.
                match decode(td, key, None) {
                    Ok(Stored::Registry(gone)) => {
                        view.trust.note(&gone);
                        effects.touched.push(view.registry.apply(gone));
                    }
                    Ok(gone) => take_good(view, gone, effects),
                    Err(_names_nothing) => {}
                }
            }
            effects.policy |= poison.activation().is_some();
            view.poison.insert(key.to_vec(), poison);
            metrics::set(metrics::POISON_RECORDS, metrics::number(view.poison.len()));
        }
    }
}

fn take_good(view: &mut View, stored: Stored, effects: &mut Effects) {
    match stored {
        Stored::Registry(change) => {
            view.trust.note(&change);
            let bundle = matches!(change, Change::PutBundle(_) | Change::DeleteBundle(_));
            if bundle {
                effects.bundles.push(change.clone());
            }
            effects.revocations |= matches!(
                change,
                Change::PutRevocation(_)
                    | Change::DeleteRevocation(_)
                    | Change::RevocationSequence(_)
            );
            let node = match &change {
                Change::PutNode(node) => Some(node.id.clone()),
                Change::DeleteNode(id) => Some(id.clone()),
                _ => None,
            };
            if let Change::DeleteNode(id) = &change {
                effects.gone.push(id.clone());
            }
            let mut touched = view.registry.apply(change);
            // An agent is told of its own standing even when its entries stay the same.
            if let Some(id) = node {
                touched.merge(Touched::Agents([id].into()));
            }
            effects.touched.push(touched);
        }
        Stored::Token(sha256, Some(token)) => {
            view.tokens.insert(sha256, token);
        }
        Stored::Token(sha256, None) => {
            view.tokens.remove(&sha256);
        }
        Stored::Activation(number, Some(activation)) => {
            view.activations.insert(number, Arc::new(activation));
            effects.policy = true;
        }
        Stored::Activation(number, None) => {
            view.activations.remove(&number);
        }
        Stored::Limits(entry, Some(limits)) => {
            view.limits.insert(entry, Arc::new(limits));
        }
        Stored::Limits(entry, None) => {
            view.limits.remove(&entry);
        }
        Stored::Glass(id, Some(glass)) => {
            view.glass.insert(id, Arc::new(glass));
        }
        Stored::Glass(id, None) => {
            view.glass.remove(&id);
        }
        Stored::OwnBundle(own) => view.trust.take_own(own),
        Stored::Upstream(name, keys) => view.trust.take_above(name, keys),
        Stored::Trust(owner, record) => view.trust.take_owner(owner, record),
        Stored::Authority | Stored::PolicyChunk => {}
    }
}

/// Follows the change log until the store closes. Run it as one task; when it ends
/// or stalls, the view ages and nothing is authorised any more.
pub(crate) async fn follow(state: State) {
    follow_to_the_end(&state).await;
    // At a shutdown nobody looks any more.
    let why = "the store closed, so that its changes are no longer followed";
    state.0.following.lost(why);
}

async fn follow_to_the_end(state: &State) {
    let mut position = state.position();
    loop {
        let mut watch = match state.0.store.watch(position) {
            Ok(watch) => watch,
            Err(WatchError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "change log lost; loading everything again");
                match state.reload().await {
                    Ok(at) => position = at,
                    Err(error) => {
                        tracing::error!(%error, "state cannot be loaded again");
                        let now = state.0.clock.since_boot();
                        state.0.following.failed(now, error.to_string());
                    }
                }
                tokio::time::sleep(limits::VIEW_PROBE).await;
                continue;
            }
        };
        position = match follow_watch(state, &mut watch).await {
            Some(at) => at,
            None => return,
        };
    }
}

/// Applies changes until the watch ends: `None` when the store closed, else where
/// to go on from.
async fn follow_watch(state: &State, watch: &mut store::Watch) -> Option<Position> {
    let mut probe = tokio::time::interval(limits::VIEW_PROBE);
    probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            change = watch.next() => match change {
                Ok(change) => state.apply(&change.writes, change.position),
                Err(WatchError::Closed) => return None,
                Err(WatchError::Reload | WatchError::TooMany) => return Some(state.position()),
            },
            // The log had nothing for us before the probe was looked at: this is the head.
            _ = probe.tick() => {
                if state.position() == state.0.store.head() {
                    state.mark_fresh();
                } else {
                    let why = "the change log is behind its own head";
                    state.0.following.failed(state.0.clock.since_boot(), why);
                }
            }
        }
    }
}
