//! Every bundle the agent holds, followed by those who verify on behalf of many.

use std::sync::Arc;

use channel::uds::UnixPeer;
use identity::Bundle;
use tokio::sync::watch;

use super::{Hub, delivery};

/// One follower's eye on all bundles.
pub(crate) struct AllBundles {
    hub: Arc<Hub>,
    changes: watch::Receiver<u64>,
    seen: u64,
    reader: Arc<UnixPeer>,
    delivered: Option<delivery::Delivered>,
}

impl Hub {
    /// Follows all bundles.
    pub(crate) fn all_bundles(self: &Arc<Self>, reader: &Arc<UnixPeer>) -> AllBundles {
        AllBundles {
            hub: Arc::clone(self),
            changes: self.bundle_changes.subscribe(),
            seen: 0,
            reader: Arc::clone(reader),
            delivered: None,
        }
    }
}

impl AllBundles {
    /// The own bundle and all federated ones; none before the server was heard, and
    /// none on a node that is banned.
    pub(crate) fn look(&mut self) -> Vec<Arc<Bundle>> {
        self.changes.mark_unchanged();
        let state = self.hub.lock();
        let own = state.cache.own_bundle().filter(|_| !state.is_dismissed);
        let Some(own) = own else {
            return Vec::new();
        };
        self.seen = own.sequence;
        let federated = state.cache.federated_bundles().map(|(_, bundle)| bundle);
        std::iter::once(own).chain(federated).cloned().collect()
    }

    /// Waits until a bundle may have changed.
    pub(crate) async fn changed(&mut self) {
        // The sender lives in the hub for as long as this does.
        let _gone = self.changes.changed().await;
    }

    /// The follower has what was looked at last: it counts for the rotation of keys.
    pub(crate) fn holds_latest(&mut self) {
        match &mut self.delivered {
            Some(delivered) => delivered.advance(self.seen),
            none => {
                let reader = Some(Arc::clone(&self.reader));
                *none = Some(self.hub.deliveries.begin(self.seen, reader));
            }
        }
    }
}
