//! The X.509 authority: a signing certificate, its key, and the profile of what
//! they may sign.

use std::fmt;
use std::sync::Arc;

use identity::{
    MAX_DNS_NAMES, Seconds, SpiffeId, Timestamp, TrustDomain, X509Svid, dns_name_fault,
};
use keys::{PublicKey, Signer};

use crate::template::{self, Leaf};
use crate::{
    AuthorityError, IntermediateToBeSigned, IssueError, PreparedIntermediate, PreparedX509,
    Refused, Serial, SubjectKey, ToBeSigned, certificate, intermediate, lint, time,
};

/// How far before now a certificate begins, so that a verifier whose clock runs
/// behind accepts it at once.
pub const BACKDATE: Seconds = Seconds(60);

/// The longest DNS name in a certificate, in bytes (RFC 1035 section 2.3.4).
pub const MAX_DNS_NAME_BYTES: usize = 253;

/// What a new authority's certificate says.
#[derive(Clone, Copy, Debug)]
pub struct AuthorityTerms {
    /// Its serial number.
    pub serial: Serial,
    /// The present.
    pub now: Timestamp,
    /// How long it lives, from now.
    pub lifetime: Seconds,
    /// How far before now it begins; usually [`BACKDATE`].
    pub backdate: Seconds,
}

/// Whom a leaf names: straight from the registration entry.
#[derive(Clone, Copy, Debug)]
pub struct LeafSubject<'a> {
    /// The SPIFFE ID, with a path.
    pub spiffe_id: &'a SpiffeId,
    /// DNS names, in order; the first becomes the common name.
    pub dns_names: &'a [String],
}

/// What every leaf of an authority shares.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) trust_domain: TrustDomain,
    /// The subject, DER.
    pub(crate) name: Vec<u8>,
    pub(crate) key_id: Vec<u8>,
    /// The extension, DER.
    pub(crate) authority_key_id: Vec<u8>,
    /// Hex of the key identifier.
    pub(crate) id: Arc<str>,
    pub(crate) public_key: PublicKey,
    pub(crate) certificate: Arc<[u8]>,
    /// What follows the leaf in an SVID: nothing under a self-signed authority.
    pub(crate) chain: Vec<Arc<[u8]>>,
    /// The latest start of the certificate and those above it.
    pub(crate) not_before: Timestamp,
    /// The earliest end of the certificate and those above it.
    pub(crate) not_after: Timestamp,
    /// How many authorities may stand below it; `None` is any number.
    pub(crate) room: Option<u32>,
}

/// An authority that signs X.509-SVIDs of one trust domain.
pub struct X509Authority {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) signer: Arc<dyn Signer>,
}

impl X509Authority {
    /// Makes a self-signed authority: URI SAN `spiffe://<trust domain>`, key usage
    /// keyCertSign and cRLSign, CA true. Signs at once: the caller records the
    /// authority's creation before publishing it.
    ///
    /// # Errors
    /// When the terms cannot be expressed or the signer fails.
    pub fn create_self_signed(
        trust_domain: &TrustDomain,
        signer: Arc<dyn Signer>,
        terms: &AuthorityTerms,
    ) -> Result<Self, AuthorityError> {
        let der = certificate::self_signed(trust_domain, &signer, terms)?;
        Self::load(&der, &[], signer, terms.now)
    }

    /// Takes a signing certificate back into use. `chain` holds the certificates
    /// between it and the published root, nearest first, without the root.
    ///
    /// # Errors
    /// When the certificate is not a SPIFFE signing certificate for that key, or
    /// is not valid now.
    pub fn load(
        certificate_der: &[u8],
        chain: &[&[u8]],
        signer: Arc<dyn Signer>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let issuer = certificate::read(certificate_der, chain, signer.public_key())?;
        if issuer.not_after <= now {
            return Err(AuthorityError::Expired(issuer.not_after));
        }
        if issuer.not_before > now {
            return Err(AuthorityError::NotYetValid(issuer.not_before));
        }
        Ok(Self {
            issuer: Arc::new(issuer),
            signer,
        })
    }

