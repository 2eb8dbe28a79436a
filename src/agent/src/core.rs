//! What the agent's tasks share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use identity::Timestamp;
use tokio::sync::Notify;
use verify::{ProofId, ProofsSeen, Replayed};

use crate::clock::Clock;
use crate::config::Settings;
use crate::disk::{Folder, OwnIdentity};
use crate::duties::AgentDuties;
use crate::enrol::Enroller;
use crate::entropy::Entropy;
use crate::health::{Health, Part};
use crate::hub::Hub;
use crate::limits;
use crate::scoped::PolicySlot;
use crate::server_link::ServerLink;
use crate::workload_api::key_id;

/// One agent.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) link: ServerLink,
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) health: Health,
    /// What must happen by itself.
    pub(crate) duties: AgentDuties,
    /// The active policy set, as far as it is known.
    pub(crate) policies: PolicySlot,
    /// DPoP proofs that services had checked here lately, by the services' uid: one
    /// user's do not use up another's room.
    proofs: Mutex<HashMap<u32, ProofsSeen>>,
    /// The agent's own SVID is to be renewed now.
    pub(crate) rekey: Notify,
    /// The agent has a new SVID: the stream to the server is to be opened anew.
    pub(crate) renewed: Notify,
    own: Mutex<Option<Arc<OwnIdentity>>>,
}

impl Core {
    pub(crate) fn new(settings: Settings, folder: Folder, clock: Clock, entropy: Entropy) -> Self {
        let link = ServerLink::new(
            &settings.server_address,
            &settings.trust_domain,
            clock.clone(),
        );
        Self {
            duties: AgentDuties::new(clock.boottime()),
            hub: Hub::new(&settings, clock.clone(), entropy.clone()),
            settings,
            folder,
            link,
            clock,
            entropy,
            health: Health::default(),
            policies: PolicySlot::default(),
            proofs: Mutex::default(),
            rekey: Notify::new(),
            renewed: Notify::new(),
            own: Mutex::default(),
        }
    }

    /// The agent's own identity, when it has one.
    pub(crate) fn own(&self) -> Option<Arc<OwnIdentity>> {
        self.own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the agent's own SVID counts at this moment.
    pub(crate) fn has_valid_identity(&self) -> bool {
        let now = self.clock.now();
        self.own().is_some_and(|own| own.svid.not_after > now)
    }

    /// Whether an authority that may still be relied on signed the agent's own SVID.
    /// One without an SVID has nothing to replace.
    pub(crate) fn own_stands(&self) -> bool {
        self.own()
            .is_none_or(|own| self.hub.stands(&own.svid.chain))
    }

    /// Takes a DPoP proof that a service of this user had checked, for the first and
    /// last time.
    pub(crate) fn take_proof(&self, uid: u32, proof: ProofId) -> Result<(), Replayed> {
        let now = self.now();
        let mut users = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        if !users.contains_key(&uid) && users.len() >= limits::PROOF_USERS_SWEPT {
            users.retain(|_, seen| !seen.is_idle(now));
        }
        let seen = users.entry(uid);
        let seen = seen.or_insert_with(|| ProofsSeen::bounded(limits::PROOFS_PER_USER));
        seen.accept(proof, now)
    }

    /// Whether the key that signed a token may still be relied on.
    pub(crate) fn stands_by(&self, token: &str) -> bool {
        let (Some(own), Some(id)) = (self.hub.own_bundle(), key_id(token)) else {
            return false;
        };
        let mut keys = own.jwt_authorities.iter().chain(&own.access_keys);
        keys.any(|key| *key.key_id == *id && !key.tainted)
    }

    /// Takes an identity in place of the one before and shows it to the server
    /// from the next connection on.
    pub(crate) async fn become_known_as(
        &self,
        own: OwnIdentity,
    ) -> Result<(), channel::IdentityError> {
        self.link.identity().set(&own.svid.chain, &own.key)?;
        let id = own.svid.spiffe_id.clone();
        let not_after = own.svid.not_after;
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(own));
        self.link.reset();
        self.renewed.notify_waiters();
        tracing::info!(spiffe_id = %id, expires_at = not_after.0, "the agent has an SVID");
        Ok(())
    }

    /// Forgets who the agent is: it was banned.
    pub(crate) fn forget_identity(&self) {
        self.link.identity().clear();
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn enroller(&self) -> Enroller<'_> {
        Enroller {
            settings: &self.settings,
            folder: &self.folder,
            link: &self.link,
            clock: &self.clock,
            entropy: &self.entropy,
            held: self.hub.own_bundle(),
        }
    }

    /// Notes a problem, and logs it when it is news.
    pub(crate) fn problem(&self, part: Part, reason: impl Into<String>) {
        let reason = reason.into();
        if self.health.problem(part, self.clock.now(), reason.clone()) {
            tracing::warn!(part = part.name(), reason, "problem");
        } else {
            tracing::debug!(part = part.name(), reason, "problem persists");
        }
    }

    /// Notes that a part works, and logs it when it did not before.
    pub(crate) fn works(&self, part: Part) {
        if self.health.works(part) {
            tracing::info!(part = part.name(), "problem ended");
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
