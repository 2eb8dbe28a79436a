//! What is void before it expires: the signed list of a trust domain, and the checks
//! against it.
//!
//! A list is believed when a JWT key of its trust domain's bundle, which is not
//! tainted, signed it, and it replaces only a list with a lower sequence number: an
//! attacker who repeats an old list takes nothing back. A list that fails either is
//! an error, and the one in hand stays in force.
//!
//! **A stale list keeps its force.** What it names stays refused however old it is.
//! What it does not name is accepted unless [`RevocationCheck::max_age`] says how old
//! a list may be to say so; whoever must know of a revocation within minutes sets it
//! and refuses everything while no newer list can be had.

mod document;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use identity::{
    Bundle, CertificateSerial, RevocationList, Revoked, Seconds, SpiffeId, Timestamp, TrustDomain,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::jwt::number;
use crate::{BundleSource, JwtFault, ScopedToken, VerifiedJwt, VerifiedX509, X509Fault};
use crate::{verify_jwt_svid, verify_x509_svid};

pub use document::{MAX_LIST_BYTES, MAX_LIST_ENTRIES, RevocationListFault};

/// Everything that is revoked in one trust domain, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    trust_domain: TrustDomain,
    sequence: u64,
    issued_at: Timestamp,
    next_update: Timestamp,
    serials: BTreeSet<CertificateSerial>,
    jtis: BTreeSet<Arc<str>>,
    ids: BTreeMap<SpiffeId, RevokedId>,
}

/// How an ID is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RevokedId {
    /// Everything issued at or before this is void.
    issued_until: Timestamp,
    /// Everything is.
    until_lifted: bool,
}

/// Why an SVID that is otherwise good is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokedFault {
    /// The certificate itself, or one of its chain.
    #[error("certificate {0} is revoked")]
    Serial(CertificateSerial),
    /// The token itself.
    #[error("token is revoked (jti {0})")]
    Jti(Arc<str>),
    /// Everything that was issued to the ID up to a moment.
    #[error("what was issued to {id} up to {} (Unix time) is revoked; ask for a new SVID", issued_until.0)]
    Issued {
        /// Whose.
        id: SpiffeId,
        /// Up to when.
        issued_until: Timestamp,
    },
    /// Everything of the ID, until an administrator lifts it.
    #[error("{0} is revoked until an administrator lifts it")]
    Id(SpiffeId),
    /// No list of the trust domain is known, and one is required.
    #[error("no revocation list of trust domain {0} is known, and one is required here")]
    NoList(TrustDomain),
    /// The list is too old to say that something is not revoked.
    #[error(
        "the revocation list of trust domain {trust_domain} is {age} s old; at most {max_age} s are allowed here"
    )]
    Stale {
        /// Whose list.
        trust_domain: TrustDomain,
        /// How old it is.
        age: u32,
        /// How old it may be.
        max_age: u32,
    },
}

impl Revocations {
    /// Takes a list over from whoever may make one; [`Revocations::read`] is for lists
    /// that come from elsewhere.
    #[must_use]
    pub fn of(list: &RevocationList) -> Self {
        let mut made = Self {
            trust_domain: list.trust_domain.clone(),
            sequence: list.sequence,
            issued_at: list.issued_at,
            next_update: list.next_update,
            serials: BTreeSet::new(),
            jtis: BTreeSet::new(),
            ids: BTreeMap::new(),
        };
        for entry in &list.entries {
            match &entry.what {
                Revoked::Serial(serial) => {
                    made.serials.insert(serial.clone());
                }
                Revoked::Jti(jti) => {
                    made.jtis.insert(Arc::clone(jti));
                }
                Revoked::Id(id) => {
                    let how = RevokedId {
                        issued_until: entry.at,
                        until_lifted: entry.is_until_lifted(),
                    };
                    made.ids.insert(id.clone(), how);
                }
            }
        }
        made
    }

