//! What the server knows: entries, nodes, bundles and join tokens in memory, the
//! store as their truth, and the store's change log as the only way in.
//!
//! Reads never touch the store. Every write is one conditional commit; its effect
//! on memory comes back through the log like everybody else's, so that memory can
//! never be ahead of what is durable. The age of the view is known and bounded:
//! beyond [`limits::MAX_VIEW_AGE`] nothing is authorised from it.

mod apply;
mod behind;
mod bundles;
mod commit;
mod contacts;
mod decide;
mod entries;
mod fleet;
mod follow;
mod glass;
mod marks;
mod policies;
mod polled;
mod revocations;
pub(crate) mod stored;
mod touched;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use channel::LiveBundles;
use duty::Duty;
use identity::{Entry, EntryId, Node, SpiffeId, Timestamp, TrustDomain};
use records::{ActivationRecord, BreakGlassRecord, JoinTokenRecord, TokenLimitsRecord};
use registry::Registry;
use store::{Position, Store};
use tokio::sync::watch;
use verify::Revocations;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::limits;
use crate::metrics::Meters;

pub(crate) use apply::{EntryChange, EntryOperation};
pub(crate) use behind::{AgentBehind, StreamsBehind};
pub(crate) use bundles::{BundleDeletion, BundlePut};
pub(crate) use commit::CommitFailure;
pub(crate) use contacts::Heard;
pub(crate) use decide::{Change, Decision, Rows};
pub(crate) use entries::{EntryEdit, EntryFailure};
pub(crate) use fleet::{AgentState, Contact};
pub(crate) use follow::{Loading, follow};
pub(crate) use revocations::RevocationChange;
pub(crate) use touched::{AgentSubscription, Dirty};

use contacts::Contacts;
use polled::Pollers;
use stored::Poison;
use touched::Subscribers;

/// The state; cheap to clone.
#[derive(Clone)]
pub(crate) struct State(Arc<Inner>);

struct Inner {
    trust_domain: TrustDomain,
    store: Arc<dyn Store>,
    view: RwLock<View>,
    applied: watch::Sender<Position>,
    /// Wakes whoever keeps the active policy set loaded.
    activated: watch::Sender<()>,
    /// Boot-clock milliseconds at which the view was last known to be the newest.
    fresh_ms: AtomicU64,
    /// One entry or bundle change at a time: their checks look at the whole view.
    admin_writes: tokio::sync::Mutex<()>,
    row_locks: decide::RowLocks,
    subscribers: Arc<Subscribers>,
    pollers: Pollers,
    contacts: Contacts,
    live_bundles: Arc<LiveBundles>,
    /// What is revoked, as the view has it.
    revoked: ArcSwap<Revocations>,
    /// The sequence number of its list.
    revocation_sequence: watch::Sender<u64>,
    /// An owner of authorities is gone whose record is still there.
    orphaned: tokio::sync::Notify,
    audit: Audit,
    clock: Clock,
    entropy: Entropy,
    meters: Meters,
    /// Following the change log, as health knows it.
    following: Duty,
}

/// Everything that is in memory, as of one position.
pub(crate) struct View {
    pub(crate) registry: Registry,
    pub(crate) trust: trust::Trust,
    pub(crate) tokens: HashMap<[u8; 32], JoinTokenRecord>,
    /// Activations of policy sets by number: the last one is in force.
    pub(crate) activations: BTreeMap<u64, Arc<ActivationRecord>>,
    pub(crate) limits: HashMap<EntryId, Arc<TokenLimitsRecord>>,
    pub(crate) glass: BTreeMap<String, Arc<BreakGlassRecord>>,
    pub(crate) poison: BTreeMap<Vec<u8>, Poison>,
}

/// Read access to the registry; do not hold it while waiting for anything.
pub(crate) struct RegistryRef<'a>(RwLockReadGuard<'a, View>);

impl std::ops::Deref for RegistryRef<'_> {
    type Target = Registry;
    fn deref(&self) -> &Registry {
        &self.0.registry
    }
}

