//! Whether the agent can serve any workload now, and if not, why: what `/ready`, gRPC
//! health and the metrics say. An agent that serves old SVIDs while its server is away is
//! ready; one that could give nobody anything is not.

use crate::core::Core;
use crate::enrol::has_expired;

impl Core {
    /// Why no workload can be served; empty when they can be.
    pub(crate) fn why_not_ready(&self) -> Vec<String> {
        if self.hub.is_dismissed() {
            return vec!["this node was banned or evicted, and gives out no identity".to_owned()];
        }
        if !self.hub.is_ready() {
            let why =
                "the agent has not heard from its server yet, and holds nothing of an earlier run";
            return vec![why.to_owned()];
        }
        let mut reasons = Vec::new();
        let bundle = self.hub.own_bundle();
        if bundle.is_none_or(|bundle| has_expired(&bundle, self.now())) {
            reasons.push("every X.509 authority of the trust bundle has expired".to_owned());
        }
        if !self.has_valid_identity() && !self.hub.holds_valid_svids() {
            reasons.push(
                "the agent's own SVID is not valid, and neither is that of any workload".to_owned(),
            );
        }
        reasons
    }
}
