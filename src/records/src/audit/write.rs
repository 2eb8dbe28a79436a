//! Writing audit records: borrowed fields, one allocation, no formatting. This
//! runs before every signature, so the fields are written straight into the
//! envelope; a test holds the bytes equal to what the derived encoder writes.

use prost::encoding::{encode_varint, encoded_len_varint};

use super::wire::{CALLER_ANONYMOUS, CALLER_LOCAL, CALLER_SERVER, CALLER_SPIFFE};
use super::{AuditKind, AuditOutcome, Caller};
use crate::RecordError;
use crate::envelope::{AUDIT, FIRST_SCHEMA, MAX_RECORD_BYTES};

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
        let fields = self.fields();
        let body: usize = fields.iter().map(|(tag, value)| value.size(*tag)).sum();
        let header = [
            (1, Value::Number(u64::from(AUDIT.number))),
            (2, Value::Number(u64::from(FIRST_SCHEMA))),
            (3, Value::Number(u64::from(FIRST_SCHEMA))),
        ];
        let size: usize = header.iter().map(|(tag, value)| value.size(*tag)).sum();
        let bytes = size + 1 + encoded_len_varint(body as u64) + body;
        if bytes > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge {
                kind: AUDIT.name,
                bytes,
            });
        }
        let mut out = Vec::with_capacity(bytes);
        header
            .iter()
            .for_each(|(tag, value)| value.write(*tag, &mut out));
        encode_varint(key(4, LENGTH_DELIMITED), &mut out);
        encode_varint(body as u64, &mut out);
        fields
            .iter()
            .for_each(|(tag, value)| value.write(*tag, &mut out));
        Ok(out)
    }

    /// The fields by tag, as [`super::wire::AuditBody`] names them.
    fn fields(&self) -> [(u32, Value<'a>); 15] {
        let (caller, text, uid, pid) = match self.caller {
            Caller::Server => (CALLER_SERVER, "", 0, 0),
            Caller::Spiffe(id) => (CALLER_SPIFFE, id, 0, 0),
            Caller::Local { uid, pid } => (CALLER_LOCAL, "", uid, pid),
            Caller::Anonymous(address) => (CALLER_ANONYMOUS, address, 0, 0),
        };
        let refused = u64::from(self.outcome == AuditOutcome::Refused);
        [
            (1, Value::Number(self.at_ms.cast_unsigned())),
            (2, Value::Number(u64::from(self.kind.number()))),
            (3, Value::Number(refused)),
            (4, Value::Number(u64::from(caller))),
            (5, Value::Bytes(text.as_bytes())),
            (6, Value::Number(u64::from(uid))),
            (7, Value::Number(u64::from(pid))),
            (8, Value::Bytes(self.for_whom.as_bytes())),
            (9, Value::Bytes(self.entry_id.as_bytes())),
            (10, Value::Bytes(self.serial)),
            (11, Value::Bytes(self.jti.as_bytes())),
            (12, Value::Number(self.not_after.cast_unsigned())),
            (13, Value::Bytes(self.authority_id.as_bytes())),
            (14, Value::Bytes(self.reason.as_bytes())),
            (15, Value::Bytes(self.detail.as_bytes())),
        ]
    }
}

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

fn key(tag: u32, wire_type: u64) -> u64 {
    u64::from(tag) << 3 | wire_type
}

/// A field's value in the two wire types an audit record needs; zero and empty
/// are not written.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    fn size(self, tag: u32) -> usize {
        let key = encoded_len_varint(key(tag, VARINT));
        match self {
            Self::Number(0) | Self::Bytes([]) => 0,
            Self::Number(n) => key + encoded_len_varint(n),
            Self::Bytes(b) => key + encoded_len_varint(b.len() as u64) + b.len(),
        }
    }

    fn write(self, tag: u32, out: &mut Vec<u8>) {
        match self {
            Self::Number(0) | Self::Bytes([]) => {}
            Self::Number(n) => {
                encode_varint(key(tag, VARINT), out);
                encode_varint(n, out);
            }
            Self::Bytes(b) => {
                encode_varint(key(tag, LENGTH_DELIMITED), out);
                encode_varint(b.len() as u64, out);
                out.extend_from_slice(b);
            }
        }
    }
}
