//! Whether the server wants this node, and whether there is anything left to serve.

use workload::Update;

use super::{Hub, ViewPosition};

impl Hub {
    /// Whether the node was banned or evicted and has not been admitted again.
    pub(crate) fn is_dismissed(&self) -> bool {
        self.lock().is_dismissed
    }

    /// Whether any workload's X.509-SVID is still valid.
    pub(crate) fn holds_valid_svids(&self) -> bool {
        let now = self.clock.now();
        let state = self.lock();
        state
            .cache
            .issued()
            .any(|(_, issued)| issued.svid.not_after > now)
    }

    /// The node is banned or evicted: every caller loses all identities, and is given none
    /// until the node is admitted again.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        state.is_dismissed = true;
        state.is_ready = false;
        state.current_since = None;
        let _nobody_waits = state
            .cache
            .apply(Update::Snapshot(Vec::new()), self.clock.now());
        state.position = ViewPosition::default();
        state.show_all(self.clock.boottime());
        self.note_bundles();
    }

    /// The node attested again: callers wait for what the server has for them.
    pub(crate) fn admit_again(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_dismissed) {
            state.show_all(self.clock.boottime());
            self.note_bundles();
        }
    }
}
