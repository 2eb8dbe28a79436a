//! The key types this product signs with, and their names in configuration.

use std::fmt;

/// A kind of key, with the one signature scheme that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// ECDSA on P-256 with SHA-256: `ec-p256`, the default.
    EcP256,
    /// ECDSA on P-384 with SHA-384: `ec-p384`; with ring about 17 times slower to sign.
    EcP384,
    /// RSA with a modulus of 2048 bits, PKCS#1 v1.5 and SHA-256: `rsa-2048`.
    Rsa2048,
    /// RSA with a modulus of 4096 bits, PKCS#1 v1.5 and SHA-256: `rsa-4096`.
    Rsa4096,
}

/// A text that names no key type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no key type is called {given:?}; use ec-p256, ec-p384, rsa-2048 or rsa-4096")]
pub struct KeyTypeError {
    /// What was given, cut at 32 characters.
    pub given: String,
}

impl KeyType {
    /// Every key type, in the order the documentation lists them.
    pub const ALL: [Self; 4] = [Self::EcP256, Self::EcP384, Self::Rsa2048, Self::Rsa4096];

    /// The name used in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcP256 => "ec-p256",
            Self::EcP384 => "ec-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// Whether the key is an RSA key.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa4096)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for KeyType {
    type Err = KeyTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|t| t.name() == text)
            .ok_or_else(|| KeyTypeError {
                given: text.chars().take(32).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for key_type in KeyType::ALL {
            assert_eq!(key_type.to_string().parse(), Ok(key_type));
        }
        for wrong in ["", "EC-P256", "ed25519", "rsa-1024", "ec-p521"] {
            assert!(wrong.parse::<KeyType>().is_err(), "{wrong}");
        }
    }
}
