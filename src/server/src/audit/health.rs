//! Whether records can be made, since when not, and what of it is said in the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use journal::Condition;

use super::{Audit, DiskStatus};
use crate::limits;

/// Whether records can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalHealth {
    /// What the journal says of itself.
    pub(crate) condition: Condition,
    /// For how long it cannot write; `None` while it can.
    pub(crate) failing_for: Option<Duration>,
}

impl JournalHealth {
    /// Whether only another process can help: the journal is over, or did not heal in
    /// time. A full disk is not among it, which a restart does not empty.
    pub(crate) fn is_beyond_repair(&self) -> bool {
        match self.condition {
            Condition::Failed(_) => true,
            Condition::Healing(_) => self
                .failing_for
                .is_some_and(|span| span >= limits::JOURNAL_HEALS_WITHIN),
            Condition::Writable | Condition::Full => false,
        }
    }

    /// What is wrong, in words; empty when nothing is.
    pub(crate) fn problem(&self) -> String {
        let span = self.failing_for.unwrap_or_default().as_secs();
        match &self.condition {
            Condition::Writable => String::new(),
            Condition::Full => format!("no space left for records since {span} s"),
            Condition::Healing(why) => format!("no record could be made for {span} s: {why}"),
            Condition::Failed(why) => format!("no more records are made: {why}"),
        }
    }
}

/// Since when something is wrong, and when it was last said.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    since: Mutex<Option<Duration>>,
    said: Mutex<HashMap<&'static str, Duration>>,
}

impl Trouble {
    /// Whether a line about this may be logged now: one in each period.
    pub(super) fn may_log(&self, what: &'static str, now: Duration) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.get(what) {
            Some(at) if now.saturating_sub(*at) < limits::TROUBLE_LOG_PERIOD => false,
            _ => {
                said.insert(what, now);
                true
            }
        }
    }
}

impl Audit {
    /// Whether records can be made, and since when not.
    pub(crate) fn health(&self) -> JournalHealth {
        let condition = self.0.journal.condition();
        let now = self.0.clock.since_boot();
        let mut since = self
            .0
            .trouble
            .since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let failing_for = if condition == Condition::Writable {
            *since = None;
            None
        } else {
            Some(now.saturating_sub(*since.get_or_insert(now)))
        };
        JournalHealth {
            condition,
            failing_for,
        }
    }

    /// Whether records can be made, as far as the last try tells.
    pub(crate) fn is_writable(&self) -> bool {
        self.health().condition == Condition::Writable
    }

    /// What the disk allows.
    pub(crate) fn disk(&self) -> DiskStatus {
        self.0.disk.status()
    }

    /// Whether a line about a failure that may come with every call may be logged now.
    pub(crate) fn may_log(&self, what: &'static str) -> bool {
        self.0.trouble.may_log(what, self.0.clock.since_boot())
    }
}
