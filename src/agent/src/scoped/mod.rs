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
use crate::limits;
use crate::process::Caller;
use crate::workload_api::{Flights, NewTokens, Payer, process_changed};
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
    held: Arc<Tokens>,
    new_tokens: Arc<NewTokens>,
    flights: Flights<Key, Arc<MintResponse>, Refused>,
}

/// What is held, and what is needed to have more.
struct Tokens {
    core: Arc<Core>,
    cache: Mutex<Cache>,
}

/// One wish of one caller.
struct Wish<'a> {
    entry: &'a Arc<Entry>,
    issued: &'a Arc<Issued>,
    selectors: &'a Selectors,
    wanted: &'a Wanted,
}

impl ScopedTokens {
    pub(crate) fn new(core: Arc<Core>, new_tokens: Arc<NewTokens>) -> Self {
        let bytes = core.settings.config.limits.cached_token_bytes;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let cache = Mutex::new(Cache::new(bytes));
        Self {
            held: Arc::new(Tokens { core, cache }),
            new_tokens,
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
        let Some(issued) = self.held.core.hub.issued(&entry.id) else {
            return Ok(None);
        };
        let wish = Wish {
            entry: &entry,
            issued: &issued,
            selectors: who.selectors(),
            wanted,
        };
        let minted = self.minted(caller.peer().uid(), wish).await?;
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
        let hub = &self.held.core.hub;
        let entries = hub.matching_among(who, |entry| wanted.means(entry))?;
        entries.into_iter().next().ok_or_else(no_identity)
    }

    /// What is held, renewed behind the caller's back when it is no longer young; else
    /// what the server decides.
    async fn minted(&self, uid: u32, wish: Wish<'_>) -> Result<Arc<MintResponse>, Refused> {
        let core = &self.held.core;
        let policy_set = core.policies.digest();
        let Wish {
            entry,
            issued,
            selectors,
            wanted,
        } = wish;
        let key = Key::of(entry, issued, selectors, wanted, &policy_set);
        let now = core.clock.boottime();
        let ask = || self.held.ask(&key, &wish);
        let held = self.held.get(&key, entry);
        let left = held.as_ref().map(|(minted, _)| {
            let end = Timestamp(minted.expires_at);
            end.since(core.now())
        });
        match held {
            Some((minted, true)) => return Ok(minted),
            Some((minted, false)) if left > Some(limits::TOKEN_NEARLY_OVER) => {
                self.flights.ask_behind(key.clone(), now, ask);
                return Ok(minted);
            }
            _ => {}
        }
        let pay = || match &held {
            Some(_) => Ok(()),
            None => {
                let paid = self
                    .new_tokens
                    .pay(Payer::User(uid), wanted.wish().len(), now);
                Ok(paid?)
            }
        };
        let minted = self.flights.join(key.clone(), now, pay, ask).await;
        match (minted, held) {
            // The server is away, and the old one is still good.
            (Err(Refused::Status(_)), Some((minted, _))) if minted.expires_at > core.now().0 => {
                Ok(minted)
            }
            (minted, _) => minted,
        }
    }
}

impl Tokens {
    /// Asks the server for what is wished, and keeps it.
    fn ask(
        self: &Arc<Self>,
        key: &Key,
        wish: &Wish<'_>,
    ) -> impl Future<Output = Result<Arc<MintResponse>, Refused>> + Send + use<> {
        let (this, key) = (Arc::clone(self), key.clone());
        let (entry, issued) = (Arc::clone(wish.entry), Arc::clone(wish.issued));
        let (selectors, wanted) = (wish.selectors.clone(), wish.wanted.clone());
        async move {
            let minted = ask::mint(&this.core, &entry, &issued, &selectors, &wanted).await;
            let mut cache = this.cache.lock().unwrap_or_else(PoisonError::into_inner);
            match minted {
                Ok(minted) => {
                    metrics::counter!("bulla_agent_scoped_tokens_total").increment(1);
                    let minted = Arc::new(minted);
                    // A set that is not known here yet decided: it serves those who ask
                    // now, and those who ask when it is known.
                    let known = key.clone().decided_by(&minted.policy_set);
                    if known != key {
                        cache.put(known, Arc::clone(&minted));
                    }
                    cache.put(key, Arc::clone(&minted));
                    Ok(minted)
                }
                // What is no longer granted is not handed out any more.
                Err(refused) if refused.is_denial() => {
                    cache.remove(&key);
                    Err(refused)
                }
                Err(refused) => Err(refused),
            }
        }
    }

    /// A token in hand, and whether it is young.
    fn get(&self, key: &Key, entry: &Entry) -> Option<(Arc<MintResponse>, bool)> {
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