    /// Reads a signed list and decides whether it may replace the one in hand.
    ///
    /// # Errors
    /// It is not signed by a key of the bundle that may be relied on, is of another
    /// trust domain, is malformed, or is not newer: keep what is in hand.
    pub fn read(
        list: &str,
        bundle: &Bundle,
        held: Option<&Self>,
    ) -> Result<Self, RevocationListFault> {
        let read = document::read(list, bundle)?;
        let newest = held.map_or(0, |held| held.sequence);
        if held.is_some() && read.sequence <= newest {
            return Err(RevocationListFault::NotNewer {
                sequence: read.sequence,
                held: newest,
            });
        }
        Ok(read)
    }

    /// Reads a list that was believed before and kept where nobody else writes: the
    /// key that signed it may have left the bundle since, and what it revoked stays
    /// revoked.
    ///
    /// # Errors
    /// It is malformed or of another trust domain.
    pub fn reread(list: &str, trust_domain: &TrustDomain) -> Result<Self, RevocationListFault> {
        document::reread(list, trust_domain)
    }

    /// Whose SVIDs it is about.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its number; never decreases.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it was made.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// By when a newer one is there, if all goes well.
    #[must_use]
    pub const fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// How many serials, tokens and IDs it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.serials.len() + self.jtis.len() + self.ids.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether everything of an ID is void, however new it is.
    #[must_use]
    pub fn bars(&self, id: &SpiffeId) -> bool {
        self.ids.get(id).is_some_and(|how| how.until_lifted)
    }

    /// The IDs of which everything is void.
    pub fn barred(&self) -> impl Iterator<Item = &SpiffeId> {
        let barred = self.ids.iter().filter(|(_, how)| how.until_lifted);
        barred.map(|(id, _)| id)
    }

    /// Refuses a certificate: its serial, or its ID with the start of its validity.
    ///
    /// # Errors
    /// What revokes it.
    pub fn check_certificate(
        &self,
        id: &SpiffeId,
        serial: &CertificateSerial,
        not_before: Timestamp,
    ) -> Result<(), RevokedFault> {
        self.check_serial(serial)?;
        self.check_id(id, Some(not_before))
    }

    /// Refuses a token: its `jti`, or its ID with its `iat`.
    ///
    /// # Errors
    /// What revokes it.
    pub fn check_token(
        &self,
        id: &SpiffeId,
        jti: Option<&str>,
        issued_at: Option<Timestamp>,
    ) -> Result<(), RevokedFault> {
        if let Some(jti) = jti.and_then(|jti| self.jtis.get(jti)) {
            return Err(RevokedFault::Jti(Arc::clone(jti)));
        }
        self.check_id(id, issued_at)
    }

    fn check_serial(&self, serial: &CertificateSerial) -> Result<(), RevokedFault> {
        if self.serials.contains(serial) {
            return Err(RevokedFault::Serial(serial.clone()));
        }
        Ok(())
    }

    /// What does not say when it was issued is as old as anything.
    fn check_id(&self, id: &SpiffeId, issued: Option<Timestamp>) -> Result<(), RevokedFault> {
        match self.ids.get(id) {
            None => Ok(()),
            Some(how) if how.until_lifted => Err(RevokedFault::Id(id.clone())),
            Some(how) if issued.is_some_and(|at| at > how.issued_until) => Ok(()),
            Some(how) => Err(RevokedFault::Issued {
                id: id.clone(),
                issued_until: how.issued_until,
            }),
        }
    }
}

/// Looks revocations up by trust domain.
pub trait RevocationSource {
    /// The list of exactly that trust domain, if one is known.
    fn revocations(&self, trust_domain: &TrustDomain) -> Option<Arc<Revocations>>;
}

impl RevocationSource for Option<Arc<Revocations>> {
    fn revocations(&self, trust_domain: &TrustDomain) -> Option<Arc<Revocations>> {
        let own = self.as_ref()?;
        (own.trust_domain == *trust_domain).then(|| Arc::clone(own))
    }
}

