//! The JWT authority: JWT-SVIDs by hand, since a library would parse the key or
//! look it up on each call, and put what it likes into the header.
//!
//! Header: exactly `typ`, `alg`, `kid`. Claims: `sub`, `aud` (always an array),
//! `exp`, `iat`, `jti`, and `iss` where one is configured.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{JwtAuthorityKey, JwtSvid, Seconds, SpiffeId, Timestamp};
use journal::{Binding, Receipt};
use keys::{PublicKey, Signer};

use crate::signature::{jws_algorithm, to_jws};
use crate::{AuthorityError, FinishError, IssueError, ReceiptMismatch};

/// The most audiences in a token: Rust clients refuse more.
pub const MAX_AUDIENCES: usize = 32;

/// The longest audience, in bytes.
pub const MAX_AUDIENCE_BYTES: usize = 1024;

/// The longest key id or issuer, in bytes.
const MAX_KEY_ID_BYTES: usize = 64;

/// A token's unique id: 16 random bytes, written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Jti([u8; 16]);

impl Jti {
    /// Wraps random bytes, fresh for each token.
    #[must_use]
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The random bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn hex(self) -> [u8; 32] {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let mut out = [0; 32];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0) {
            if let [high, low] = pair {
                (*high, *low) = (digit(byte >> 4), digit(byte & 15));
            }
        }
        out
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jti({self})")
    }
}

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
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=MAX_KEY_ID_BYTES).contains(&key_id.len()) || !key_id.bytes().all(plain) {
            return Err(AuthorityError::KeyId);
        }
        let algorithm = jws_algorithm(signer.public_key().key_type());
        let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}","kid":"{key_id}"}}"#);
        let issuer = Issuer {
            key_id: key_id.into(),
            public_key: signer.public_key().clone(),
            not_after,
            header: URL_SAFE_NO_PAD.encode(header) + ".",
            issuer: String::new(),
        };
        Ok(Self {
            issuer: Arc::new(issuer),
            signer,
        })
    }

    /// The same authority with an `iss` claim in each token, for OIDC discovery.
    #[must_use]
    pub fn with_issuer(self, url: &str) -> Self {
        let quoted = serde_json::Value::from(url).to_string();
        let issuer = Issuer {
            key_id: Arc::clone(&self.issuer.key_id),
            public_key: self.issuer.public_key.clone(),
            not_after: self.issuer.not_after,
            header: self.issuer.header.clone(),
            issuer: format!(r#","iss":{quoted}"#),
        };
        Self {
            issuer: Arc::new(issuer),
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
        JwtAuthorityKey {
            key_id: Arc::clone(&self.issuer.key_id),
            spki: self.issuer.public_key.spki_der().into(),
            expires_at: Some(self.issuer.not_after),
            tainted: false,
        }
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
        let claims = claims(spiffe_id, audience, (now, expires_at), jti, &self.issuer);
        let encoded = base64::encoded_len(claims.len(), false).unwrap_or_default();
        let mut text = String::with_capacity(self.issuer.header.len() + encoded + 1 + 86);
        text.push_str(&self.issuer.header);
        URL_SAFE_NO_PAD.encode_string(&claims, &mut text);
        Ok(PreparedJwt {
            issuer: Arc::clone(&self.issuer),
            spiffe_id: spiffe_id.clone(),
            issued_at: now,
            expires_at,
            jti,
            text,
        })
    }

    /// Signs with this authority's signer and finishes. A remote signer's
    /// signature is verified; a local one's form is checked.
    ///
    /// # Errors
    /// When another authority prepared it, the signer fails or the result is wrong.
    pub fn sign(&self, recorded: JwtToBeSigned) -> Result<JwtSvid, IssueError> {
        if !Arc::ptr_eq(&recorded.prepared.issuer, &self.issuer) {
            return Err(IssueError::OtherAuthority);
        }
        let signature = self.signer.sign(recorded.bytes())?;
        if self.signer.is_remote() {
            Ok(recorded.finish(&signature)?)
        } else {
            Ok(recorded.assemble(&signature)?)
        }
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

/// Writes the claims. Only audiences may need escaping: IDs and hex never do.
fn claims(
    spiffe_id: &SpiffeId,
    audience: &[String],
    (issued_at, expires_at): (Timestamp, Timestamp),
    jti: Jti,
    issuer: &Issuer,
) -> Vec<u8> {
    let audiences: usize = audience.iter().map(|a| a.len() + 3).sum();
    let id = spiffe_id.as_str();
    let mut out = Vec::with_capacity(128 + id.len() + audiences + issuer.issuer.len());
    out.extend_from_slice(br#"{"sub":""#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#"","aud":["#);
    for (i, audience) in audience.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put_string(&mut out, audience);
    }
    out.extend_from_slice(br#"],"exp":"#);
    put_number(&mut out, expires_at.0);
    out.extend_from_slice(br#","iat":"#);
    put_number(&mut out, issued_at.0);
    out.extend_from_slice(br#","jti":""#);
    out.extend_from_slice(&jti.hex());
    out.push(b'"');
    out.extend_from_slice(issuer.issuer.as_bytes());
    out.push(b'}');
    out
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// Decimal digits of a number that is not negative.
fn put_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut rest = number.unsigned_abs();
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        // A remainder by ten fits.
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        used += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - used));
}

/// A token that passed the profile's checks and that nobody has recorded or
/// signed. It gives away no bytes: record it, then [`PreparedJwt::redeem`].
#[must_use = "a prepared token is nothing until it is recorded and signed"]
pub struct PreparedJwt {
    issuer: Arc<Issuer>,
    spiffe_id: SpiffeId,
    issued_at: Timestamp,
    expires_at: Timestamp,
    jti: Jti,
    text: String,
}

impl PreparedJwt {
    /// What the record must be bound to: the 16 bytes of the `jti`.
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding::of(self.jti.as_bytes())
    }

    /// The unique id.
    #[must_use]
    pub const fn jti(&self) -> Jti {
        self.jti
    }

    /// The identity.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// `iat`.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// `exp`, after clamping.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The authority that will sign, by its key id.
    #[must_use]
    pub fn authority_id(&self) -> &str {
        &self.issuer.key_id
    }

    /// Exchanges the receipt of its record for bytes to sign.
    ///
    /// # Errors
    /// [`ReceiptMismatch`] when the receipt is bound to anything else.
    pub fn redeem(self, receipt: Receipt) -> Result<JwtToBeSigned, ReceiptMismatch> {
        if *receipt.binding() != self.binding() {
            return Err(ReceiptMismatch);
        }
        Ok(JwtToBeSigned { prepared: self })
    }
}

impl fmt::Debug for PreparedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedJwt")
            .field("spiffe_id", &self.spiffe_id)
            .field("jti", &self.jti)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A token whose record is durable: the bytes to sign. Made only by
/// [`PreparedJwt::redeem`].
#[must_use = "recorded but not signed: the token does not exist yet"]
#[derive(Debug)]
pub struct JwtToBeSigned {
    prepared: PreparedJwt,
}

impl JwtToBeSigned {
    /// The JWS signing input, to be given to the authority's signer as it is.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.prepared.text.as_bytes()
    }

    /// Puts the token together after verifying the signature.
    ///
    /// # Errors
    /// When the signature has not its key's form or does not verify.
    pub fn finish(self, signature: &[u8]) -> Result<JwtSvid, FinishError> {
        let verified = self
            .prepared
            .issuer
            .public_key
            .verify(self.bytes(), signature);
        verified.or(Err(FinishError::DoesNotVerify))?;
        self.assemble(signature)
    }

    /// For signatures of this process's own signer; see the X.509 counterpart.
    fn assemble(self, signature: &[u8]) -> Result<JwtSvid, FinishError> {
        let PreparedJwt {
            issuer, mut text, ..
        } = self.prepared;
        let signature =
            to_jws(issuer.public_key.key_type(), signature).ok_or(FinishError::Malformed)?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut text);
        Ok(JwtSvid {
            spiffe_id: self.prepared.spiffe_id,
            token: text.into(),
            issued_at: self.prepared.issued_at,
            expires_at: self.prepared.expires_at,
            key_id: Arc::clone(&issuer.key_id),
        })
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
