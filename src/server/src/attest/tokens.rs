//! Join tokens: made for an admin, kept as a hash, used once, swept when expired.

use std::sync::Arc;

use contract::NodeKey;
use identity::{Entry, EntryFields, EntryId, Seconds, Selector, Selectors, SpiffeId, Timestamp};
use join_token::JoinToken;
use records::{AuditKind, JoinTokenRecord, key};
use store::{Key, Write};

use super::{AGENT_SELECTOR, Attestation};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::state::{Change, Decision, stored};

/// What token an admin wants.
#[derive(Debug, Default)]
pub(crate) struct TokenOrder {
    /// Lifetime; `None` takes the configured default.
    pub ttl: Option<Seconds>,
    /// The token itself, when the admin brings one; else a random one is made.
    pub token: Option<JoinToken>,
    /// Another SPIFFE ID for the agent: an entry that gives it is created beside
    /// the token.
    pub alias: Option<SpiffeId>,
}

/// A join token that was made. The secret is in it once and nowhere else.
#[derive(Debug)]
pub(crate) struct CreatedToken {
    /// The secret.
    pub token: JoinToken,
    /// From when on it is worthless.
    pub expires_at: Timestamp,
    /// The ID of the agent that will use it.
    pub agent: SpiffeId,
}

impl Attestation {
    /// Makes a join token.
    ///
    /// # Errors
    /// The lifetime is too long, the token is taken, there are too many, the alias
    /// is not allowed, or it cannot be done now.
    pub(crate) async fn create_token(
        &self,
        caller: &Caller,
        order: TokenOrder,
    ) -> Result<CreatedToken, Failure> {
        let parts = &self.0;
        let now = parts.clock.now();
        let ttl = self.token_ttl(order.ttl)?;
        let token = match order.token {
            Some(token) => token,
            None => JoinToken::generate(parts.entropy.source()).map_err(Failure::unavailable)?,
        };
        let sha256 = token.one_time().key;
        let node_key = token.node_key().map_err(Failure::internal)?;
        let td = parts.state.trust_domain();
        let agent = node_key
            .agent_id(td, join_token::KIND)
            .map_err(Failure::internal)?;
        let alias = match &order.alias {
            Some(alias) => Some(self.alias_entry(alias.clone(), &agent, now)?),
            None => None,
        };
        let row = JoinTokenRecord {
            sha256,
            expires_at: now.plus(ttl),
            agent_alias: order.alias,
            created_at: now,
            created_by: caller.principal(),
        };
        self.put_token(caller, &row, &agent, alias).await?;
        let created = CreatedToken {
            token,
            expires_at: row.expires_at,
            agent,
        };
        tracing::info!(agent = %created.agent, by = %caller, "join token created");
        Ok(created)
    }

    /// Puts a new token's row, and the entry beside it.
    async fn put_token(
        &self,
        caller: &Caller,
        row: &JoinTokenRecord,
        agent: &SpiffeId,
        alias: Option<Entry>,
    ) -> Result<(), Failure> {
        let parts = &self.0;
        let state = &parts.state;
        let td = state.trust_domain();
        let _sets = state.hold_sets().await?;
        self.check_room(&row.created_by, alias.is_some())?;
        let (token_key, put) = stored::put_token(td, row).map_err(Failure::internal)?;
        let mut keys: Vec<Key> = vec![Arc::clone(&token_key), key::node(td, agent).into()];
        keys.extend(alias.iter().map(|entry| key::entry(td, &entry.id).into()));
        let decided = state.decide(caller, keys, |rows| {
            if rows.has(&token_key)? || rows.node(agent)?.is_some() {
                let taken = "this join token exists already; let the server make one";
                return Err(Failure::new(Kind::Exists, taken));
            }
            let mut record = parts.audit.record(AuditKind::TokenCreate, caller);
            record.for_whom = agent.as_str();
            record.not_after = row.expires_at.0;
            let mut change = Change {
                drafts: vec![parts.audit.draft(&record)?],
                writes: vec![put.clone()],
                ..Change::default()
            };
            if let Some(entry) = &alias {
                state.create_entry(caller, rows, entry, &mut change)?;
            }
            Ok(Decision::Change(change, ()))
        });
        decided.await?;
        Ok(())
    }

