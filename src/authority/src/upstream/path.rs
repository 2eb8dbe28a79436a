//! From a CA's certificate up to one of the roots: each step is checked as a
//! verifier would (RFC 5280 section 6.1), before anything is signed under it.

use std::sync::Arc;

use identity::{Timestamp, TrustDomain};
use keys::Signer;
use x509_parser::extensions::{GeneralName, GeneralSubtree, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::UpstreamFault;
use crate::X509Authority;

/// The most certificates above an intermediate, the root included.
const MAX_PATH: usize = 7;

/// A path that holds, from the lowest CA to a root.
pub(super) struct Path {
    /// Below the root, the lowest first; empty when the lowest is the root.
    pub(super) below_root: Vec<Arc<[u8]>>,
    /// The root.
    pub(super) anchor: Arc<[u8]>,
    /// The latest start of all.
    pub(super) not_before: Timestamp,
    /// The earliest end of all.
    pub(super) not_after: Timestamp,
    /// How many CAs may follow the lowest; `None` is any number.
    pub(super) room: Option<u32>,
}

/// Finds the path of `certificates` (lowest first) to one of `roots` and checks it.
pub(super) fn find(
    certificates: &[&[u8]],
    roots: &[&[u8]],
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<Path, UpstreamFault> {
    if certificates.is_empty() {
        return Err(UpstreamFault::Empty);
    }
    if certificates.len() > MAX_PATH {
        return Err(UpstreamFault::TooMany(certificates.len()));
    }
    let mut path = Path {
        below_root: Vec::new(),
        anchor: Arc::from(&[][..]),
        not_before: Timestamp(i64::MIN),
        not_after: Timestamp(i64::MAX),
        room: None,
    };
    for (n, der) in certificates.iter().enumerate() {
        let certificate = parse(n + 1, der)?;
        path.take(n, &certificate, trust_domain, now)?;
        if roots.contains(der) {
            path.anchor = Arc::from(*der);
            return Ok(path);
        }
        path.below_root.push(Arc::from(*der));
        let above = certificates.get(n + 1);
        let above = above.map(|der| parse(n + 2, der)).transpose()?;
        if above.is_some_and(|above| signed_by(&certificate, &above)) {
            continue;
        }
        return path.end_at(n + 1, &certificate, roots, trust_domain, now);
    }
    Err(UpstreamFault::NoPath(certificates.len()))
}

impl Path {
    /// Takes one CA in, `n` steps above the lowest.
    fn take(
        &mut self,
        n: usize,
        certificate: &X509Certificate<'_>,
        trust_domain: &TrustDomain,
        now: Timestamp,
    ) -> Result<(), UpstreamFault> {
        let at = n + 1;
        let begin = Timestamp(certificate.validity().not_before.timestamp());
        let end = Timestamp(certificate.validity().not_after.timestamp());
        if now >= end {
            return Err(UpstreamFault::Expired(at, end));
        }
        if now < begin {
            return Err(UpstreamFault::NotYetValid(at, begin));
        }
        let limit = check_ca(at, certificate)?;
        check_extensions(at, certificate, trust_domain)?;
        self.not_before = self.not_before.max(begin);
        self.not_after = self.not_after.min(end);
        if let Some(limit) = limit {
            // The CAs between this one and what will be signed use it up.
            let between = u32::try_from(n).unwrap_or(u32::MAX);
            let left = limit
                .checked_sub(between)
                .ok_or(UpstreamFault::PathLength(at, between))?;
            self.room = Some(self.room.map_or(left, |room| room.min(left)));
        }
        Ok(())
    }

    /// The root above the topmost certificate, the one that lives longest.
    fn end_at(
        mut self,
        n: usize,
        top: &X509Certificate<'_>,
        roots: &[&[u8]],
        trust_domain: &TrustDomain,
        now: Timestamp,
    ) -> Result<Self, UpstreamFault> {
        let mut found: Option<(i64, &[u8])> = None;
        let mut fault = UpstreamFault::NoPath(n);
        for der in roots {
            let root = parse(n + 1, der)?;
            if !signed_by(top, &root) {
                continue;
            }
            let valid = root.validity();
            if now.0 >= valid.not_after.timestamp() {
                let at = Timestamp(valid.not_after.timestamp());
                fault = UpstreamFault::Expired(n + 1, at);
                continue;
            }
            let end = valid.not_after.timestamp();
            if found.is_none_or(|(known, _)| end > known) {
                found = Some((end, der));
            }
        }
        let (_, der) = found.ok_or(fault)?;
        let root = parse(n + 1, der)?;
        self.take(n, &root, trust_domain, now)?;
        self.anchor = Arc::from(der);
        Ok(self)
    }
}

pub(super) fn parse(at: usize, der: &[u8]) -> Result<X509Certificate<'_>, UpstreamFault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(UpstreamFault::Encoding(at, "bytes follow it")),
        Err(_) => Err(UpstreamFault::Encoding(at, "it is not DER")),
    }
}

fn signed_by(below: &X509Certificate<'_>, above: &X509Certificate<'_>) -> bool {
    above.subject().as_raw() == below.issuer().as_raw()
        && below.verify_signature(Some(above.public_key())).is_ok()
}

