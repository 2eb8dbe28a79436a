//! Policy sets as the store holds them: the files of a set in chunks, and one
//! record for each activation. The newest activation is the active one, so that
//! activating is one commit, whatever the size.

use identity::Timestamp;
use prost::Message;

use crate::RecordError;
use crate::envelope::{ACTIVATION, MAX_RECORD_BYTES, POLICY_CHUNK, open, seal};
use crate::error::damaged;

/// The part of a policy set's bytes in one chunk: what fits beside the envelope.
const CHUNK_BYTES: usize = MAX_RECORD_BYTES - 128;

/// One file of a policy set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name in the policy folder.
    pub name: String,
    /// Its contents.
    pub text: String,
}

/// One activation of a policy set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationRecord {
    /// Counts activations, from 1.
    pub number: u64,
    /// The set: `sha256:` and 64 digits.
    pub digest: String,
    /// Its catalogue.
    pub catalogue: String,
    /// How many chunks hold the set.
    pub chunks: u32,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub comment: String,
    /// The set that was active before; empty when none was.
    pub previous: String,
    /// Whether it went back to an older set.
    pub rollback: bool,
}

#[derive(Clone, PartialEq, Message)]
struct FilesBody {
    #[prost(message, repeated, tag = "1")]
    files: Vec<FileBody>,
}

#[derive(Clone, PartialEq, Message)]
struct FileBody {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkBody {
    #[prost(uint32, tag = "1")]
    index: u32,
    #[prost(bytes = "vec", tag = "2")]
    bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ActivationBody {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(string, tag = "2")]
    digest: String,
    #[prost(string, tag = "3")]
    catalogue: String,
    #[prost(uint32, tag = "4")]
    chunks: u32,
    #[prost(int64, tag = "5")]
    at: i64,
    #[prost(string, tag = "6")]
    by: String,
    #[prost(string, tag = "7")]
    comment: String,
    #[prost(string, tag = "8")]
    previous: String,
    #[prost(bool, tag = "9")]
    rollback: bool,
}

/// Encodes the files of a policy set in as many chunks as it takes.
///
/// # Errors
/// None in practice: every chunk fits.
pub fn encode_policy_set(
    files: impl IntoIterator<Item = PolicyFile>,
) -> Result<Vec<Vec<u8>>, RecordError> {
    let files = files.into_iter().map(|file| FileBody {
        name: file.name,
        text: file.text,
    });
    let body = FilesBody {
        files: files.collect(),
    };
    let bytes = body.encode_to_vec();
    let chunks = bytes.chunks(CHUNK_BYTES).zip(0..);
    let sealed = chunks.map(|(bytes, index)| {
        let bytes = bytes.to_vec();
        seal(POLICY_CHUNK, &ChunkBody { index, bytes })
    });
    sealed.collect()
}

/// Decodes the files of a policy set from all of its chunks, in order.
///
/// # Errors
/// A chunk is damaged, missing or out of its place.
pub fn decode_policy_set(chunks: &[impl AsRef<[u8]>]) -> Result<Vec<PolicyFile>, RecordError> {
    let mut bytes = Vec::with_capacity(chunks.len() * CHUNK_BYTES);
    for (chunk, place) in chunks.iter().zip(0_u32..) {
        let body: ChunkBody = open(POLICY_CHUNK, chunk.as_ref())?;
        if body.index != place {
            let what = format!("chunk {} stands in the place of {place}", body.index);
            return Err(damaged(POLICY_CHUNK, &what));
        }
        bytes.extend_from_slice(&body.bytes);
    }
    let body = FilesBody::decode(bytes.as_slice()).map_err(|e| damaged(POLICY_CHUNK, &e))?;
    let files = body.files.into_iter().map(|file| PolicyFile {
        name: file.name,
        text: file.text,
    });
    Ok(files.collect())
}

/// Encodes an activation.
///
/// # Errors
/// [`RecordError::TooLarge`]: its comment does not fit into one record.
pub fn encode_activation(activation: &ActivationRecord) -> Result<Vec<u8>, RecordError> {
    let a = activation.clone();
    let body = ActivationBody {
        number: a.number,
        digest: a.digest,
        catalogue: a.catalogue,
        chunks: a.chunks,
        at: a.at.0,
        by: a.by,
        comment: a.comment,
        previous: a.previous,
        rollback: a.rollback,
    };
    seal(ACTIVATION, &body)
}

/// Decodes an activation.
///
/// # Errors
/// The bytes are no activation's record.
pub fn decode_activation(bytes: &[u8]) -> Result<ActivationRecord, RecordError> {
    let body: ActivationBody = open(ACTIVATION, bytes)?;
    Ok(ActivationRecord {
        number: body.number,
        digest: body.digest,
        catalogue: body.catalogue,
        chunks: body.chunks,
        at: Timestamp(body.at),
        by: body.by,
        comment: body.comment,
        previous: body.previous,
        rollback: body.rollback,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: usize) -> PolicyFile {
        PolicyFile {
            name: name.into(),
            text: name.repeat(bytes / name.len()),
        }
    }

    #[test]
    fn a_large_set_survives_in_chunks_and_nothing_may_be_missing() {
        let files = vec![file("a", 5), file("bc", 100_000), file("d", 31_000)];
        let chunks = encode_policy_set(files.clone()).unwrap();
        assert!(chunks.len() > 3 && chunks.iter().all(|c| c.len() <= MAX_RECORD_BYTES));
        assert_eq!(decode_policy_set(&chunks).unwrap(), files);
        let mut swapped = chunks.clone();
        swapped.swap(0, 1);
        assert!(decode_policy_set(&swapped).is_err());
        assert!(decode_policy_set(&chunks[..chunks.len() - 1]).is_err());
        assert!(encode_policy_set([]).unwrap().is_empty());
        assert_eq!(decode_policy_set(&[] as &[Vec<u8>]).unwrap(), []);
    }

    #[test]
    fn an_activation_survives() {
        let activation = ActivationRecord {
            number: 7,
            digest: "sha256:00".into(),
            catalogue: "sha256:11".into(),
            chunks: 3,
            at: Timestamp(9),
            by: "uid:0".into(),
            comment: "why".into(),
            previous: String::new(),
            rollback: true,
        };
        let bytes = encode_activation(&activation).unwrap();
        assert_eq!(decode_activation(&bytes).unwrap(), activation);
        assert!(decode_activation(&bytes[1..]).is_err());
    }
}
