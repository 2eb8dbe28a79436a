//! The access authority: OAuth access tokens in the form of RFC 9068, by keys of
//! their own. Header: `typ` is `at+jwt`, `alg`, `kid`.

use std::fmt;
use std::sync::Arc;

use identity::{JwtAuthorityKey, SpiffeId, Timestamp};
use keys::{PublicKey, Signer};

use super::scoped::{self, Life, Scoped};
use super::{Issuer, Jti, JwtRefused, JwtToBeSigned, PreparedJwt};
use crate::{AuthorityError, IssueError};

/// A signed access token in compact form: a secret unless it is bound. `Debug`
/// never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The compact serialisation.
    pub token: Arc<str>,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
    /// The key that signed it.
    pub key_id: Arc<str>,
}

/// An authority that signs access tokens and nothing else: its keys are in no
/// SPIFFE bundle.
pub struct AccessAuthority {
    issuer: Arc<Issuer>,
    signer: Arc<dyn Signer>,
}

impl AccessAuthority {
    /// Makes an authority of a key. `key_id` is what tokens name in `kid`, random
    /// and never used again; `url` is `iss`, which RFC 9068 requires; `not_after` is
    /// when the last token must have expired.
    ///
    /// # Errors
    /// [`AuthorityError::KeyId`] for an id that is empty, long or not plain.
    pub fn new(
        key_id: &str,
        signer: Arc<dyn Signer>,
        url: &str,
        not_after: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let issuer = Issuer::new("at+jwt", key_id, signer.public_key(), not_after)?;
        Ok(Self {
            issuer: Arc::new(issuer.named(url)),
            signer,
        })
    }

    /// What tokens name in `kid`.
    #[must_use]
    pub fn key_id(&self) -> &Arc<str> {
        &self.issuer.key_id
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.issuer.public_key
    }

    /// When the key's time is over: no token lives longer.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.issuer.not_after
    }

    /// Whether its signer is remote, so that [`AccessAuthority::sign`] may block for long.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.signer.is_remote()
    }

    /// The key as verifiers need it.
    #[must_use]
    pub fn published_key(&self) -> JwtAuthorityKey {
        self.issuer.published_key()
    }

    /// Prepares an access token that ends at `expires_at` or with the key, whichever
    /// is first. It is always bound: there is no bearer form.
    ///
    /// # Errors
    /// When the profile forbids it; nothing was recorded or signed.
    pub fn prepare(
        &self,
        spiffe_id: &SpiffeId,
        scoped: &Scoped<'_>,
        (now, expires_at): (Timestamp, Timestamp),
        jti: Jti,
    ) -> Result<PreparedJwt, JwtRefused> {
        if scoped.confirmation.is_none() {
            return Err(JwtRefused::NotBound);
        }
        let life = Life {
            spiffe_id,
            now,
            expires_at,
            jti,
        };
        scoped::prepare(&self.issuer, scoped, life, false)
    }

    /// Signs with this authority's signer and finishes. A remote signer's
    /// signature is verified; a local one's form is checked.
    ///
    /// # Errors
    /// When another authority prepared it, the signer fails or the result is wrong.
    pub fn sign(&self, recorded: JwtToBeSigned) -> Result<AccessToken, IssueError> {
        let made = recorded.signed_by(&self.issuer, &*self.signer)?;
        Ok(AccessToken {
            token: made.token,
            issued_at: made.issued_at,
            expires_at: made.expires_at,
            key_id: made.key_id,
        })
    }
}

impl fmt::Debug for AccessAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessAuthority")
            .field("key_id", &self.issuer.key_id)
            .field("not_after", &self.issuer.not_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("key_id", &self.key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
