//! Certificates of authorities below another: this server's own under an upstream
//! CA, and those of downstream servers under this one. Prepared, recorded, signed,
//! as leaves are; of a request only its key counts.

use std::fmt;
use std::sync::Arc;

use identity::{Seconds, Timestamp};
use journal::{Binding, Receipt};
use keys::Signer;
use keys::der::{self, BIT_STRING, OCTET_STRING, OID, SEQUENCE};

use crate::signature::{algorithm_identifier, is_well_formed};
use crate::x509::Issuer;
use crate::{
    BACKDATE, FinishError, IssueError, ReceiptMismatch, Refused, Serial, SubjectKey, time,
};

const BOOLEAN_TRUE: [u8; 3] = [0x01, 0x01, 0xff];
const SET: u8 = 0x31;
const PRINTABLE: u8 = 0x13;
const VERSION_3: [u8; 5] = [0xa0, 0x03, 0x02, 0x01, 0x02];
const EXTENSIONS: u8 = 0xa3;
const URI: u8 = 0x86;

/// The certificate of an authority that passed the profile's checks, and that nobody
/// has recorded or signed.
#[must_use = "a prepared certificate is nothing until it is recorded and signed"]
pub struct PreparedIntermediate {
    issuer: Arc<Issuer>,
    serial: Serial,
    not_after: Timestamp,
    tbs: Vec<u8>,
}

/// The same with a durable record: the bytes to sign.
#[must_use = "recorded but not signed: the certificate does not exist yet"]
pub struct IntermediateToBeSigned(PreparedIntermediate);

/// Prepares the certificate of an authority below `issuer`.
pub(crate) fn prepare(
    issuer: &Arc<Issuer>,
    key: &SubjectKey,
    lifetime: Seconds,
    (serial, now): (Serial, Timestamp),
    levels: u32,
) -> Result<PreparedIntermediate, Refused> {
    if key.spki_der() == issuer.public_key.spki_der() {
        return Err(Refused::AuthorityKey);
    }
    if lifetime.0 == 0 {
        return Err(Refused::NoLifetime);
    }
    if now >= issuer.not_after {
        let not_after = issuer.not_after;
        return Err(Refused::AuthorityExpired { not_after });
    }
    if now < issuer.not_before {
        return Err(Refused::Clock);
    }
    let path_length = match issuer.room {
        Some(0) => return Err(Refused::NoRoom),
        Some(room) => levels.min(room - 1),
        None => levels,
    };
    let not_before = now.minus(BACKDATE).max(issuer.not_before);
    let not_after = now.plus(lifetime).min(issuer.not_after);
    let tbs = write(issuer, key, serial, (not_before, not_after), path_length);
    Ok(PreparedIntermediate {
        issuer: Arc::clone(issuer),
        serial,
        not_after,
        tbs: tbs.ok_or(Refused::Clock)?,
    })
}

impl PreparedIntermediate {
    /// What the record must be bound to: the serial number.
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding::of(self.serial.as_bytes())
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.serial
    }

    /// End of validity, after clamping.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
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
    pub fn redeem(self, receipt: Receipt) -> Result<IntermediateToBeSigned, ReceiptMismatch> {
        if *receipt.binding() != self.binding() {
            return Err(ReceiptMismatch);
        }
        Ok(IntermediateToBeSigned(self))
    }
}

impl IntermediateToBeSigned {
    /// Has it signed, verifies the signature, and gives the certificate and what is
    /// above it, without the root.
    pub(crate) fn sign(
        self,
        issuer: &Arc<Issuer>,
        signer: &dyn Signer,
    ) -> Result<Vec<Arc<[u8]>>, IssueError> {
        let PreparedIntermediate {
            issuer: prepared_by,
            tbs,
            ..
        } = self.0;
        if !Arc::ptr_eq(&prepared_by, issuer) {
            return Err(IssueError::OtherAuthority);
        }
        let signature = signer.sign(&tbs)?;
        let key_type = issuer.public_key.key_type();
        if !is_well_formed(key_type, &signature) {
            return Err(FinishError::Malformed.into());
        }
        let verified = issuer.public_key.verify(&tbs, &signature);
        verified.or(Err(FinishError::DoesNotVerify))?;
        let mut content = tbs;
        content.extend_from_slice(algorithm_identifier(key_type));
        der::put_header(&mut content, BIT_STRING, signature.len().saturating_add(1));
        content.push(0);
        content.extend_from_slice(&signature);
        let mut certificate = Vec::with_capacity(content.len() + 4);
        der::put(&mut certificate, SEQUENCE, &content);
        let mut chain: Vec<Arc<[u8]>> = vec![certificate.into()];
        chain.extend(issuer.chain.iter().cloned());
        Ok(chain)
    }
}

impl fmt::Debug for PreparedIntermediate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedIntermediate")
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IntermediateToBeSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn write(
    issuer: &Issuer,
    key: &SubjectKey,
    serial: Serial,
    (not_before, not_after): (Timestamp, Timestamp),
    path_length: u32,
) -> Option<Vec<u8>> {
    let mut content = VERSION_3.to_vec();
    der::put_unsigned(&mut content, serial.as_bytes());
    content.extend_from_slice(algorithm_identifier(issuer.public_key.key_type()));
    content.extend_from_slice(&issuer.name);
    let mut validity = time::encode(not_before)?.as_bytes().to_vec();
    validity.extend_from_slice(time::encode(not_after)?.as_bytes());
    der::put(&mut content, SEQUENCE, &validity);
    der::put(&mut content, SEQUENCE, &subject(serial));
    content.extend_from_slice(key.spki_der());
    let mut extensions = issuer.authority_key_id.clone();
    let mut name = Vec::new();
    der::put(&mut name, URI, issuer.trust_domain.id().as_str().as_bytes());
    put_extension(&mut extensions, 17, false, &nested(SEQUENCE, &name));
    // keyCertSign and cRLSign.
    put_extension(&mut extensions, 15, true, &[BIT_STRING, 2, 1, 0x06]);
    put_extension(
        &mut extensions,
        14,
        false,
        &nested(OCTET_STRING, key.key_id()),
    );
    let mut constraints = BOOLEAN_TRUE.to_vec();
    der::put_unsigned(&mut constraints, &path_length.to_be_bytes());
    put_extension(&mut extensions, 19, true, &nested(SEQUENCE, &constraints));
    der::put(&mut content, EXTENSIONS, &nested(SEQUENCE, &extensions));
    Some(nested(SEQUENCE, &content))
}

/// `C=US, O=SPIFFE, serialNumber=…`, as self-signed authorities have it.
fn subject(serial: Serial) -> Vec<u8> {
    let mut out = Vec::new();
    let number = serial.to_string();
    for (attribute, value) in [(6, "US"), (10, "SPIFFE"), (5, number.as_str())] {
        let mut pair = vec![OID, 3, 0x55, 0x04, attribute];
        der::put(&mut pair, PRINTABLE, value.as_bytes());
        der::put(&mut out, SET, &nested(SEQUENCE, &pair));
    }
    out
}

/// An extension `2.5.29.number`.
fn put_extension(out: &mut Vec<u8>, number: u8, critical: bool, value: &[u8]) {
    let mut content = vec![OID, 3, 0x55, 0x1d, number];
    if critical {
        content.extend_from_slice(&BOOLEAN_TRUE);
    }
    der::put(&mut content, OCTET_STRING, value);
    der::put(out, SEQUENCE, &content);
}

fn nested(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    der::put(&mut out, tag, content);
    out
}
