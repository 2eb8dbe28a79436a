//! The part of an agent's SPIFFE ID that its attestation decides.

use std::fmt;

use identity::{SpiffeId, SpiffeIdError, TrustDomain};

/// The longest node key, in bytes.
pub const MAX_NODE_KEY_BYTES: usize = 1024;

/// What distinguishes one node from all others of its attestor: one or more
/// path segments of `[A-Za-z0-9._-]`, none of them `.` or `..`.
///
/// Checked segment by segment before anything is joined, so that no tag, name
/// or token of a node can move its identity to another place in the tree.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeKey(Box<str>);

/// Why segments make no node key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeKeyError {
    /// No segment was given.
    #[error("a node key needs at least one segment")]
    Empty,
    /// A segment is empty, `.` or `..`, or has a character that no SPIFFE ID
    /// segment may have.
    #[error(
        "segment {0} of the node key is empty, a dot segment, or has a character outside a-z A-Z 0-9 . - _"
    )]
    Segment(usize),
    /// More than [`MAX_NODE_KEY_BYTES`].
    #[error("the node key has {0} bytes; at most {MAX_NODE_KEY_BYTES} are allowed")]
    TooLong(usize),
}

impl NodeKey {
    /// Joins segments, each checked by itself.
    ///
    /// # Errors
    /// Says which segment is not allowed.
    pub fn new(segments: &[&str]) -> Result<Self, NodeKeyError> {
        if segments.is_empty() {
            return Err(NodeKeyError::Empty);
        }
        if let Some(at) = segments.iter().position(|s| !is_segment(s)) {
            return Err(NodeKeyError::Segment(at));
        }
        let bytes = segments.iter().map(|s| s.len() + 1).sum::<usize>() - 1;
        if bytes > MAX_NODE_KEY_BYTES {
            return Err(NodeKeyError::TooLong(bytes));
        }
        Ok(Self(segments.join("/").into()))
    }

    /// The segments joined by slashes, with none before the first.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The agent's SPIFFE ID: `/spire/agent/<attestor>/<node key>`, the layout
    /// that SPIRE's tools expect.
    ///
    /// # Errors
    /// The attestor's kind is no path segment, or the whole is too long.
    pub fn agent_id(
        &self,
        trust_domain: &TrustDomain,
        attestor: &str,
    ) -> Result<SpiffeId, SpiffeIdError> {
        SpiffeId::new(trust_domain, &format!("/spire/agent/{attestor}/{self}"))
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segments_that_could_move_an_identity_are_refused() {
        for bad in [
            "", ".", "..", "a/b", "a%2fb", "a b", "ä", "a\0", "a:b", "../x",
        ] {
            assert_eq!(
                NodeKey::new(&["ok", bad]),
                Err(NodeKeyError::Segment(1)),
                "{bad:?}"
            );
        }
        assert_eq!(NodeKey::new(&[]), Err(NodeKeyError::Empty));
        let long = "a".repeat(MAX_NODE_KEY_BYTES + 1);
        assert_eq!(NodeKey::new(&[&long]), Err(NodeKeyError::TooLong(1025)));
    }

    proptest! {
        #[test]
        fn an_agent_id_has_as_many_segments_as_were_given(
            segments in prop::collection::vec("[ -~]{0,12}", 1..5)
        ) {
            let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
            if let Ok(key) = NodeKey::new(&segments) {
                let domain = TrustDomain::parse("example.org").unwrap();
                let id = key.agent_id(&domain, "join_token").unwrap();
                let path: Vec<&str> = id.path().split('/').skip(4).collect();
                prop_assert_eq!(path, segments);
            }
        }
    }
}
