//! The CSR of an admin's mint: beside the key it names the wanted SPIFFE ID and
//! DNS names. Anything else in it has no effect.

use authority::SubjectKey;
use identity::{SpiffeId, check_dns_names};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::failure::Failure;

/// What an admin's CSR asks for.
pub(super) struct Wanted {
    pub(super) key: SubjectKey,
    pub(super) spiffe_id: SpiffeId,
    pub(super) dns_names: Vec<String>,
}

/// Reads a CSR, after its proof of possession was verified.
pub(super) fn mint(der: &[u8]) -> Result<Wanted, Failure> {
    let key = SubjectKey::from_csr(der).map_err(invalid)?;
    let (_, csr) = X509CertificationRequest::from_der(der)
        .ok()
        .ok_or_else(|| invalid("it is not one DER-encoded PKCS#10 request"))?;
    let mut uris = Vec::new();
    let mut dns_names = Vec::new();
    for extension in csr.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else {
            continue;
        };
        for name in &names.general_names {
            match name {
                GeneralName::URI(uri) => uris.push(*uri),
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                _ => {
                    return Err(invalid(
                        "it asks for a name that is neither a URI nor a DNS name",
                    ));
                }
            }
        }
    }
    let [uri] = uris.as_slice() else {
        return Err(invalid(
            "it must name exactly one SPIFFE ID, as its URI SAN",
        ));
    };
    check_dns_names(&mut dns_names).map_err(invalid)?;
    if let Some((name, wildcard)) = covered(&dns_names) {
        return Err(invalid(format!(
            "it asks for {name:?}, which {wildcard:?} stands for already; leave one out"
        )));
    }
    Ok(Wanted {
        key,
        spiffe_id: SpiffeId::parse(uri).map_err(invalid)?,
        dns_names,
    })
}

/// A name that a wildcard among the others stands for, and that wildcard.
fn covered(names: &[String]) -> Option<(&str, &str)> {
    names.iter().find_map(|name| {
        let (_, parent) = name.split_once('.')?;
        let covers = |other: &&String| {
            *other != name
                && other
                    .strip_prefix("*.")
                    .is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
        };
        let wildcard = names.iter().find(covers)?;
        Some((name.as_str(), wildcard.as_str()))
    })
}

fn invalid(why: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("csr: {why}"))
}