    /// The authority's id: its subject key identifier in lowercase hex, as SPIRE has it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.issuer.id
    }

    /// The trust domain it signs for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.issuer.trust_domain
    }

    /// The signing certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> &Arc<[u8]> {
        &self.issuer.certificate
    }

    /// The certificates that follow a leaf in its SVID: empty for a self-signed authority.
    #[must_use]
    pub fn chain(&self) -> &[Arc<[u8]>] {
        &self.issuer.chain
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.issuer.public_key
    }

    /// When it becomes valid.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.issuer.not_before
    }

    /// When it, or whatever is above it, expires: no leaf lives longer.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.issuer.not_after
    }

    /// Whether its signer is remote, so that [`X509Authority::sign`] may block for long.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.signer.is_remote()
    }

    /// The same authority, which signs nothing that lives beyond `end`: the end of the
    /// root above an intermediate, which its chain does not hold.
    #[must_use]
    pub fn ending_by(mut self, end: Timestamp) -> Self {
        if end < self.issuer.not_after {
            let mut issuer = Issuer::clone(&self.issuer);
            issuer.not_after = end;
            self.issuer = Arc::new(issuer);
        }
        self
    }

    /// Prepares the certificate of a downstream server's authority. `levels` is how
    /// many levels of servers there may be below that one.
    ///
    /// # Errors
    /// When it may not be signed; nothing was recorded.
    pub fn prepare_downstream(
        &self,
        key: &SubjectKey,
        lifetime: Seconds,
        serial: Serial,
        now: Timestamp,
        levels: u32,
    ) -> Result<PreparedIntermediate, Refused> {
        intermediate::prepare(&self.issuer, key, lifetime, (serial, now), levels)
    }

    /// Signs a downstream server's authority: its certificate, then what is above it,
    /// without the root.
    ///
    /// # Errors
    /// When another authority prepared it, the signer fails or the result is wrong.
    pub fn sign_downstream(
        &self,
        recorded: IntermediateToBeSigned,
    ) -> Result<Vec<Arc<[u8]>>, IssueError> {
        recorded.sign(&self.issuer, self.signer.as_ref())
    }

    /// Prepares a leaf. It begins [`BACKDATE`] before now (never before the
    /// authority) and ends `ttl` after now or with the authority, whichever is first.
    ///
    /// # Errors
    /// When the profile forbids it; nothing was recorded or signed.
    pub fn prepare(
        &self,
        subject: &LeafSubject<'_>,
        key: &SubjectKey,
        ttl: Seconds,
        serial: Serial,
        now: Timestamp,
    ) -> Result<PreparedX509, Refused> {
        let earliest = self.issuer.not_before;
        self.prepare_after(subject, key, ttl, serial, now, earliest)
    }

    /// As [`X509Authority::prepare`], for a leaf that begins at `earliest` or later:
    /// what was issued to its ID before that is revoked, and this is not.
    ///
    /// # Errors
    /// As [`X509Authority::prepare`].
    pub fn prepare_after(
        &self,
        subject: &LeafSubject<'_>,
        key: &SubjectKey,
        ttl: Seconds,
        serial: Serial,
        now: Timestamp,
        earliest: Timestamp,
    ) -> Result<PreparedX509, Refused> {
        let issuer = &self.issuer;
        check_subject(issuer, subject)?;
        if key.spki_der() == issuer.public_key.spki_der() {
            return Err(Refused::AuthorityKey);
        }
        if ttl.0 == 0 {
            return Err(Refused::NoLifetime);
        }
        if now >= issuer.not_after {
            return Err(Refused::AuthorityExpired {
                not_after: issuer.not_after,
            });
        }
        if now < issuer.not_before {
            return Err(Refused::Clock);
        }
        let leaf = Leaf {
            spiffe_id: subject.spiffe_id.clone(),
            dns_names: subject.dns_names.to_vec(),
            key: key.clone(),
            serial,
            not_before: now.minus(BACKDATE).max(issuer.not_before).max(earliest),
            not_after: now.plus(ttl).min(issuer.not_after),
        };
        let begin = time::encode(leaf.not_before).ok_or(Refused::Clock)?;
        let end = time::encode(leaf.not_after).ok_or(Refused::Clock)?;
        let tbs = template::write(issuer, &leaf, &begin, &end);
        lint::to_be_signed(&tbs, issuer, &leaf)?;
        Ok(PreparedX509 {
            issuer: Arc::clone(issuer),
            leaf,
            tbs,
        })
    }

    /// Signs with this authority's signer and finishes. A remote signer's
    /// signature is verified; a local one's form is checked.
    ///
    /// # Errors
    /// When another authority prepared it, the signer fails or the result is wrong.
    pub fn sign(&self, recorded: ToBeSigned) -> Result<X509Svid, IssueError> {
        if !recorded.is_of(&self.issuer) {
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

fn check_subject(issuer: &Issuer, subject: &LeafSubject<'_>) -> Result<(), Refused> {
    if subject.spiffe_id.trust_domain_str() != issuer.trust_domain.as_str() {
        return Err(Refused::OtherTrustDomain {
            id: subject.spiffe_id.clone(),
            authority: issuer.trust_domain.clone(),
        });
    }
    if !subject.spiffe_id.has_path() {
        return Err(Refused::NoPath(subject.spiffe_id.clone()));
    }
    if subject.dns_names.len() > MAX_DNS_NAMES {
        return Err(Refused::TooManyDnsNames(subject.dns_names.len()));
    }
    for name in subject.dns_names {
        if let Some(why) = dns_name_fault(name) {
            return Err(Refused::DnsName {
                name: name.chars().take(MAX_DNS_NAME_BYTES).collect(),
                why,
            });
        }
    }
    Ok(())
}

impl fmt::Debug for X509Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Authority")
            .field("id", &self.issuer.id)
            .field("trust_domain", &self.issuer.trust_domain)
            .field("not_after", &self.issuer.not_after)
            .finish_non_exhaustive()
    }
}
