//! On which agent an explanation was made, and how current what it knows is.

use serde_json::json;

use super::Explanation;
use crate::core::Core;
use crate::health::Part;

impl Explanation {
    /// Adds the agent, its view of the entries, and its server.
    pub(super) fn surroundings(&mut self, core: &Core) {
        let own = core.own();
        self.add(
            "agent",
            json!({
                "spiffe_id": own.as_ref().map(|own| own.svid.spiffe_id.to_string()),
                "svid_expires_at": own.as_ref().map(|own| own.svid.not_after.0),
                "trust_domain": core.settings.trust_domain.to_string(),
            }),
        );
        let since = core.hub.current_since();
        self.add(
            "view",
            json!({
                "entries": core.hub.counts().entries,
                "since": since.map(|at| at.0),
                "source": if since.is_some() { "server" } else { "an earlier run of the agent" },
            }),
        );
        let problems = core.health.problems();
        let away = problems.iter().find(|(part, _)| *part == Part::Sync);
        let is_reachable = away.is_none() && since.is_some();
        self.add(
            "server",
            json!({
                "address": core.settings.server_address,
                "reachable": is_reachable,
                "problem": away.map(|(_, problem)| problem.reason.clone()),
                "problem_since": away.map(|(_, problem)| problem.since.0),
            }),
        );
    }
}
