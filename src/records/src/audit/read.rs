//! Reading audit records back.

use super::wire::{AuditBody, CALLER_ANONYMOUS, CALLER_LOCAL, CALLER_SERVER, CALLER_SPIFFE};
use super::{Audit, AuditKind, AuditOutcome, Caller};
use crate::RecordError;
use crate::envelope::{AUDIT, open};
use crate::error::damaged;

/// An audit record as the journal holds it. [`AuditRecord::view`] shows its
/// fields.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    body: AuditBody,
    kind: AuditKind,
}

impl AuditRecord {
    /// Decodes a record.
    ///
    /// # Errors
    /// The bytes are no audit record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let body: AuditBody = open(AUDIT, bytes)?;
        let kind = AuditKind::from_number(body.kind)
            .ok_or_else(|| damaged(AUDIT, &format!("kind number {}", body.kind)))?;
        if body.caller > CALLER_ANONYMOUS {
            return Err(damaged(AUDIT, &format!("caller number {}", body.caller)));
        }
        Ok(Self { body, kind })
    }

    #[cfg(test)]
    pub(crate) fn encode_as_derived(&self) -> Result<Vec<u8>, RecordError> {
        crate::envelope::seal(AUDIT, &self.body)
    }

    /// The record's fields.
    #[must_use]
    pub fn view(&self) -> Audit<'_> {
        let body = &self.body;
        let caller = match body.caller {
            CALLER_SPIFFE => Caller::Spiffe(&body.caller_text),
            CALLER_LOCAL => Caller::Local {
                uid: body.caller_uid,
                pid: body.caller_pid,
            },
            CALLER_ANONYMOUS => Caller::Anonymous(&body.caller_text),
            _ => {
                debug_assert_eq!(body.caller, CALLER_SERVER, "decode refuses other numbers");
                Caller::Server
            }
        };
        Audit {
            at_ms: body.at_ms,
            kind: self.kind,
            outcome: if body.refused {
                AuditOutcome::Refused
            } else {
                AuditOutcome::Granted
            },
            caller,
            for_whom: &body.for_whom,
            entry_id: &body.entry_id,
            serial: &body.serial,
            jti: &body.jti,
            not_after: body.not_after,
            authority_id: &body.authority_id,
            reason: &body.reason,
            detail: &body.detail,
        }
    }
}
