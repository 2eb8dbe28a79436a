//! Paths from a leaf to an authority, also through authorities that constrain URIs,
//! which rustls-webpki does not follow. It decides about every chain
//! ([ADR 130](../../../docs/adr/0130-one-judge-for-every-path.md)).
//!
//! webpki still parses every certificate strictly, checks every signature, and
//! judges the leaf under its issuer. What is done here is what it would do between
//! that issuer and the authority: find the way, and check times, powers, purposes
//! and name constraints on it. The search is bounded like webpki's own; a bound
//! that is reached refuses.

use std::cell::Cell;

use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, RawPublicKeyEntity, anchor_from_trusted_cert,
};
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::X509Fault;
use crate::name_constraints::{NameConstraints, Violation};
use crate::path::{Parts, fault};

/// The most certificates between leaf and authority: webpki's own bound.
const MAX_INTERMEDIATES: usize = 6;

/// What one search may cost: signatures checked, and names compared.
const MAX_SIGNATURES: usize = 100;
const MAX_COMPARISONS: usize = 20_000;

/// A certificate that may have signed another.
struct Issuer<'a> {
    der: &'a CertificateDer<'a>,
    certificate: X509Certificate<'a>,
    constraints: Result<Option<NameConstraints<'a>>, Violation>,
}

/// Why a way is not taken.
enum Stop {
    /// Look for another way.
    Here(X509Fault),
    /// Look no further.
    Everywhere(X509Fault),
}

struct Search<'p> {
    parts: &'p Parts<'p>,
    leaf: X509Certificate<'p>,
    intermediates: Vec<Issuer<'p>>,
    authorities: Vec<Issuer<'p>>,
    signatures: Cell<usize>,
    comparisons: Cell<usize>,
}

/// Finds a path, or says why the most promising one is none.
pub(crate) fn verify(parts: &Parts<'_>) -> Result<(), X509Fault> {
    let (_, leaf) = X509Certificate::from_der(&parts.leaf).or(Err(X509Fault::Encoding(0)))?;
    EndEntityCert::try_from(&parts.leaf).map_err(|error| fault(&error))?;
    let search = Search {
        parts,
        leaf,
        intermediates: parts.signing.iter().filter_map(Issuer::read).collect(),
        authorities: parts.authorities.iter().filter_map(Issuer::read).collect(),
        signatures: Cell::new(MAX_SIGNATURES),
        comparisons: Cell::new(MAX_COMPARISONS),
    };
    search.extend(&mut Vec::new()).map_err(|stop| match stop {
        Stop::Here(fault) | Stop::Everywhere(fault) => fault,
    })
}

impl<'a> Issuer<'a> {
    fn read(der: &'a CertificateDer<'a>) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        let constraints = NameConstraints::of(&certificate);
        rest.is_empty().then_some(Self {
            der,
            certificate,
            constraints,
        })
    }

    /// Whether it issued by name; proves nothing.
    fn is_named_by(&self, child: &X509Certificate<'_>) -> bool {
        self.certificate.subject().as_raw() == child.issuer().as_raw()
    }

    /// What webpki asks of one between leaf and authority, names left aside.
    fn check_between(&self, now: u64, below: usize) -> Result<(), X509Fault> {
        // Strict parsing: unknown critical extensions, versions, algorithms.
        EndEntityCert::try_from(self.der).map_err(|error| fault(&error))?;
        let refuse = |what: &str| Err(X509Fault::Path(what.to_owned()));
        let validity = self.certificate.validity();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if validity.not_before.timestamp() > now {
            return Err(X509Fault::NotYetValid);
        }
        if validity.not_after.timestamp() < now {
            return Err(X509Fault::Expired);
        }
        let Ok(Some(basic)) = self.certificate.basic_constraints() else {
            return refuse("an intermediate is no authority");
        };
        if !basic.value.ca {
            return refuse("an intermediate is no authority");
        }
        let allowed = basic.value.path_len_constraint;
        if allowed.is_some_and(|allowed| below > usize::try_from(allowed).unwrap_or(0)) {
            return refuse("more authorities below an intermediate than it allows");
        }
        match self.certificate.extended_key_usage() {
            Ok(None) => Ok(()),
            Ok(Some(purposes)) if purposes.value.client_auth => Ok(()),
            _ => refuse("an intermediate is not meant for authentication"),
        }
    }
}

