//! What admins do to nodes, and what agents report of themselves.

use std::sync::Arc;

use identity::{Entry, Selector, SpiffeId};
use records::{AuditKind, key};
use store::{Key, Write};

use super::{AGENT_SELECTOR, Attestation, decisions};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::state::{Change, Decision, stored};

impl Attestation {
    /// Bans a node: from the commit on it gets nothing, and cannot attest again
    /// until it is evicted. Banning twice is no error. While the outcome is not
    /// known, it is tried again.
    ///
    /// # Errors
    /// There is no such node, or it cannot be done now.
    pub(crate) async fn ban(&self, caller: &Caller, id: &SpiffeId) -> Result<(), Failure> {
        let mut tries = 1;
        loop {
            match self.try_ban(caller, id).await {
                Err(failure)
                    if failure.kind() == Kind::OutcomeUnknown && tries < limits::BAN_TRIES =>
                {
                    tracing::warn!(agent = %id, %failure, "ban is tried again");
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_ban(&self, caller: &Caller, id: &SpiffeId) -> Result<(), Failure> {
        let state = &self.0.state;
        let td = state.trust_domain();
        let keys = vec![key::node(td, id).into()];
        let decided = state.decide(caller, keys, |rows| -> Result<_, Failure> {
            let node = rows.node(id)?.ok_or_else(|| no_such_node(id))?;
            let Some(banned) = decisions::ban(node) else {
                return Ok(Decision::Keep(false));
            };
            let (_, put) = stored::put_node(td, &banned).map_err(Failure::internal)?;
            let change = Change {
                drafts: vec![self.node_record(AuditKind::NodeBan, caller, id)?],
                writes: vec![put],
                ..Change::default()
            };
            Ok(Decision::Change(change, true))
        });
        if decided.await?.answer {
            tracing::warn!(agent = %id, by = %caller, "node banned");
        }
        Ok(())
    }

    /// Evicts a node: it is forgotten, with the entries that exist only to give it
    /// another name, and may attest again.
    ///
    /// # Errors
    /// There is no such node, or it cannot be done now.
    pub(crate) async fn evict(&self, caller: &Caller, id: &SpiffeId) -> Result<(), Failure> {
        let state = &self.0.state;
        let td = state.trust_domain();
        let _sets = state.hold_sets().await?;
        let aliases = self.aliases_of(id);
        let node_key: Key = key::node(td, id).into();
        let alias_keys = aliases.iter().flat_map(|entry| state.entry_keys(&entry.id));
        let keys = std::iter::once(Arc::clone(&node_key)).chain(alias_keys);
        let decided = state.decide(caller, keys.collect(), |rows| -> Result<_, Failure> {
            if !rows.has(&node_key)? {
                return Err(no_such_node(id));
            }
            let mut change = Change {
                drafts: vec![self.node_record(AuditKind::NodeEvict, caller, id)?],
                writes: vec![Write::Delete(Arc::clone(&node_key))],
                ..Change::default()
            };
            for entry in &aliases {
                state.delete_entry(caller, rows, entry, &mut change)?;
            }
            Ok(Decision::Change(change, ()))
        });
        decided.await?;
        tracing::warn!(agent = %id, by = %caller, "node evicted");
        Ok(())
    }

    /// The entries that exist only to give one agent another name.
    pub(super) fn aliases_of(&self, id: &SpiffeId) -> Vec<Arc<Entry>> {
        let Ok(selector) = Selector::new(AGENT_SELECTOR, id.as_str()) else {
            return Vec::new();
        };
        let registry = self.0.state.registry();
        let children = registry.children(id);
        let aliases = children.filter(|entry| entry.selectors.as_slice() == [selector.clone()]);
        aliases.take(limits::MAX_BATCH).cloned().collect()
    }

    /// Keeps what an agent says of its version. Informational, so there is no
    /// decision record; nothing is written when it says the same again.
    ///
    /// # Errors
    /// There is no such node, or it cannot be done now.
    pub(crate) async fn post_status(&self, agent: &SpiffeId, version: &str) -> Result<(), Failure> {
        let version = clean(version);
        let state = &self.0.state;
        let td = state.trust_domain();
        let keys = vec![key::node(td, agent).into()];
        let caller = Caller::Spiffe(agent.clone());
        let decided = state.decide(&caller, keys, |rows| -> Result<_, Failure> {
            let mut node = rows.node(agent)?.ok_or_else(|| no_such_node(agent))?;
            if node.agent_version == version {
                return Ok(Decision::Keep(()));
            }
            node.agent_version.clone_from(&version);
            let (_, put) = stored::put_node(td, &node).map_err(Failure::internal)?;
            let change = Change {
                writes: vec![put],
                ..Change::default()
            };
            Ok(Decision::Change(change, ()))
        });
        decided.await?;
        Ok(())
    }

    fn node_record(
        &self,
        kind: AuditKind,
        caller: &Caller,
        id: &SpiffeId,
    ) -> Result<journal::Draft, Failure> {
        let mut record = self.0.audit.record(kind, caller);
        record.for_whom = id.as_str();
        self.0.audit.draft(&record)
    }
}

fn no_such_node(id: &SpiffeId) -> Failure {
    Failure::not_found(format!("there is no node {id}"))
}

/// At most 64 printable ASCII characters: it is shown to admins.
fn clean(version: &str) -> String {
    let printable = version
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ');
    printable.take(limits::MAX_AGENT_VERSION_BYTES).collect()
}
