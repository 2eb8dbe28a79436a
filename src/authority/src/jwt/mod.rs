//! The JWT authority: JWT-SVIDs by hand, since a library would parse the key or
//! look it up on each call, and put what it likes into the header.
//!
//! Header: exactly `typ`, `alg`, `kid`. Claims: `sub`, `aud` (always an array),
//! `exp`, `iat`, `jti`, and `iss` where one is configured.

mod access;
mod claims;
mod prepared;
mod revocations;
mod scoped;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{JwtAuthorityKey, JwtSvid, Seconds, SpiffeId, Timestamp};
use keys::{PublicKey, Signer};

pub use self::access::{AccessAuthority, AccessToken};
pub use self::claims::Jti;
pub use self::prepared::{JwtToBeSigned, PreparedJwt};
pub use self::scoped::{
    Confirmation, DECISION_CLAIM, DecisionMark, MAX_SCOPED_BYTES, NOT_BEFORE_SKEW, Scoped,
};
use crate::signature::jws_algorithm;
use crate::{AuthorityError, IssueError};

/// The most audiences in a token: Rust clients refuse more.
pub const MAX_AUDIENCES: usize = 32;

/// The longest audience, in bytes.
pub const MAX_AUDIENCE_BYTES: usize = 1024;

/// The longest key id or issuer, in bytes.
const MAX_KEY_ID_BYTES: usize = 64;

/// Why a token is not prepared. Nothing was recorded or signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtRefused {
    /// The ID names a trust domain and not a workload.
    #[error("{0} has no path; a token names a workload such as {0}/service")]
    NoPath(SpiffeId),
    /// No audience was asked for.
    #[error("no audience was given; name the service that will receive the token")]
    NoAudience,
    /// More than [`MAX_AUDIENCES`].
    #[error("{0} audiences are too many; ask for at most {MAX_AUDIENCES}, best for one")]
    TooManyAudiences(usize),
    /// An audience that is empty or longer than [`MAX_AUDIENCE_BYTES`].
    #[error("an audience has {0} bytes; 1 to {MAX_AUDIENCE_BYTES} are allowed")]
    AudienceLength(usize),
    /// No lifetime was asked for.
    #[error("lifetime is zero; ask for at least one second")]
    NoLifetime,
    /// The key's time is over.
    #[error("signing key expired at {0:?}; rotate to a new one")]
    KeyExpired(Timestamp),
    /// An access token without `cnf`.
    #[error("an access token is bound to its holder's certificate or key; give one of them")]
    NotBound,
    /// Scope and details larger than a token may be.
    #[error("the claims have {0} bytes; ask for fewer permissions or details")]
    ClaimsLength(usize),
    /// The clock shows a time before 1970.
    #[error("the clock shows a time before 1970; correct it and try again")]
    Clock,
}

/// What every token of an authority shares.
struct Issuer {
    key_id: Arc<str>,
    public_key: PublicKey,
    not_after: Timestamp,
    /// base64url of the header, with the dot.
    header: String,
    /// `,"iss":"…"` or nothing.
    issuer: String,
}

/// An authority that signs JWT-SVIDs.
pub struct JwtAuthority {
    issuer: Arc<Issuer>,
    signer: Arc<dyn Signer>,
}

impl JwtAuthority {
    /// Makes an authority of a key. `key_id` is what tokens name in `kid`, random
    /// and never used again; `not_after` is when the last token must have expired.
    ///
    /// # Errors
    /// [`AuthorityError::KeyId`] for an id that is empty, long or not plain.
    pub fn new(
        key_id: &str,
        signer: Arc<dyn Signer>,
        not_after: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let issuer = Issuer::new("JWT", key_id, signer.public_key(), not_after)?;
        Ok(Self {
            issuer: Arc::new(issuer),
            signer,
        })
    }

    /// The same authority with an `iss` claim in each token, for OIDC discovery.
    #[must_use]
    pub fn with_issuer(self, url: &str) -> Self {
        Self {
            issuer: Arc::new(self.issuer.named(url)),
            signer: self.signer,
        }
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

    /// Whether its signer is remote, so that [`JwtAuthority::sign`] may block for long.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.signer.is_remote()
    }

