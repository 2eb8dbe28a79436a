//! Writing audit records: borrowed fields, one allocation, no formatting.

use super::wire::{AuditBody, CALLER_ANONYMOUS, CALLER_LOCAL, CALLER_SERVER, CALLER_SPIFFE};
use super::{AuditKind, AuditOutcome, Caller};
use crate::RecordError;
use crate::envelope::{AUDIT, seal};

/// One audit record to be written. Empty texts and zeros are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit<'a> {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What happened.
    pub kind: AuditKind,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Who asked.
    pub caller: Caller<'a>,
    /// For which SPIFFE ID.
    pub for_whom: &'a str,
    /// By which registration entry.
    pub entry_id: &'a str,
    /// The certificate's serial, big endian.
    pub serial: &'a [u8],
    /// The token's `jti`.
    pub jti: &'a str,
    /// When the credential expires, in seconds since the Unix epoch.
    pub not_after: i64,
    /// The authority that signs it.
    pub authority_id: &'a str,
    /// Why it was refused, or why it was granted when that is not obvious.
    pub reason: &'a str,
    /// What else a reader should know: audiences, changed fields. Never secrets.
    pub detail: &'a str,
}

impl<'a> Audit<'a> {
    /// A granted record with nothing but the time, the kind and the caller.
    #[must_use]
    pub const fn new(at_ms: i64, kind: AuditKind, caller: Caller<'a>) -> Self {
        Self {
            at_ms,
            kind,
            outcome: AuditOutcome::Granted,
            caller,
            for_whom: "",
            entry_id: "",
            serial: &[],
            jti: "",
            not_after: 0,
            authority_id: "",
            reason: "",
            detail: "",
        }
    }

    /// Encodes the record.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`]: it does not fit into one record.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let (caller, text, uid, pid) = match self.caller {
            Caller::Server => (CALLER_SERVER, "", 0, 0),
            Caller::Spiffe(id) => (CALLER_SPIFFE, id, 0, 0),
            Caller::Local { uid, pid } => (CALLER_LOCAL, "", uid, pid),
            Caller::Anonymous(address) => (CALLER_ANONYMOUS, address, 0, 0),
        };
        let body = AuditBody {
            at_ms: self.at_ms,
            kind: self.kind.number(),
            refused: self.outcome == AuditOutcome::Refused,
            caller,
            caller_text: text.into(),
            caller_uid: uid,
            caller_pid: pid,
            for_whom: self.for_whom.into(),
            entry_id: self.entry_id.into(),
            serial: self.serial.into(),
            jti: self.jti.into(),
            not_after: self.not_after,
            authority_id: self.authority_id.into(),
            reason: self.reason.into(),
            detail: self.detail.into(),
        };
        seal(AUDIT, &body)
    }
}