impl Search<'_> {
    /// Goes on from the last certificate of `path`, which runs up from the leaf's
    /// issuer.
    fn extend(&self, path: &mut Vec<usize>) -> Result<(), Stop> {
        let mut last = X509Fault::Path("unknown issuer".into());
        for at in 0..self.authorities.len() {
            match self.arrive(path, at) {
                Ok(()) => return Ok(()),
                Err(None) => {}
                Err(Some(Stop::Here(fault))) => last = fault,
                Err(Some(everywhere)) => return Err(everywhere),
            }
        }
        if path.len() == MAX_INTERMEDIATES {
            return Err(Stop::Here(last));
        }
        for at in 0..self.intermediates.len() {
            match self.climb(path, at) {
                Err(None) => continue,
                Err(Some(Stop::Here(fault))) => last = fault,
                Err(Some(everywhere)) => return Err(everywhere),
                Ok(()) => {
                    path.push(at);
                    let outcome = self.extend(path);
                    path.pop();
                    match outcome {
                        Err(Stop::Here(fault)) => last = fault,
                        done_or_everywhere => return done_or_everywhere,
                    }
                }
            }
        }
        Err(Stop::Here(last))
    }

    /// Tries the authority as the end of the path. `None` when it is not its name.
    fn arrive(&self, path: &[usize], at: usize) -> Result<(), Option<Stop>> {
        let (Some(authority), head) = (self.authorities.get(at), self.head(path)) else {
            return Err(None);
        };
        if !authority.is_named_by(head) {
            return Err(None);
        }
        self.check_signed(head, authority).map_err(Some)?;
        self.check_names(path, authority).map_err(Some)
    }

    /// Whether the intermediate may come next on the path.
    fn climb(&self, path: &[usize], at: usize) -> Result<(), Option<Stop>> {
        let (Some(candidate), head) = (self.intermediates.get(at), self.head(path)) else {
            return Err(None);
        };
        let is_loop = path.iter().filter_map(|i| self.intermediates.get(*i));
        let mut is_loop = is_loop.map(|issuer| &issuer.certificate);
        if !candidate.is_named_by(head)
            || is_loop.any(|earlier| {
                earlier.subject().as_raw() == candidate.certificate.subject().as_raw()
                    && earlier.public_key().raw == candidate.certificate.public_key().raw
            })
        {
            return Err(None);
        }
        candidate
            .check_between(self.parts.time.as_secs(), path.len())
            .map_err(|fault| Some(Stop::Here(fault)))?;
        self.check_signed(head, candidate).map_err(Some)
    }

    /// The certificate whose issuer is looked for.
    fn head(&self, path: &[usize]) -> &X509Certificate<'_> {
        let last = path.last().and_then(|at| self.intermediates.get(*at));
        last.map_or(&self.leaf, |issuer| &issuer.certificate)
    }

    /// Every issuer's constraints against all names below it.
    fn check_names(&self, path: &[usize], authority: &Issuer<'_>) -> Result<(), Stop> {
        let mut below = vec![&self.leaf];
        let between = path.iter().filter_map(|at| self.intermediates.get(*at));
        for issuer in between.chain([authority]) {
            let constraints = match &issuer.constraints {
                Ok(constraints) => constraints.as_ref(),
                Err(violation) => return Err(stop(*violation)),
            };
            if let Some(constraints) = constraints {
                for certificate in &below {
                    constraints
                        .check(certificate, &self.comparisons)
                        .map_err(stop)?;
                }
            }
            below.push(&issuer.certificate);
        }
        Ok(())
    }

    /// The signature of `issuer` over `child`. The leaf is left to webpki whole, with
    /// its issuer as the only anchor.
    fn check_signed(&self, child: &X509Certificate<'_>, issuer: &Issuer<'_>) -> Result<(), Stop> {
        let Some(left) = self.signatures.get().checked_sub(1) else {
            let what = "too many signatures to check".to_owned();
            return Err(Stop::Everywhere(X509Fault::Path(what)));
        };
        self.signatures.set(left);
        let outcome = if child.as_raw() == self.parts.leaf.as_ref() {
            check_leaf(self.parts, issuer)
        } else {
            verify_signature(child, issuer)
        };
        outcome.map_err(|error| Stop::Here(fault(&error)))
    }
}

fn stop(violation: Violation) -> Stop {
    let what = |text: &str| X509Fault::Path(text.to_owned());
    match violation {
        Violation::Malformed => Stop::Here(what("a name constraint cannot be read")),
        Violation::Outside => Stop::Here(what("a name lies outside an authority's constraints")),
        Violation::TooMany => Stop::Everywhere(what("too many name constraints to compare")),
    }
}

fn check_leaf(parts: &Parts<'_>, issuer: &Issuer<'_>) -> Result<(), webpki::Error> {
    let mut anchor = anchor_from_trusted_cert(issuer.der)?;
    anchor.name_constraints = None;
    EndEntityCert::try_from(&parts.leaf)?
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &[anchor],
            &[],
            parts.time,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_| ())
}

fn verify_signature(child: &X509Certificate<'_>, issuer: &Issuer<'_>) -> Result<(), webpki::Error> {
    let key = SubjectPublicKeyInfoDer::from(issuer.certificate.public_key().raw);
    let key = RawPublicKeyEntity::try_from(&key)?;
    let used = signature_algorithm(child.as_raw()).ok_or(webpki::Error::BadDer)?;
    let message = child.tbs_certificate.as_ref();
    let mut outcome = Err(webpki::Error::InvalidSignatureForPublicKey);
    // One identifier stands for several algorithms: those of each curve.
    for algorithm in ALL_VERIFICATION_ALGS {
        if algorithm.signature_alg_id().as_ref() == used {
            outcome = key.verify_signature(*algorithm, message, &child.signature_value.data);
            if outcome.is_ok() {
                break;
            }
        }
    }
    outcome
}

/// The content of a certificate's signatureAlgorithm.
fn signature_algorithm(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate) = Any::from_der(der).ok()?;
    let (rest, _tbs) = Any::from_der(certificate.data).ok()?;
    let (_, algorithm) = Any::from_der(rest).ok()?;
    Some(algorithm.data)
}
