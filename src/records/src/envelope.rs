//! The envelope around every record: kind, schema, oldest writer, body.
//!
//! Rules, decided once:
//! - `schema` says in which layout the body was written; [`SCHEMA`] is the newest of ours.
//! - `min_writer` says from which schema on a program may read *and overwrite*
//!   the record. A writer raises it when it adds a field that an older program
//!   would misjudge or lose. A program below it refuses the record.
//! - A newer record whose `min_writer` allows us may carry fields we do not know;
//!   its writer declared that losing them is harmless.
//! - A record of our schema or older with unknown fields is damaged: nobody
//!   could have written it.

use prost::Message;

use crate::RecordError;

/// The newest layout that this program fully understands.
pub const SCHEMA: u32 = 2;

/// The layout of every record but those whose module says otherwise.
pub(crate) const FIRST_SCHEMA: u32 = 1;

/// The layout of the own bundle since authorities have owners: an older program would
/// take the authorities that other records hold out of the bundle.
pub(crate) const OWNERS_SCHEMA: u32 = 2;

/// The largest record, envelope included: under the store's 32 KiB a value.
pub const MAX_RECORD_BYTES: usize = 32_000;

/// What a record is about; the number is on disk and never reused.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
}

pub(crate) const ENTRY: Kind = Kind {
    number: 1,
    name: "entry",
};
pub(crate) const NODE: Kind = Kind {
    number: 2,
    name: "node",
};
pub(crate) const BUNDLE: Kind = Kind {
    number: 3,
    name: "bundle",
};
pub(crate) const TOKEN: Kind = Kind {
    number: 4,
    name: "join token",
};
pub(crate) const AUTHORITY: Kind = Kind {
    number: 5,
    name: "authority",
};
pub(crate) const AUDIT: Kind = Kind {
    number: 6,
    name: "audit",
};
pub(crate) const TRUST: Kind = Kind {
    number: 7,
    name: "owned authorities",
};
pub(crate) const REVOCATION: Kind = Kind {
    number: 20,
    name: "revocation",
};
pub(crate) const REVOCATION_LIST: Kind = Kind {
    number: 21,
    name: "revocation list",
};

pub(crate) const POLICY_CHUNK: Kind = Kind {
    number: 10,
    name: "policy set",
};
pub(crate) const ACTIVATION: Kind = Kind {
    number: 11,
    name: "policy activation",
};
pub(crate) const TOKEN_LIMITS: Kind = Kind {
    number: 12,
    name: "token limits",
};
pub(crate) const BREAK_GLASS: Kind = Kind {
    number: 13,
    name: "break-glass",
};

#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    schema: u32,
    #[prost(uint32, tag = "3")]
    min_writer: u32,
    #[prost(bytes = "vec", tag = "4")]
    body: Vec<u8>,
}

/// Wraps a body in an envelope of the first layout.
pub(crate) fn seal<M: Message>(kind: Kind, body: &M) -> Result<Vec<u8>, RecordError> {
    seal_as(kind, FIRST_SCHEMA, FIRST_SCHEMA, body)
}

pub(crate) fn seal_as<M: Message>(
    kind: Kind,
    schema: u32,
    min_writer: u32,
    body: &M,
) -> Result<Vec<u8>, RecordError> {
    let envelope = Envelope {
        kind: kind.number,
        schema,
        min_writer,
        body: body.encode_to_vec(),
    };
    let bytes = envelope.encoded_len();
    if bytes > MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge {
            kind: kind.name,
            bytes,
        });
    }
    Ok(envelope.encode_to_vec())
}

/// Opens an envelope of the expected kind and decodes its body.
pub(crate) fn open<M: Message + Default>(kind: Kind, bytes: &[u8]) -> Result<M, RecordError> {
    open_any(kind, bytes).map(|(body, _schema)| body)
}

/// As [`open`], with the layout in which the body was written.
pub(crate) fn open_any<M: Message + Default>(
    kind: Kind,
    bytes: &[u8],
) -> Result<(M, u32), RecordError> {
    let damaged = |what: String| RecordError::Damaged {
        kind: kind.name,
        what,
    };
    let envelope = Envelope::decode(bytes).map_err(|e| damaged(e.to_string()))?;
    if envelope.kind != kind.number {
        return Err(RecordError::WrongKind {
            expected: kind.name,
            found: envelope.kind,
        });
    }
    if envelope.min_writer > SCHEMA {
        return Err(RecordError::FutureSchema {
            kind: kind.name,
            min_writer: envelope.min_writer,
        });
    }
    if envelope.schema == 0 || envelope.min_writer == 0 || envelope.min_writer > envelope.schema {
        return Err(damaged(format!(
            "schema {} with oldest writer {}",
            envelope.schema, envelope.min_writer
        )));
    }
    let body = M::decode(envelope.body.as_slice()).map_err(|e| damaged(e.to_string()))?;
    if envelope.schema <= SCHEMA && body.encoded_len() != envelope.body.len() {
        return Err(damaged("it has fields that its schema does not".into()));
    }
    Ok((body, envelope.schema))
}
