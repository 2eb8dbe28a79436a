//! Who has not taken in the newest own bundle, by name: what a rotation waits for, and
//! what an operator is shown.

use api::sync::StreamBehind;
use identity::{SpiffeId, Timestamp};

/// How an agent that is behind is heard from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It has a push stream.
    Following,
    /// It had one a moment ago.
    Reconnecting,
    /// It polls.
    Polling,
}

impl How {
    /// The word shown to people and scripts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Reconnecting => "reconnecting",
            Self::Polling => "polling",
        }
    }
}

/// Streams of workloads that do not take what their agent has for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StreamsBehind {
    /// How many.
    pub(crate) count: u32,
    /// Some of them, as the agent says: at most [`StreamsBehind::NAMED`].
    pub(crate) named: Vec<StreamBehind>,
}

impl StreamsBehind {
    /// The most streams that are kept by name for one agent.
    pub(crate) const NAMED: usize = 16;

    /// What an agent says, cut to what is kept.
    pub(crate) fn told(count: u32, mut named: Vec<StreamBehind>) -> Self {
        named.truncate(Self::NAMED);
        Self { count, named }
    }
}

/// A live agent that has not taken in the newest own bundle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AgentBehind {
    /// Which.
    pub(crate) agent: SpiffeId,
    /// How it is heard from.
    pub(crate) how: How,
    /// Sequence of the newest own bundle that its workloads have; 0 is none.
    pub(crate) bundle: u64,
    /// When it was first seen to lack the newest.
    pub(crate) since: Timestamp,
    /// The streams that it says hold it up.
    pub(crate) streams: StreamsBehind,
}
