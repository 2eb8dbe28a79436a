//! The server's one source of randomness: serials, token ids, join tokens and
//! entry ids are all drawn here. A source that fails fails the call.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system's randomness.
#[derive(Clone)]
pub(crate) struct Entropy(SystemRandom);

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoEntropy;

impl Entropy {
    /// The operating system's source.
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's one source of randomness"
    )]
    #[must_use]
    pub(crate) fn system() -> Self {
        Self(SystemRandom::new())
    }

    /// `N` random bytes.
    ///
    /// # Errors
    /// When the operating system has none to give.
    pub(crate) fn bytes<const N: usize>(&self) -> Result<[u8; N], NoEntropy> {
        let mut bytes = [0; N];
        self.0
            .fill(&mut bytes)
            .map_err(|ring::error::Unspecified| NoEntropy)?;
        Ok(bytes)
    }

    /// The source itself, for key generation.
    #[must_use]
    pub(crate) fn source(&self) -> &dyn SecureRandom {
        &self.0
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(system)")
    }
}
