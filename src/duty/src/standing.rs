//! How a duty stands at some time: what people, probes and metrics are shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What it means for the process when a duty is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Late: not ready. Not even tried, or lost: the process must be started again.
    Vital,
    /// Late: not ready.
    Needed,
    /// Late: shown, and still ready.
    Background,
}

impl Weight {
    /// The word for it, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vital => "vital",
            Self::Needed => "needed",
            Self::Background => "background",
        }
    }
}

/// Whether a duty is done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The last success is younger than the deadline, or there is nothing to do.
    Well,
    /// Late, and still being tried: what it needs is away. A new start would not help.
    Failing,
    /// Late, and not even tried since the deadline: whoever does it hangs or is gone.
    Stuck,
    /// Whoever does it has said that it cannot go on in this process.
    Lost,
}

impl Condition {
    /// The word for it, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Failing => "failing",
            Self::Stuck => "stuck",
            Self::Lost => "lost",
        }
    }

    /// Whether this is late.
    #[must_use]
    pub const fn is_late(self) -> bool {
        !matches!(self, Self::Well)
    }
}

/// One duty at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The duty's name, a label in metrics.
    pub name: String,
    /// What its lateness means.
    pub weight: Weight,
    /// Whether it is done in time.
    pub condition: Condition,
    /// Whole seconds since it last succeeded; `None` when it never has.
    pub last_success_seconds: Option<u64>,
    /// By how many seconds after a success the next one is due.
    pub within_seconds: u64,
    /// Why the last try failed; `None` after a success.
    pub error: Option<String>,
}

impl Standing {
    /// Whether the process must be started again because of this.
    #[must_use]
    pub const fn asks_for_restart(&self) -> bool {
        matches!(self.weight, Weight::Vital)
            && matches!(self.condition, Condition::Stuck | Condition::Lost)
    }

    /// Whether the process is not ready because of this.
    #[must_use]
    pub const fn is_in_the_way(&self) -> bool {
        self.condition.is_late() && !matches!(self.weight, Weight::Background)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, error, .. } = self;
        match self.condition {
            Condition::Well => write!(f, "{name} is in time")?,
            Condition::Failing => write!(f, "{name} is late: it is tried and fails")?,
            Condition::Stuck => write!(f, "{name} is late: it is not even tried any more")?,
            Condition::Lost => write!(f, "{name} cannot go on in this process")?,
        }
        match self.last_success_seconds {
            Some(ago) => write!(f, "; last done {ago} s ago")?,
            None => f.write_str("; not done yet")?,
        }
        write!(f, ", due every {} s", self.within_seconds)?;
        match error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}
