//! Certificate revocation lists (RFC 5280 section 5): version 2, complete, direct,
//! signed by the authority whose certificates they name.
//!
//! Written by hand, since the issuer's name must be the certificate's own bytes: a
//! verifier matches the two.

use identity::{CertificateSerial, Timestamp};
use keys::der::{self, BIT_STRING, OCTET_STRING, SEQUENCE};

use crate::signature::{algorithm_identifier, is_well_formed};
use crate::{FinishError, IssueError, X509Authority, time};

/// `INTEGER 1`: version 2.
const VERSION_2: [u8; 3] = [0x02, 0x01, 0x01];
const CRL_NUMBER: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x14];
const EXTENSIONS: u8 = 0xa0;

/// What a list says.
#[derive(Clone, Copy, Debug)]
pub struct CrlTerms<'a> {
    /// Larger than that of every list this authority signed before.
    pub number: u64,
    /// When it is made.
    pub this_update: Timestamp,
    /// By when the next one is there; later, strict readers trust no certificate.
    pub next_update: Timestamp,
    /// Serial numbers, each with the time of its revocation.
    pub revoked: &'a [(CertificateSerial, Timestamp)],
}

impl X509Authority {
    /// Signs a revocation list, DER. May block for as long as the signer does.
    ///
    /// # Errors
    /// The signer fails, or what it returns does not verify.
    pub fn sign_crl(&self, terms: &CrlTerms<'_>) -> Result<Vec<u8>, IssueError> {
        let key = &self.issuer.public_key;
        let algorithm = algorithm_identifier(key.key_type());
        let tbs = self.crl_to_be_signed(terms).ok_or(FinishError::Malformed)?;
        let signature = self.signer.sign(&tbs)?;
        key.verify(&tbs, &signature)
            .or(Err(FinishError::DoesNotVerify))?;
        if !is_well_formed(key.key_type(), &signature) {
            return Err(FinishError::Malformed.into());
        }
        let bits = signature.len().saturating_add(1);
        let mut out = Vec::with_capacity(tbs.len() + bits + 32);
        der::put_header(
            &mut out,
            SEQUENCE,
            tbs.len() + algorithm.len() + der::element_len(bits),
        );
        out.extend_from_slice(&tbs);
        out.extend_from_slice(algorithm);
        der::put_header(&mut out, BIT_STRING, bits);
        out.push(0);
        out.extend_from_slice(&signature);
        Ok(out)
    }

    /// The TBSCertList; `None` when a time cannot be written.
    fn crl_to_be_signed(&self, terms: &CrlTerms<'_>) -> Option<Vec<u8>> {
        let issuer = &self.issuer;
        let mut content = VERSION_2.to_vec();
        content.extend_from_slice(algorithm_identifier(issuer.public_key.key_type()));
        content.extend_from_slice(&issuer.name);
        content.extend_from_slice(time::encode(terms.this_update)?.as_bytes());
        content.extend_from_slice(time::encode(terms.next_update)?.as_bytes());
        let mut revoked = Vec::new();
        for (serial, at) in terms.revoked {
            let mut entry = Vec::new();
            der::put_unsigned(&mut entry, serial.as_bytes());
            entry.extend_from_slice(time::encode(*at)?.as_bytes());
            der::put(&mut revoked, SEQUENCE, &entry);
        }
        // Section 5.1.2.6: absent, not empty.
        if !revoked.is_empty() {
            der::put(&mut content, SEQUENCE, &revoked);
        }
        let mut extensions = issuer.authority_key_id.clone();
        extensions.extend_from_slice(&number_extension(terms.number));
        let mut list = Vec::new();
        der::put(&mut list, SEQUENCE, &extensions);
        der::put(&mut content, EXTENSIONS, &list);
        let mut out = Vec::with_capacity(der::element_len(content.len()));
        der::put(&mut out, SEQUENCE, &content);
        Some(out)
    }
}

fn number_extension(number: u64) -> Vec<u8> {
    let (mut value, mut extension, mut out) = (Vec::new(), CRL_NUMBER.to_vec(), Vec::new());
    der::put_unsigned(&mut value, &number.to_be_bytes());
    der::put(&mut extension, OCTET_STRING, &value);
    der::put(&mut out, SEQUENCE, &extension);
    out
}
