//! A CA whose key this server may use: checked as a whole before its first use.

use std::fmt;
use std::sync::Arc;

use identity::{Seconds, Timestamp, TrustDomain};
use keys::{PublicKey, Signer};
use x509_parser::extensions::ParsedExtension;

use super::UpstreamFault;
use super::path::{self, find};
use crate::intermediate::{self, IntermediateToBeSigned, PreparedIntermediate};
use crate::template::authority_key_id;
use crate::x509::Issuer;
use crate::{IssueError, Refused, Serial, SubjectKey};

/// A CA above this server, with its key at hand.
pub struct UpstreamCa {
    issuer: Arc<Issuer>,
    anchor: Arc<[u8]>,
    signer: Arc<dyn Signer>,
}

impl UpstreamCa {
    /// Checks a CA before use. `certificates` holds its own certificate, then those
    /// above it; `roots` what everybody is to trust, which must hold the end of the
    /// path. A self-signed CA may be its own root.
    ///
    /// # Errors
    /// The first thing that is wrong, with what to do.
    pub fn check(
        certificates: &[&[u8]],
        roots: &[&[u8]],
        signer: Arc<dyn Signer>,
        trust_domain: &TrustDomain,
        now: Timestamp,
    ) -> Result<Self, UpstreamFault> {
        let der = certificates.first().ok_or(UpstreamFault::Empty)?;
        let certificate = path::parse(1, der)?;
        let public_key: &PublicKey = signer.public_key();
        if certificate.tbs_certificate.subject_pki.raw != public_key.spki_der() {
            return Err(UpstreamFault::OtherKey);
        }
        if roots.is_empty() {
            return Err(UpstreamFault::NoRoot);
        }
        let path = find(certificates, roots, trust_domain, now)?;
        if path.room == Some(0) {
            return Err(UpstreamFault::PathLength(1, 1));
        }
        let mut extensions = certificate.iter_extensions();
        let key_id = extensions
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
                _ => None,
            })
            .filter(|id| (1..=64).contains(&id.len()))
            .ok_or(UpstreamFault::NotACa(1, "has no subject key identifier"))?;
        let issuer = Issuer {
            trust_domain: trust_domain.clone(),
            name: certificate.subject().as_raw().to_vec(),
            key_id: key_id.to_vec(),
            authority_key_id: authority_key_id(key_id),
            id: crate::certificate::hex(key_id).into(),
            public_key: public_key.clone(),
            certificate: Arc::from(*der),
            chain: path.below_root,
            not_before: path.not_before,
            not_after: path.not_after,
            room: path.room,
        };
        Ok(Self {
            issuer: Arc::new(issuer),
            anchor: path.anchor,
            signer,
        })
    }

    /// The CA's certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> &Arc<[u8]> {
        &self.issuer.certificate
    }

    /// The root that it leads to, DER.
    #[must_use]
    pub const fn anchor(&self) -> &Arc<[u8]> {
        &self.anchor
    }

    /// The CA's id: its subject key identifier in lowercase hex.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.issuer.id
    }

    /// When it, or whatever is above it, expires.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.issuer.not_after
    }

    /// Prepares an intermediate for a key of this server. `levels` is how many
    /// levels of servers there may be below it.
    ///
    /// # Errors
    /// When it may not be signed; nothing was recorded.
    pub fn prepare(
        &self,
        key: &SubjectKey,
        lifetime: Seconds,
        serial: Serial,
        now: Timestamp,
        levels: u32,
    ) -> Result<PreparedIntermediate, Refused> {
        intermediate::prepare(&self.issuer, key, lifetime, (serial, now), levels)
    }

    /// Signs what this CA prepared: the intermediate, then what is above it.
    ///
    /// # Errors
    /// Another CA prepared it, the signer failed or the result is wrong.
    pub fn sign(&self, recorded: IntermediateToBeSigned) -> Result<Vec<Arc<[u8]>>, IssueError> {
        recorded.sign(&self.issuer, self.signer.as_ref())
    }
}

impl fmt::Debug for UpstreamCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamCa")
            .field("id", &self.issuer.id)
            .field("not_after", &self.issuer.not_after)
            .finish_non_exhaustive()
    }
}
