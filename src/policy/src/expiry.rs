//! When a token ends: at the least of what everybody allows.

use identity::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

/// What each party allows at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Asked for, or the service's default ([`crate::Wanted::ttl`]).
    pub asked: Seconds,
    /// The determining policies' `@max_ttl`.
    pub policy: Option<Seconds>,
    /// The service's cap.
    pub audience: Seconds,
    /// The registration entry's cap.
    pub entry: Option<Seconds>,
    /// The end of the SVID the token is bound to, or that proves who asks.
    pub svid: Option<Timestamp>,
    /// The end of the policies' own time window ([`crate::Decision::window_end`]).
    pub window: Option<Timestamp>,
}

/// What made a token end when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// What was asked for, or the default.
    Asked,
    /// A policy's `@max_ttl`.
    Policy,
    /// The service's cap.
    Audience,
    /// The registration entry's cap.
    Entry,
    /// The SVID.
    Svid,
    /// The end of the policies' time window.
    Window,
}

impl Caps {
    /// The end, and what made it so. It may lie at or before `now`: then there is
    /// nothing to mint.
    #[must_use]
    pub fn expiry(&self, now: Timestamp) -> (Timestamp, Limit) {
        let spans = [
            (Some(self.asked), Limit::Asked),
            (self.policy, Limit::Policy),
            (Some(self.audience), Limit::Audience),
            (self.entry, Limit::Entry),
        ];
        let ends = [(self.svid, Limit::Svid), (self.window, Limit::Window)];
        let spans = spans
            .into_iter()
            .filter_map(|(s, l)| s.map(|s| (now.plus(s), l)));
        let ends = ends.into_iter().filter_map(|(e, l)| e.map(|e| (e, l)));
        // The first of equals: what was asked for is the more natural reason.
        let least = spans.chain(ends).min_by_key(|(end, _)| *end);
        least.unwrap_or((now, Limit::Asked))
    }
}