    /// The entry of the trust bundle for this key.
    #[must_use]
    pub fn bundle_key(&self) -> JwtAuthorityKey {
        self.issuer.published_key()
    }

    /// Prepares a token that ends `ttl` after now or with the key, whichever is
    /// first. Every audience asked for is in it, in the order given.
    ///
    /// # Errors
    /// When the profile forbids it; nothing was recorded or signed.
    pub fn prepare(
        &self,
        spiffe_id: &SpiffeId,
        audience: &[String],
        ttl: Seconds,
        jti: Jti,
        now: Timestamp,
    ) -> Result<PreparedJwt, JwtRefused> {
        check(spiffe_id, audience)?;
        if ttl.0 == 0 {
            return Err(JwtRefused::NoLifetime);
        }
        if now.0 < 0 {
            return Err(JwtRefused::Clock);
        }
        if now >= self.issuer.not_after {
            return Err(JwtRefused::KeyExpired(self.issuer.not_after));
        }
        let expires_at = now.plus(ttl).min(self.issuer.not_after);
        let claims = claims::write(spiffe_id, audience, (now, expires_at), jti, &self.issuer);
        Ok(PreparedJwt {
            issuer: Arc::clone(&self.issuer),
            spiffe_id: spiffe_id.clone(),
            issued_at: now,
            expires_at,
            jti,
            text: self.issuer.text_of(&claims),
        })
    }

    /// Signs with this authority's signer and finishes. A remote signer's
    /// signature is verified; a local one's form is checked.
    ///
    /// # Errors
    /// When another authority prepared it, the signer fails or the result is wrong.
    pub fn sign(&self, recorded: JwtToBeSigned) -> Result<JwtSvid, IssueError> {
        recorded.signed_by(&self.issuer, &*self.signer)
    }
}

impl Issuer {
    fn new(
        typ: &str,
        key_id: &str,
        public_key: &PublicKey,
        not_after: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=MAX_KEY_ID_BYTES).contains(&key_id.len()) || !key_id.bytes().all(plain) {
            return Err(AuthorityError::KeyId);
        }
        let algorithm = jws_algorithm(public_key.key_type());
        let header = format!(r#"{{"typ":"{typ}","alg":"{algorithm}","kid":"{key_id}"}}"#);
        Ok(Self {
            key_id: key_id.into(),
            public_key: public_key.clone(),
            not_after,
            header: URL_SAFE_NO_PAD.encode(header) + ".",
            issuer: String::new(),
        })
    }

    /// The same with an `iss` claim in each token.
    fn named(&self, url: &str) -> Self {
        let quoted = serde_json::Value::from(url).to_string();
        Self {
            key_id: Arc::clone(&self.key_id),
            public_key: self.public_key.clone(),
            not_after: self.not_after,
            header: self.header.clone(),
            issuer: format!(r#","iss":{quoted}"#),
        }
    }

    fn published_key(&self) -> JwtAuthorityKey {
        JwtAuthorityKey {
            key_id: Arc::clone(&self.key_id),
            spki: self.public_key.spki_der().into(),
            expires_at: Some(self.not_after),
            tainted: false,
        }
    }

    /// Header, dot and claims, with room for the signature.
    fn text_of(&self, claims: &[u8]) -> String {
        let encoded = base64::encoded_len(claims.len(), false).unwrap_or_default();
        let mut text = String::with_capacity(self.header.len() + encoded + 1 + 86);
        text.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut text);
        text
    }
}

fn check(spiffe_id: &SpiffeId, audience: &[String]) -> Result<(), JwtRefused> {
    if !spiffe_id.has_path() {
        return Err(JwtRefused::NoPath(spiffe_id.clone()));
    }
    match audience.len() {
        0 => return Err(JwtRefused::NoAudience),
        1..=MAX_AUDIENCES => {}
        more => return Err(JwtRefused::TooManyAudiences(more)),
    }
    let bad = |a: &&String| a.is_empty() || a.len() > MAX_AUDIENCE_BYTES;
    match audience.iter().find(bad) {
        Some(audience) => Err(JwtRefused::AudienceLength(audience.len())),
        None => Ok(()),
    }
}

impl fmt::Debug for JwtAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthority")
            .field("key_id", &self.issuer.key_id)
            .field("not_after", &self.issuer.not_after)
            .finish_non_exhaustive()
    }
}