impl<S: std::hash::BuildHasher> RevocationSource for HashMap<TrustDomain, Arc<Revocations>, S> {
    fn revocations(&self, trust_domain: &TrustDomain) -> Option<Arc<Revocations>> {
        self.get(trust_domain).cloned()
    }
}

/// How revocations are asked after.
#[derive(Clone, Copy)]
pub struct RevocationCheck<'a> {
    /// The lists that are known.
    pub lists: &'a dyn RevocationSource,
    /// Refuse SVIDs of a trust domain whose list is not known.
    pub required: bool,
    /// Refuse everything by a list older than this; `None` takes any age.
    pub max_age: Option<Seconds>,
}

impl<'a> RevocationCheck<'a> {
    /// What is known counts; what is not known, or old, is no reason to refuse.
    #[must_use]
    pub const fn of(lists: &'a dyn RevocationSource) -> Self {
        Self {
            lists,
            required: false,
            max_age: None,
        }
    }

    /// Refuses a scoped token that [`crate::verify_scoped_token`] accepted.
    ///
    /// # Errors
    /// What revokes it, or that the list is missing or too old.
    pub fn scoped(&self, token: &ScopedToken, now: Timestamp) -> Result<(), RevokedFault> {
        let list = self.list(&token.spiffe_id.trust_domain(), now)?;
        let issued_at = token.claims.get("iat").and_then(number);
        list.map_or(Ok(()), |list| {
            list.check_token(&token.spiffe_id, token.jti.as_deref(), issued_at)
        })
    }

    fn list(
        &self,
        trust_domain: &TrustDomain,
        now: Timestamp,
    ) -> Result<Option<Arc<Revocations>>, RevokedFault> {
        let Some(list) = self.lists.revocations(trust_domain) else {
            return if self.required {
                Err(RevokedFault::NoList(trust_domain.clone()))
            } else {
                Ok(None)
            };
        };
        let age = now.since(list.issued_at);
        match self.max_age {
            Some(most) if age > most => Err(RevokedFault::Stale {
                trust_domain: trust_domain.clone(),
                age: age.0,
                max_age: most.0,
            }),
            _ => Ok(Some(list)),
        }
    }
}

/// As [`verify_jwt_svid`], and not revoked.
///
/// # Errors
/// The first rule broken; [`JwtFault::Revoked`] when it is revoked.
pub fn verify_jwt_svid_not_revoked(
    token: &str,
    audience: &str,
    bundles: &dyn BundleSource,
    revocations: RevocationCheck<'_>,
    now: Timestamp,
    leeway: Seconds,
) -> Result<VerifiedJwt, JwtFault> {
    let verified = verify_jwt_svid(token, audience, bundles, now, leeway)?;
    let list = revocations.list(&verified.spiffe_id.trust_domain(), now)?;
    if let Some(list) = list {
        let jti = verified.claims.get("jti").and_then(|jti| jti.as_str());
        let issued_at = verified.claims.get("iat").and_then(number);
        list.check_token(&verified.spiffe_id, jti, issued_at)?;
    }
    Ok(verified)
}

/// As [`verify_x509_svid`], and neither the leaf nor what signed it is revoked.
///
/// # Errors
/// The first rule broken; [`X509Fault::Revoked`] when it is revoked.
pub fn verify_x509_svid_not_revoked(
    chain: &[&[u8]],
    bundle: &Bundle,
    revocations: RevocationCheck<'_>,
    now: Timestamp,
) -> Result<VerifiedX509, X509Fault> {
    let verified = verify_x509_svid(chain, bundle, now)?;
    let list = revocations.list(&bundle.trust_domain, now)?;
    if let Some(list) = list {
        let (id, serial) = (&verified.spiffe_id, &verified.serial);
        list.check_certificate(id, serial, verified.not_before)?;
        for der in chain.iter().skip(1) {
            let (_, above) = X509Certificate::from_der(der).or(Err(X509Fault::Encoding(1)))?;
            list.check_serial(&CertificateSerial::new(above.tbs_certificate.raw_serial()))?;
        }
    }
    Ok(verified)
}
