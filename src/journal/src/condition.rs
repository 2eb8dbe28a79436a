//! Whether a journal can write, for those who watch over the process.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Head, JournalError};

/// Whether a journal can write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// As far as the last try tells, it can.
    #[default]
    Writable,
    /// The disk is full. It goes on by itself once there is space.
    Full,
    /// The file system refuses for another reason. It tries again by itself.
    Healing(Arc<str>),
    /// It is over: restart the process.
    Failed(Arc<str>),
}

/// What the writer thread tells the handles.
#[derive(Debug)]
pub(crate) struct Shared {
    head: Mutex<Head>,
    condition: Mutex<Condition>,
}

impl Shared {
    pub(crate) fn new(head: Head) -> Self {
        Self {
            head: Mutex::new(head),
            condition: Mutex::default(),
        }
    }

    /// The newest durable record.
    pub(crate) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_head(&self, head: Head) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }

    pub(crate) fn condition(&self) -> Condition {
        let condition = self.condition.lock();
        condition.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the last try ended; a change of kind is logged once.
    pub(crate) fn note(&self, condition: Condition) {
        let mut held = self
            .condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match (&*held, &condition) {
            (Condition::Writable, Condition::Writable) | (Condition::Full, Condition::Full) => {}
            (Condition::Healing(_), Condition::Healing(_)) => {}
            (_, Condition::Writable) => tracing::warn!("journal can write again"),
            (_, Condition::Full) => tracing::error!("no space left for the journal"),
            (_, Condition::Healing(why)) => {
                tracing::error!(%why, "journal cannot write; it tries again");
            }
            (_, Condition::Failed(why)) => {
                tracing::error!(%why, "journal failed: no more records are accepted");
            }
        }
        *held = condition;
    }
}

impl From<&JournalError> for Condition {
    /// The condition that an append's error tells of.
    fn from(error: &JournalError) -> Self {
        match error {
            JournalError::Full => Self::Full,
            JournalError::Failed(why) => Self::Failed(Arc::clone(why)),
            JournalError::Unavailable(why) => Self::Healing(Arc::clone(why)),
            other => Self::Healing(describe(other)),
        }
    }
}

/// The error with its cause, for whoever has only the text.
pub(crate) fn describe(error: &JournalError) -> Arc<str> {
    let source = std::error::Error::source(error);
    let text = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    text.into()
}
