//! The token itself: how it is made, read, and turned into what is stored.

use std::fmt;

use contract::{NodeKey, NodeKeyError, OneTime};
use identity::Seconds;
use ring::digest;
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

/// How long a token lives unless the admin says otherwise.
pub const DEFAULT_TTL: Seconds = Seconds(600);

/// The shortest token that is read: 22 characters of an alphabet of 64 can
/// hold 128 random bits. An admin's own token may be a UUID.
pub const MIN_TOKEN_BYTES: usize = 22;

/// The longest token that is read.
pub const MAX_TOKEN_BYTES: usize = 128;

// Lets scanners for leaked secrets know what they found.
const PREFIX: &str = "bjt_";
const RANDOM_BYTES: usize = 20;

/// A join token. Wiped when dropped, never shown by `Debug`, and not
/// comparable: what is compared is its hash.
#[derive(Clone)]
pub struct JoinToken(Zeroizing<String>);

/// Why a text is no join token. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// Too short or too long.
    #[error("a join token has {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} characters")]
    Length,
    /// A character that no token has.
    #[error("a join token has only letters, digits, '.', '-' and '_'")]
    Character,
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes for a join token")]
pub struct RandomnessFailed;

impl JoinToken {
    /// Makes a token of 160 random bits.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomnessFailed> {
        let mut bytes = Zeroizing::new([0_u8; RANDOM_BYTES]);
        // ring says nothing about why.
        random.fill(bytes.as_mut()).or(Err(RandomnessFailed))?;
        let hex = Zeroizing::new(hex::encode(bytes.as_ref()));
        let mut text = String::with_capacity(PREFIX.len() + hex.len());
        text.push_str(PREFIX);
        text.push_str(&hex);
        Ok(Self(Zeroizing::new(text)))
    }

    /// Reads a token, exactly as it was printed: no trimming, no case folding.
    ///
    /// # Errors
    /// The text cannot be a token.
    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        if !(MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&text.len()) {
            return Err(JoinTokenError::Length);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !text.bytes().all(allowed) {
            return Err(JoinTokenError::Character);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret, for printing it once to the admin or sending it once to the
    /// server.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the server stores in its place: SHA-256 of the text.
    #[must_use]
    pub fn one_time(&self) -> OneTime {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        OneTime { key }
    }

    /// The last part of the agent's ID: the first 16 bytes of the hash, in hex.
    ///
    /// # Errors
    /// None in practice: hex digits make a node key.
    pub fn node_key(&self) -> Result<NodeKey, NodeKeyError> {
        let OneTime { key } = self.one_time();
        let (half, _) = key.split_at(16);
        NodeKey::new(&[&hex::encode(half)])
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "tests may use the machine's randomness"
    )]
    fn random() -> ring::rand::SystemRandom {
        ring::rand::SystemRandom::new()
    }

    #[test]
    fn a_generated_token_is_read_back_and_differs_from_the_next() {
        let token = JoinToken::generate(&random()).unwrap();
        assert_eq!(token.expose().len(), 44);
        let read = JoinToken::parse(token.expose()).unwrap();
        assert_eq!(read.one_time(), token.one_time());
        let other = JoinToken::generate(&random()).unwrap();
        assert_ne!(other.one_time(), token.one_time());
        assert_ne!(other.node_key(), token.node_key());
    }

    #[test]
    fn neither_debug_nor_the_agents_id_holds_the_token() {
        let token = JoinToken::generate(&random()).unwrap();
        let secret = token.expose().strip_prefix(PREFIX).unwrap();
        assert!(!format!("{token:?} {:?}", token.one_time()).contains(&secret[..8]));
        let domain = identity::TrustDomain::parse("example.org").unwrap();
        let id = token
            .node_key()
            .unwrap()
            .agent_id(&domain, crate::KIND)
            .unwrap();
        assert!(!id.as_str().contains(&secret[..8]));
        assert_eq!(id.path().len(), "/spire/agent/join_token/".len() + 32);
    }

    #[test]
    fn the_key_is_plain_sha256_so_that_rows_outlive_this_code() {
        let token = JoinToken::parse("6bb5ea4f-8e9a-4f3b-9d0c-2f0d6a3f9c11").unwrap();
        let expected = digest::digest(&digest::SHA256, b"6bb5ea4f-8e9a-4f3b-9d0c-2f0d6a3f9c11");
        assert_eq!(token.one_time().key, expected.as_ref());
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused_without_repeating_them() {
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        for bad in ["", "short", &long] {
            assert_eq!(JoinToken::parse(bad).unwrap_err(), JoinTokenError::Length);
        }
        for bad in [
            " bjt_0123456789012345678901",
            "bjt_0123456789012345678901\n",
            "bjt/0123456789012345678901",
            "bjt_01234567890123456789é",
            "../../../../../../../../..",
        ] {
            let outcome = JoinToken::parse(bad);
            let error = outcome.unwrap_err();
            assert_eq!(error, JoinTokenError::Character, "{bad:?}");
            assert!(!error.to_string().contains(bad));
        }
    }
}