/// What one agent is to have, as of one position.
#[derive(Debug, Clone)]
pub(crate) struct AgentView {
    /// The position the view is of.
    pub position: Position,
    /// The agent's node; `None` when it is unknown (evicted).
    pub node: Option<Arc<Node>>,
    /// Its entries in creation order; none for a banned or unknown agent.
    pub entries: Vec<Arc<Entry>>,
}

impl State {
    /// The trust domain.
    #[must_use]
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.0.trust_domain
    }

    /// Entries, nodes and bundles.
    #[must_use]
    pub(crate) fn registry(&self) -> RegistryRef<'_> {
        RegistryRef(self.read())
    }

    /// The position that memory has reached.
    #[must_use]
    pub(crate) fn position(&self) -> Position {
        *self.0.applied.borrow()
    }

    /// What `agent` is to have now, in one consistent look.
    ///
    /// # Errors
    /// The view is too old to authorise anything.
    pub(crate) fn agent_view(
        &self,
        agent: &SpiffeId,
        now: Timestamp,
    ) -> Result<AgentView, Failure> {
        self.check_fresh()?;
        let view = self.read();
        Ok(AgentView {
            position: self.position(),
            node: view.registry.node(agent).cloned(),
            entries: view.registry.authorised(agent, now),
        })
    }

    /// How long ago the view was last known to be the newest.
    #[must_use]
    pub(crate) fn view_age(&self) -> Duration {
        let now = millis(self.0.clock.since_boot());
        Duration::from_millis(now.saturating_sub(self.0.fresh_ms.load(Ordering::Acquire)))
    }

    /// Refuses to decide from a view that is too old.
    ///
    /// # Errors
    /// [`crate::failure::Kind::Unavailable`]: the change log does not answer.
    pub(crate) fn check_fresh(&self) -> Result<(), Failure> {
        if self.view_age() > limits::MAX_VIEW_AGE {
            return Err(Failure::unavailable(
                "this server's view of the registry is too old to decide; try again",
            ));
        }
        Ok(())
    }

    /// Follows what touches one agent: subscribe first, then read its view.
    ///
    /// # Errors
    /// Too many agents are followed already.
    pub(crate) fn subscribe_agent(&self, agent: &SpiffeId) -> Result<AgentSubscription, Failure> {
        let now = self.0.clock.now();
        self.0.subscribers.subscribe(agent, now)
    }

    /// How many agents are followed by push.
    #[must_use]
    pub(crate) fn subscriber_count(&self) -> usize {
        self.0.subscribers.count()
    }

    /// Stored records that could not be read, by key, with what is wrong.
    #[must_use]
    pub(crate) fn poison(&self) -> Vec<(String, String)> {
        let view = self.read();
        view.poison
            .values()
            .map(|p| (p.key.clone(), p.why.clone()))
            .collect()
    }

    /// How many unused join tokens each creator has.
    pub(crate) fn token_creators(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for token in self.read().tokens.values() {
            *counts.entry(token.created_by.clone()).or_default() += 1;
        }
        counts
    }

    /// How many join tokens are unused, and how many of these somebody made.
    pub(crate) fn token_counts(&self, creator: &str) -> (usize, usize) {
        let view = self.read();
        let own = view.tokens.values().filter(|t| t.created_by == creator);
        (view.tokens.len(), own.count())
    }

    /// Up to `most` join tokens that have expired.
    pub(crate) fn expired_tokens(&self, now: Timestamp, most: usize) -> Vec<[u8; 32]> {
        let view = self.read();
        let expired = view.tokens.values().filter(|token| token.expires_at <= now);
        expired.take(most).map(|token| token.sha256).collect()
    }

    /// The store itself, for the few who read rows: renewal, authorities.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    fn read(&self) -> RwLockReadGuard<'_, View> {
        self.0.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_fresh(&self) {
        let now = self.0.clock.since_boot();
        self.0.fresh_ms.store(millis(now), Ordering::Release);
        self.0.following.done(now);
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
