//! Prepared, recorded, signed: a JWT-SVID on its way.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{JwtSvid, SpiffeId, Timestamp};
use journal::{Binding, Receipt};
use keys::Signer;

use super::{Issuer, Jti};
use crate::signature::to_jws;
use crate::{FinishError, IssueError, ReceiptMismatch};

/// A token that passed the profile's checks and that nobody has recorded or
/// signed. It gives away no bytes: record it, then [`PreparedJwt::redeem`].
#[must_use = "a prepared token is nothing until it is recorded and signed"]
pub struct PreparedJwt {
    pub(super) issuer: Arc<Issuer>,
    pub(super) spiffe_id: SpiffeId,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) jti: Jti,
    /// Header, dot and claims, with room for the signature.
    pub(super) text: String,
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

    /// Signs what this issuer prepared. A remote signer's signature is verified; a
    /// local one's form is checked.
    pub(super) fn signed_by(
        self,
        issuer: &Arc<Issuer>,
        signer: &dyn Signer,
    ) -> Result<JwtSvid, IssueError> {
        if !Arc::ptr_eq(&self.prepared.issuer, issuer) {
            return Err(IssueError::OtherAuthority);
        }
        let signature = signer.sign(self.bytes())?;
        if signer.is_remote() {
            Ok(self.finish(&signature)?)
        } else {
            Ok(self.assemble(&signature)?)
        }
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
