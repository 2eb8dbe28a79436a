//! Why bytes of the store or the journal cannot be taken for a record, or a
//! value cannot become one.

use crate::{MAX_RECORD_BYTES, SCHEMA};

/// Why a record cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A newer program wrote it and says that this one must leave it alone.
    #[error(
        "{kind} record needs schema {min_writer} or newer, this program knows {SCHEMA}; it was written by a newer version: upgrade this server, nothing was changed"
    )]
    FutureSchema {
        /// What was to be read.
        kind: &'static str,
        /// The oldest schema that may read and overwrite it.
        min_writer: u32,
    },
    /// The bytes are a record of another kind than was asked for.
    #[error("expected a {expected} record, found kind number {found}")]
    WrongKind {
        /// What was to be read.
        expected: &'static str,
        /// The kind number found.
        found: u32,
    },
    /// The bytes are no record: damaged, cut short, or not ours.
    #[error("{kind} record is damaged: {what}")]
    Damaged {
        /// What was to be read.
        kind: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The value does not fit into one record.
    #[error("{kind} record would have {bytes} bytes; at most {MAX_RECORD_BYTES} are allowed")]
    TooLarge {
        /// What was to be written.
        kind: &'static str,
        /// The size it would have.
        bytes: usize,
    },
}

pub(crate) fn damaged(kind: crate::envelope::Kind, what: &dyn std::fmt::Display) -> RecordError {
    RecordError::Damaged {
        kind: kind.name,
        what: what.to_string(),
    }
}
