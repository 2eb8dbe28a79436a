//! What a server does to its agents when tests ask for it.

use std::sync::atomic::Ordering;

use api::convert::bundle_to_wire;
use api::sync::{self, follow_response};
use api::types;
use tonic::Status;

use super::super::authority::Authority;
use super::FakeServer;

impl FakeServer {
    /// Ends all streams as a server does when an administrator evicted the node: an order,
    /// then the status that says why.
    pub(in crate::tests) fn evict(&self) {
        self.order(sync::directive::Kind::Reattest);
        let status = not_attested();
        let streams = std::mem::take(&mut *self.state.streams.lock().unwrap());
        for stream in streams {
            let _ = stream.send(Err(status.clone()));
        }
    }

    /// The own bundle, with keys of access tokens beside it.
    pub(in crate::tests) fn publish_access_key(&self, sequence: u64) {
        let bundle = self.state.authority.bundle(sequence);
        self.tell(follow_response::Message::Bundles(sync::Bundles {
            own: Some(bundle_to_wire(&bundle, None)),
            federated: Vec::new(),
            access_keys: api::convert::keys_to_wire(&bundle.jwt_authorities),
        }));
    }

    /// Another authority in place of all: the server's own is a removed root from now on.
    pub(in crate::tests) fn replace_roots(&self, sequence: u64, by: &Authority) {
        let bundle = by.bundle(sequence);
        self.tell(follow_response::Message::Bundles(sync::Bundles {
            own: Some(bundle_to_wire(&bundle, None)),
            federated: Vec::new(),
            access_keys: Vec::new(),
        }));
    }

    /// Whether nobody has joined yet, since the last call of [`FakeServer::renew_token`].
    pub(in crate::tests) fn token_is_unused(&self) -> bool {
        self.state.token_is_unused.load(Ordering::SeqCst)
    }

    /// Makes the join token good for one more node.
    pub(in crate::tests) fn renew_token(&self) {
        self.state.token_is_unused.store(true, Ordering::SeqCst);
    }
}

/// What a server says to an agent that it does not know.
pub(super) fn not_attested() -> Status {
    let reason = types::permission_denied_details::Reason::AgentNotAttested;
    api::status::denied(reason, "the agent is not attested")
}
