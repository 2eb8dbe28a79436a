//! Scoped tokens for workloads: asked of the server in their name, kept under the
//! certificate that they are bound to, and handed out with it as a pair.
//!
//! The server decides. The agent vouches for who asks and for the certificate, and
//! never widens what was granted: a cached token serves the very same wish of the
//! very same entry, under the same certificate and the same policy set, alone.

mod ask;
mod cache;
mod held;
mod refused;
mod wanted;

use std::sync::{Arc, Mutex, PoisonError};

use api::token::MintResponse;
use identity::{Entry, Selectors, Timestamp};
use tonic::Status;
use workload::Issued;

pub(crate) use held::{PolicyHeld, PolicySlot};
pub(crate) use refused::Refused;
pub(crate) use wanted::Wanted;

use crate::core::Core;
use crate::hub::no_identity;
use crate::process::Caller;
use crate::workload_api::{Flights, process_changed};
use cache::{Cache, Key};

/// A token with the certificate of the same identity.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) entry: Arc<Entry>,
    pub(crate) issued: Arc<Issued>,
    pub(crate) minted: Arc<MintResponse>,
}

/// Asks for scoped tokens and keeps them.
pub(crate) struct ScopedTokens {
    core: Arc<Core>,
    cache: Mutex<Cache>,
    flights: Flights<Key>,
}

impl ScopedTokens {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            cache: Mutex::default(),
            flights: Flights::default(),
        }
    }

    /// The pair for a caller; `None` while its X.509-SVID is on its way.
    pub(crate) async fn pair(
        &self,
        caller: &Arc<Caller>,
        who: &workload::Caller,
        wanted: &Wanted,
    ) -> Result<Option<Pair>, Refused> {
        let entry = self.entry(who, wanted)?;
        let Some(issued) = self.core.hub.issued(&entry.id) else {
            return Ok(None);
        };
        let minted = self
            .minted(&entry, &issued, who.selectors(), wanted)
            .await?;
        // That may have taken a while: the caller may be another program by now, and
        // the entry another's.
        caller.recheck().map_err(|error| process_changed(&error))?;
        let now = self.entry(who, wanted)?;
        if now.id != entry.id || now.spiffe_id != entry.spiffe_id {
            let changed = "the caller's identities have just changed; call again";
            return Err(Status::unavailable(changed).into());
        }
        Ok(Some(Pair {
            entry,
            issued,
            minted,
        }))
    }

    fn entry(&self, who: &workload::Caller, wanted: &Wanted) -> Result<Arc<Entry>, Status> {
        let hub = &self.core.hub;
        let entries = hub.matching_among(who, |entry| wanted.means(entry))?;
        entries.into_iter().next().ok_or_else(no_identity)
    }

    async fn minted(
        &self,
        entry: &Arc<Entry>,
        issued: &Arc<Issued>,
        selectors: &Selectors,
        wanted: &Wanted,
    ) -> Result<Arc<MintResponse>, Refused> {
        let policy_set = self.core.policies.digest();
        let key = Key::of(entry, issued, wanted, &policy_set);
        let _turn = self.flights.turn(key.clone()).await?;
        let aging = match self.cached(&key, entry) {
            Some((minted, true)) => return Ok(minted),
            Some((minted, false)) => Some(minted),
            None => None,
        };
        match (
            ask::mint(&self.core, entry, issued, selectors, wanted).await,
            aging,
        ) {
            (Ok(minted), _) => {
                metrics::counter!("bulla_agent_scoped_tokens_total").increment(1);
                let minted = Arc::new(minted);
                let now = self.core.now();
                let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
                // A set that is not known here yet decided: it serves those who ask now,
                // and those who ask when it is known.
                let known = key.clone().decided_by(&minted.policy_set);
                if known != key {
                    cache.put(known, Arc::clone(&minted), now);
                }
                cache.put(key, Arc::clone(&minted), now);
                Ok(minted)
            }
            // The server is away, and the old one is still good.
            (Err(Refused::Status(_)), Some(minted)) => Ok(minted),
            (Err(refused), _) => Err(refused),
        }
    }

    /// A token in hand, and whether it is young.
    fn cached(&self, key: &Key, entry: &Entry) -> Option<(Arc<MintResponse>, bool)> {
        let now = self.core.now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let minted = cache.get(key, now)?;
        let issued_at = Timestamp(minted.issued_at);
        let hub = &self.core.hub;
        let is_revoked = hub.is_revoked(&entry.spiffe_id, &minted.jti, issued_at);
        if is_revoked || !self.core.stands_by(&minted.token) {
            cache.remove(key);
            return None;
        }
        let young = now.0 < minted.renew_at;
        Some((minted, young))
    }
}
