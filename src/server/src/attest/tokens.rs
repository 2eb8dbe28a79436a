//! Join tokens: made for an admin, kept as a hash, used once, swept when expired.

use std::sync::Arc;

use contract::NodeKey;
use identity::{Entry, EntryFields, EntryId, Seconds, Selector, Selectors, SpiffeId, Timestamp};
use join_token::JoinToken;
use records::{AuditKind, JoinTokenRecord, key};
use store::{Condition, Key, Write};

use super::{AGENT_SELECTOR, Attestation};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::state::stored;

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
        self.check_new(&sha256, &agent)?;
        let row = JoinTokenRecord {
            sha256,
            expires_at: now.plus(ttl),
            agent_alias: order.alias.clone(),
            created_at: now,
        };
        let (token_key, put) = stored::put_token(td, &row).map_err(Failure::internal)?;
        let mut conditions = vec![Condition::Absent(token_key)];
        let mut writes = vec![put];
        let mut record = parts.audit.record(AuditKind::TokenCreate, caller);
        record.for_whom = agent.as_str();
        record.not_after = row.expires_at.0;
        let mut drafts = vec![parts.audit.draft(&record)?];
        if let Some(alias) = order.alias {
            let entry = self.alias_entry(alias, &agent, now)?;
            drafts.push(
                parts
                    .state
                    .entry_record(AuditKind::EntryCreate, caller, &entry)?,
            );
            let (entry_key, put) = stored::put_entry(td, &entry).map_err(Failure::invalid)?;
            conditions.push(Condition::Absent(entry_key));
            writes.push(put);
        }
        let state = &parts.state;
        state
            .record_and_commit(caller, drafts, conditions, writes)
            .await?;
        let created = CreatedToken {
            token,
            expires_at: row.expires_at,
            agent,
        };
        tracing::info!(agent = %created.agent, by = %caller, "join token created");
        Ok(created)
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

    fn check_new(&self, sha256: &[u8; 32], agent: &SpiffeId) -> Result<(), Failure> {
        let state = &self.0.state;
        if state.token(sha256).is_some() || state.registry().node(agent).is_some() {
            return Err(Failure::new(
                Kind::Exists,
                "this join token exists already; let the server make one",
            ));
        }
        if state.token_count() >= limits::MAX_JOIN_TOKENS {
            return Err(Failure::new(
                Kind::Exhausted,
                "too many unused join tokens; wait until some have expired",
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
        let expired = state.expired_tokens(self.0.clock.now(), limits::MAX_BATCH);
        let mut conditions = Vec::new();
        let mut writes = Vec::new();
        let mut drafts = Vec::new();
        for sha256 in &expired {
            let key: Key = key::token(td, sha256).into();
            conditions.push(Condition::Present(Arc::clone(&key)));
            writes.push(Write::Delete(key));
            for entry in self.unused_aliases(sha256) {
                drafts.push(state.entry_record(AuditKind::EntryDelete, &Caller::Server, &entry)?);
                writes.push(Write::Delete(key::entry(td, &entry.id).into()));
            }
        }
        if writes.is_empty() {
            return Ok(0);
        }
        let caller = &Caller::Server;
        state
            .record_and_commit(caller, drafts, conditions, writes)
            .await?;
        Ok(expired.len())
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