    fn token_ttl(&self, asked: Option<Seconds>) -> Result<Seconds, Failure> {
        let most = self.0.terms.max_token_ttl;
        match asked.filter(|ttl| ttl.0 != 0) {
            None => Ok(self.0.terms.token_ttl),
            Some(ttl) if ttl > most => Err(Failure::invalid(format!(
                "a join token may live {} seconds at most, {} were asked for; ask for less, or raise attestation.max_join_token_ttl",
                most.0, ttl.0
            ))),
            Some(ttl) => Ok(ttl),
        }
    }

    fn check_room(&self, creator: &str, with_alias: bool) -> Result<(), Failure> {
        let state = &self.0.state;
        let (all, own) = state.token_counts(creator);
        if all >= limits::MAX_JOIN_TOKENS || own >= limits::MAX_JOIN_TOKENS_EACH {
            return Err(Failure::new(
                Kind::Exhausted,
                format!(
                    "there are {all} unused join tokens, {own} of them made by {creator}; wait until some have expired"
                ),
            ));
        }
        if with_alias && state.registry().counts().entries >= limits::MAX_ENTRIES {
            return Err(Failure::new(
                Kind::Exhausted,
                "there are as many entries as this server can hold; make the token without an alias",
            ));
        }
        Ok(())
    }

    /// The entry by which the agent has another name, as SPIRE's tools make it:
    /// under the agent, with a selector that no workload has.
    fn alias_entry(
        &self,
        alias: SpiffeId,
        agent: &SpiffeId,
        now: Timestamp,
    ) -> Result<Entry, Failure> {
        let selector = Selector::new(AGENT_SELECTOR, agent.as_str()).map_err(Failure::internal)?;
        let fields = EntryFields {
            id: EntryId::in_order(self.0.clock.now_ms(), 0, self.0.entropy.bytes()?),
            spiffe_id: alias,
            parent_id: agent.clone(),
            selectors: Selectors::new(vec![selector]).map_err(Failure::internal)?,
            x509_ttl: None,
            jwt_ttl: None,
            federates_with: Vec::new(),
            admin: false,
            downstream: false,
            expires_at: None,
            dns_names: Vec::new(),
            revision: 0,
            store_svid: false,
            hint: String::new(),
            created_at: now,
            disable_x509_prefetch: false,
            jwt_include_jti: false,
        };
        Entry::new(fields, self.0.state.trust_domain()).map_err(Failure::invalid)
    }

    /// Removes tokens that have expired unused, with the entries made beside them.
    /// Returns how many. Their end was recorded with their beginning, so only the
    /// entries get a record of their own.
    ///
    /// # Errors
    /// It cannot be done now; the next sweep tries again.
    pub(crate) async fn sweep_tokens(&self) -> Result<usize, Failure> {
        let state = &self.0.state;
        let td = state.trust_domain();
        let now = self.0.clock.now();
        if state.expired_tokens(now, 1).is_empty() {
            return Ok(0);
        }
        let _sets = state.hold_sets().await?;
        let expired: Vec<_> = state
            .expired_tokens(now, limits::MAX_BATCH)
            .into_iter()
            .map(|sha256| (sha256, self.unused_aliases(&sha256)))
            .collect();
        let mut keys: Vec<Key> = Vec::new();
        for (sha256, aliases) in &expired {
            keys.push(key::token(td, sha256).into());
            keys.extend(aliases.iter().flat_map(|entry| state.entry_keys(&entry.id)));
        }
        let caller = &Caller::Server;
        let decided = state.decide(caller, keys, |rows| -> Result<_, Failure> {
            let (mut change, mut count) = (Change::default(), 0);
            for (sha256, aliases) in &expired {
                if rows.token(sha256)?.is_none_or(|row| row.expires_at > now) {
                    continue;
                }
                count += 1;
                change
                    .writes
                    .push(Write::Delete(key::token(td, sha256).into()));
                for entry in aliases {
                    state.delete_entry(caller, rows, entry, &mut change)?;
                }
            }
            Ok(match count {
                0 => Decision::Keep(0),
                _ => Decision::Change(change, count),
            })
        });
        Ok(decided.await?.answer)
    }

    /// The alias entries of an agent that never came.
    fn unused_aliases(&self, sha256: &[u8; 32]) -> Vec<Arc<Entry>> {
        let (half, _) = sha256.split_at(16);
        let agent = NodeKey::new(&[&hex::encode(half)]).ok().and_then(|key| {
            key.agent_id(self.0.state.trust_domain(), join_token::KIND)
                .ok()
        });
        agent.map(|id| self.aliases_of(&id)).unwrap_or_default()
    }
}
