//! When a token ends: at the least of what everybody allows.

use identity::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

/// What each party allows at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Asked for, or the service's default ([`crate::Wanted::ttl`]).
    pub asked: Seconds,
    /// Whether the caller named a lifetime.
    pub named: bool,
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
    /// The end of the break-glass without which something would not be granted.
    pub break_glass: Option<Timestamp>,
}

/// What made a token end when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// What was asked for.
    Asked,
    /// The service's default: nothing was asked for.
    Default,
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
    /// The end of break-glass.
    #[serde(rename = "break_glass")]
    BreakGlass,
}

impl Caps {
    /// The end, and what made it so. It may lie at or before `now`: then there is
    /// nothing to mint.
    #[must_use]
    pub fn expiry(&self, now: Timestamp) -> (Timestamp, Limit) {
        let asked = now.plus(self.asked);
        let spans = [
            (self.named.then_some(asked), Limit::Asked),
            (self.policy.map(|span| now.plus(span)), Limit::Policy),
            (Some(now.plus(self.audience)), Limit::Audience),
            (self.entry.map(|span| now.plus(span)), Limit::Entry),
            (self.svid, Limit::Svid),
            (self.window, Limit::Window),
            (self.break_glass, Limit::BreakGlass),
            ((!self.named).then_some(asked), Limit::Default),
        ];
        // The first of equals: what was asked for is the more natural reason, and the
        // default is none where something else says the same.
        let ends = spans
            .into_iter()
            .filter_map(|(end, limit)| Some((end?, limit)));
        let least = ends.min_by_key(|(end, _)| *end);
        least.unwrap_or((now, Limit::Default))
    }
}