/// A CA that may sign certificates; answers its path length.
fn check_ca(at: usize, certificate: &X509Certificate<'_>) -> Result<Option<u32>, UpstreamFault> {
    let malformed = |_| UpstreamFault::Encoding(at, "an extension is malformed or repeated");
    let constraints = certificate.basic_constraints();
    let constraints = constraints.map_err(malformed)?;
    let Some(constraints) = constraints.filter(|c| c.value.ca) else {
        return Err(UpstreamFault::NotACa(at, "is not a CA's"));
    };
    let usage = certificate.key_usage().map_err(malformed)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(UpstreamFault::NotACa(at, "may not sign certificates"));
    }
    Ok(constraints.value.path_len_constraint)
}

/// Name constraints must let the trust domain's names through; what is critical
/// must be known.
fn check_extensions(
    at: usize,
    certificate: &X509Certificate<'_>,
    trust_domain: &TrustDomain,
) -> Result<(), UpstreamFault> {
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::NameConstraints(names) => {
                let permitted = names.permitted_subtrees.as_deref().unwrap_or_default();
                let excluded = names.excluded_subtrees.as_deref().unwrap_or_default();
                check_names(permitted, excluded, trust_domain)
                    .map_err(|why| UpstreamFault::NameConstraints(at, why))?;
            }
            ParsedExtension::UnsupportedExtension { .. }
            | ParsedExtension::ParseError { .. }
            | ParsedExtension::Unparsed
                if extension.critical =>
            {
                let oid = extension.oid.to_id_string();
                return Err(UpstreamFault::CriticalExtension(at, oid));
            }
            _ => {}
        }
    }
    Ok(())
}

/// RFC 5280 section 4.2.1.10: a URI's host is permitted and not excluded. SVIDs
/// also have a subject, `C=US, O=SPIRE`, which directory names would forbid.
fn check_names(
    permitted: &[GeneralSubtree<'_>],
    excluded: &[GeneralSubtree<'_>],
    trust_domain: &TrustDomain,
) -> Result<(), String> {
    let name = trust_domain.as_str();
    let uris = |subtrees: &[GeneralSubtree<'_>]| -> Vec<String> {
        let uris = subtrees.iter().filter_map(|subtree| match &subtree.base {
            GeneralName::URI(host) => Some((*host).to_owned()),
            _ => None,
        });
        uris.collect()
    };
    let allowed = uris(permitted);
    if !allowed.is_empty() && !allowed.iter().any(|host| is_within(name, host)) {
        return Err(format!(
            "permit URIs of {} alone, not of trust domain {name}; have them permit {name}",
            allowed.join(", ")
        ));
    }
    if let Some(host) = uris(excluded).iter().find(|host| is_within(name, host)) {
        return Err(format!(
            "exclude URIs of {host}, and so trust domain {name}; use a CA without that"
        ));
    }
    let subtrees = permitted.iter().chain(excluded);
    let mut bases = subtrees.map(|subtree| &subtree.base);
    if bases.any(|base| matches!(base, GeneralName::DirectoryName(_))) {
        return Err(
            "constrain directory names, and SVIDs have the subject C=US, O=SPIRE; use a CA without that".into(),
        );
    }
    Ok(())
}

/// A constraint is a host, or all hosts below it when it begins with a dot.
fn is_within(host: &str, constraint: &str) -> bool {
    match constraint.strip_prefix('.') {
        Some(domain) => host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.')),
        None => host.eq_ignore_ascii_case(constraint),
    }
}

/// An intermediate of this server, with all that stands above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The intermediate, then those above it, without the root: what travels.
    pub chain: Vec<Arc<[u8]>>,
    /// The root that it leads to: what is published.
    pub anchor: Arc<[u8]>,
    /// The id of the authority that signs with it.
    pub id: String,
    /// Its start.
    pub not_before: Timestamp,
    /// The earliest end of the intermediate and everything above it.
    pub not_after: Timestamp,
}

/// Checks what an upstream signed, before it is used: it certifies this server's
/// key, may sign SVIDs of the trust domain, and leads to one of the upstream's roots.
///
/// # Errors
/// What is wrong with it.
pub fn granted(
    chain: &[&[u8]],
    roots: &[&[u8]],
    signer: &Arc<dyn Signer>,
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<Granted, UpstreamFault> {
    if roots.is_empty() {
        return Err(UpstreamFault::NoRoot);
    }
    let path = find(chain, roots, trust_domain, now)?;
    let (first, above) = path
        .below_root
        .split_first()
        .ok_or_else(|| UpstreamFault::Unusable("it is itself a root of the bundle".to_owned()))?;
    let above: Vec<&[u8]> = above.iter().map(|der| &**der).collect();
    let authority = X509Authority::load(first, &above, Arc::clone(signer), now)
        .map_err(|error| UpstreamFault::Unusable(error.to_string()))?;
    if authority.trust_domain() != trust_domain {
        return Err(UpstreamFault::Unusable(format!(
            "it is of trust domain {}, not {trust_domain}",
            authority.trust_domain()
        )));
    }
    Ok(Granted {
        id: authority.id().to_owned(),
        not_before: authority.not_before(),
        not_after: path.not_after,
        chain: path.below_root,
        anchor: path.anchor,
    })
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn a_constraint_is_a_host_or_all_below_it() {
        assert!(is_within("example.org", "example.org"));
        assert!(is_within("example.org", "EXAMPLE.org"));
        assert!(!is_within("prod.example.org", "example.org"));
        assert!(is_within("prod.example.org", ".example.org"));
        assert!(!is_within("example.org", ".example.org"));
        assert!(!is_within("badexample.org", ".example.org"));
    }
}
