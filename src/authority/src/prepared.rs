//! Prepared, recorded, signed: an X.509-SVID on its way.

use std::fmt;
use std::sync::Arc;

use identity::{SpiffeId, Timestamp, X509Svid};
use journal::{Binding, Receipt};
use keys::der::{self, BIT_STRING, SEQUENCE};

use crate::signature::{algorithm_identifier, is_well_formed};
use crate::template::Leaf;
use crate::x509::Issuer;
use crate::{FinishError, ReceiptMismatch, Serial, lint};

/// A certificate that passed the profile's checks and lints, and that nobody has
/// recorded or signed. It gives away no bytes: record it, then [`PreparedX509::redeem`].
#[must_use = "a prepared certificate is nothing until it is recorded and signed"]
pub struct PreparedX509 {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) leaf: Leaf,
    pub(crate) tbs: Vec<u8>,
}

impl PreparedX509 {
    /// What the record must be bound to: the serial number.
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding::of(self.leaf.serial.as_bytes())
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.leaf.serial
    }

    /// The identity.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.leaf.spiffe_id
    }

    /// The certified key, DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        self.leaf.key.spki_der()
    }

    /// Start of validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.leaf.not_before
    }

    /// End of validity, after clamping.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.leaf.not_after
    }

    /// The authority that will sign, by the hex of its subject key identifier.
    #[must_use]
    pub fn authority_id(&self) -> &str {
        &self.issuer.id
    }

    /// Exchanges the receipt of its record for bytes to sign.
    ///
    /// # Errors
    /// [`ReceiptMismatch`] when the receipt is bound to anything else.
    pub fn redeem(self, receipt: Receipt) -> Result<ToBeSigned, ReceiptMismatch> {
        if *receipt.binding() != self.binding() {
            return Err(ReceiptMismatch);
        }
        Ok(ToBeSigned { prepared: self })
    }
}

impl fmt::Debug for PreparedX509 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedX509")
            .field("spiffe_id", &self.leaf.spiffe_id)
            .field("serial", &self.leaf.serial)
            .field("not_after", &self.leaf.not_after)
            .finish_non_exhaustive()
    }
}

/// A certificate whose record is durable: the bytes to sign. Made only by
/// [`PreparedX509::redeem`].
#[must_use = "recorded but not signed: the credential does not exist yet"]
#[derive(Debug)]
pub struct ToBeSigned {
    prepared: PreparedX509,
}

impl ToBeSigned {
    /// The DER TBSCertificate, to be given to the authority's signer as it is.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.prepared.tbs
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.prepared.leaf.serial
    }

    /// Whether this authority prepared it.
    pub(crate) fn is_of(&self, issuer: &Arc<Issuer>) -> bool {
        Arc::ptr_eq(&self.prepared.issuer, issuer)
    }

    /// Puts the certificate together and checks it again: the signature has its
    /// key's form and verifies, and the certificate says exactly what was prepared.
    ///
    /// # Errors
    /// When a check fails; nothing of the credential remains.
    pub fn finish(self, signature: &[u8]) -> Result<X509Svid, FinishError> {
        let verified = self
            .prepared
            .issuer
            .public_key
            .verify(&self.prepared.tbs, signature);
        verified.or(Err(FinishError::DoesNotVerify))?;
        self.assemble(signature)
    }

    /// As [`ToBeSigned::finish`], for a signature that came straight out of this
    /// process's own signer: its form is checked, but verifying it would cost
    /// three times what making it did, and tell only of broken hardware.
    pub(crate) fn assemble(self, signature: &[u8]) -> Result<X509Svid, FinishError> {
        let PreparedX509 { issuer, leaf, tbs } = self.prepared;
        let key_type = issuer.public_key.key_type();
        if !is_well_formed(key_type, signature) {
            return Err(FinishError::Malformed);
        }
        let algorithm = algorithm_identifier(key_type);
        let content =
            tbs.len() + algorithm.len() + der::element_len(signature.len().saturating_add(1));
        let mut out = Vec::with_capacity(der::element_len(content));
        der::put_header(&mut out, SEQUENCE, content);
        out.extend_from_slice(&tbs);
        out.extend_from_slice(algorithm);
        der::put_header(&mut out, BIT_STRING, signature.len().saturating_add(1));
        out.push(0);
        out.extend_from_slice(signature);
        lint::certificate(&out, &issuer, &leaf)?;
        let mut chain = Vec::with_capacity(1 + issuer.chain.len());
        chain.push(out.into());
        chain.extend(issuer.chain.iter().cloned());
        Ok(X509Svid {
            spiffe_id: leaf.spiffe_id,
            chain,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
        })
    }
}
