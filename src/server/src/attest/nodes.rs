//! What admins do to nodes, and what agents report of themselves.

use std::sync::Arc;

use identity::{Entry, Node, Selector, SpiffeId};
use records::{AuditKind, key};
use store::{Condition, Key, Write};

use super::{AGENT_SELECTOR, Attestation};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;
use crate::state::stored;

impl Attestation {
    /// Bans a node: from the commit on it gets nothing, and cannot attest again
    /// until it is evicted. Banning twice is no error.
    ///
    /// # Errors
    /// There is no such node, or it cannot be done now.
    pub(crate) async fn ban(&self, caller: &Caller, id: &SpiffeId) -> Result<(), Failure> {
        let (mut node, unchanged) = self.must_exist(id).await?;
        if node.banned {
            return Ok(());
        }
        node.banned = true;
        node.next = None;
        let draft = self.node_record(AuditKind::NodeBan, caller, id)?;
        let (_, put) =
            stored::put_node(self.0.state.trust_domain(), &node).map_err(Failure::internal)?;
        let state = &self.0.state;
        state
            .record_and_commit(caller, vec![draft], vec![unchanged], vec![put])
            .await?;
        tracing::warn!(agent = %id, by = %caller, "node banned");
        Ok(())
    }

    /// Evicts a node: it is forgotten, with the entries that exist only to give it
    /// another name, and may attest again.
    ///
    /// # Errors
    /// There is no such node, or it cannot be done now.
    pub(crate) async fn evict(&self, caller: &Caller, id: &SpiffeId) -> Result<(), Failure> {
        let (_, unchanged) = self.must_exist(id).await?;
        let td = self.0.state.trust_domain();
        let node_key: Key = key::node(td, id).into();
        let mut conditions = vec![unchanged];
        let mut writes = vec![Write::Delete(node_key)];
        let mut drafts = vec![self.node_record(AuditKind::NodeEvict, caller, id)?];
        for entry in self.aliases_of(id) {
            drafts.push(
                self.0
                    .state
                    .entry_record(AuditKind::EntryDelete, caller, &entry)?,
            );
            let key: Key = key::entry(td, &entry.id).into();
            conditions.push(Condition::Present(Arc::clone(&key)));
            writes.push(Write::Delete(key));
        }
        let state = &self.0.state;
        state
            .record_and_commit(caller, drafts, conditions, writes)
            .await?;
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
        let known = self
            .0
            .state
            .registry()
            .node(agent)
            .map(|node| node.agent_version == version);
        if known == Some(true) {
            return Ok(());
        }
        let (mut node, unchanged) = self.must_exist(agent).await?;
        node.agent_version = version;
        let (_, put) =
            stored::put_node(self.0.state.trust_domain(), &node).map_err(Failure::internal)?;
        self.0.state.commit(vec![unchanged], vec![put]).await?;
        Ok(())
    }

    async fn must_exist(&self, id: &SpiffeId) -> Result<(Node, Condition), Failure> {
        let stored = self.stored_node(id).await?;
        stored.ok_or_else(|| Failure::not_found(format!("there is no node {id}")))
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

/// At most 64 printable ASCII characters: it is shown to admins.
fn clean(version: &str) -> String {
    let printable = version
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ');
    printable.take(limits::MAX_AGENT_VERSION_BYTES).collect()
}
