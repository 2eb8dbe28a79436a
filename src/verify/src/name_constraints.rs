//! Name constraints (RFC 5280 section 4.2.1.10) on the hosts of URIs, and with them
//! on SPIFFE IDs (X509-SVID section 4.2).
//!
//! The extension is read strictly and enforced whether it is critical or not. URIs
//! and DNS names are compared. A constraint on another kind of name refuses every
//! certificate below that bears a name of that kind.

use std::cell::Cell;
use std::net::Ipv4Addr;

use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag, oid};
use x509_parser::prelude::X509Certificate;

/// The context tags of a GeneralName.
const RFC822: u32 = 1;
const DNS: u32 = 2;
const DIRECTORY: u32 = 4;
const URI: u32 = 6;

/// What stands in the way of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An extension that does not parse.
    Malformed,
    /// A name lies outside, or cannot be told to lie inside.
    Outside,
    /// More to compare than the caller allowed.
    TooMany,
}

/// A GeneralName: the tag and its content.
type Name<'a> = (u32, &'a [u8]);

/// The bases that names below a certificate must, and must not, lie under.
#[derive(Debug, Default)]
pub(crate) struct NameConstraints<'a> {
    permitted: Vec<Name<'a>>,
    excluded: Vec<Name<'a>>,
}

impl<'a> NameConstraints<'a> {
    /// Those of a certificate; `None` when it has none.
    pub(crate) fn of(certificate: &X509Certificate<'a>) -> Result<Option<Self>, Violation> {
        let oid = oid!(2.5.29.30);
        let found = certificate.get_extension_unique(&oid);
        match found.or(Err(Violation::Malformed))? {
            Some(extension) => Self::parse(extension.value).map(Some),
            None => Ok(None),
        }
    }

    fn parse(der: &'a [u8]) -> Result<Self, Violation> {
        let mut constraints = Self::default();
        for (tag, list) in elements(sequence(der)?)? {
            let (into, earlier) = match tag {
                0 => (&mut constraints.permitted, constraints.excluded.is_empty()),
                1 => (&mut constraints.excluded, true),
                _ => return Err(Violation::Malformed),
            };
            if !into.is_empty() || !earlier {
                return Err(Violation::Malformed);
            }
            let mut rest = list;
            while !rest.is_empty() {
                let (after, subtree) = Any::from_der(rest).or(Err(Violation::Malformed))?;
                into.push(base(&subtree)?);
                rest = after;
            }
        }
        if constraints.permitted.is_empty() && constraints.excluded.is_empty() {
            return Err(Violation::Malformed);
        }
        Ok(constraints)
    }

    /// Whether all names of a certificate below are allowed. `comparisons` is what
    /// may still be spent.
    pub(crate) fn check(
        &self,
        below: &X509Certificate<'_>,
        comparisons: &Cell<usize>,
    ) -> Result<(), Violation> {
        let mut names = names(below)?;
        // A subject is always there, as webpki sees it; directory names are not compared.
        names.push((DIRECTORY, &[]));
        if below.subject().iter_email().next().is_some() {
            names.push((RFC822, &[]));
        }
        for name in names {
            let mut is_constrained = false;
            let mut is_permitted = false;
            for base in same_kind(&self.permitted, name) {
                spend(comparisons)?;
                is_constrained = true;
                is_permitted |= lies_under(name, base)?.unwrap_or(false);
            }
            if is_constrained && !is_permitted {
                return Err(Violation::Outside);
            }
            for base in same_kind(&self.excluded, name) {
                spend(comparisons)?;
                if lies_under(name, base)?.unwrap_or(true) {
                    return Err(Violation::Outside);
                }
            }
        }
        Ok(())
    }
}

fn same_kind<'n, 'a>(
    bases: &'n [Name<'a>],
    name: Name<'_>,
) -> impl Iterator<Item = Name<'a>> + use<'n, 'a> {
    let kind = name.0;
    bases.iter().copied().filter(move |base| base.0 == kind)
}

fn spend(comparisons: &Cell<usize>) -> Result<(), Violation> {
    let left = comparisons.get().checked_sub(1);
    comparisons.set(left.ok_or(Violation::TooMany)?);
    Ok(())
}

/// The content of one SEQUENCE that is all there is.
fn sequence(der: &[u8]) -> Result<&[u8], Violation> {
    match Any::from_der(der) {
        Ok((rest, any)) if rest.is_empty() && any.tag() == Tag::Sequence => Ok(any.data),
        _ => Err(Violation::Malformed),
    }
}

/// The context-tagged elements of a list.
fn elements(mut der: &[u8]) -> Result<Vec<Name<'_>>, Violation> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (rest, any) = Any::from_der(der).or(Err(Violation::Malformed))?;
        if any.class() != Class::ContextSpecific {
            return Err(Violation::Malformed);
        }
        found.push((any.tag().0, any.data));
        der = rest;
    }
    Ok(found)
}

/// A GeneralSubtree: a base alone. RFC 5280 leaves no use for `minimum` and `maximum`.
fn base<'a>(subtree: &Any<'a>) -> Result<Name<'a>, Violation> {
    if subtree.tag() != Tag::Sequence {
        return Err(Violation::Malformed);
    }
    match elements(subtree.data)?[..] {
        [name] if name.0 != URI || is_uri_base(name.1) => Ok(name),
        _ => Err(Violation::Malformed),
    }
}

/// The subject alternative names of a certificate.
fn names<'a>(certificate: &X509Certificate<'a>) -> Result<Vec<Name<'a>>, Violation> {
    let oid = oid!(2.5.29.17);
    let found = certificate.get_extension_unique(&oid);
    match found.or(Err(Violation::Malformed))? {
        Some(extension) => elements(sequence(extension.value)?),
        None => Ok(Vec::new()),
    }
}

/// Whether a name lies under a base of its kind; `None` where kinds are not compared.
fn lies_under(name: Name<'_>, base: Name<'_>) -> Result<Option<bool>, Violation> {
    let text = |bytes| std::str::from_utf8(bytes).or(Err(Violation::Outside));
    match name.0 {
        URI => {
            // Without a name for a host, nothing can be said (RFC 5280: refuse).
            let host = uri_host(text(name.1)?).ok_or(Violation::Outside)?;
            Ok(Some(is_uri_host_under(host, text(base.1)?)))
        }
        DNS => Ok(is_dns_name_under(text(name.1)?, text(base.1)?)),
        _ => Ok(None),
    }
}

/// A host, or with a leading dot every host of a domain, but not the domain itself.
fn is_uri_host_under(host: &str, base: &str) -> bool {
    if base.starts_with('.') {
        host.len() > base.len() && ends_with(host, base)
    } else {
        host.eq_ignore_ascii_case(base)
    }
}

/// A DNS name, or any name below it. Of wildcards nothing is said.
fn is_dns_name_under(name: &str, base: &str) -> Option<bool> {
    let bare = base.strip_prefix('.').unwrap_or(base);
    if !is_host_name(name) || !(base.is_empty() || is_host_name(bare)) {
        return None;
    }
    let is_below = name.len() > bare.len() && ends_with(name, &format!(".{bare}"));
    Some(base.is_empty() || is_below || (bare == base && name.eq_ignore_ascii_case(base)))
}

fn ends_with(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    let tail = start.and_then(|start| text.get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// A base as RFC 5280 wants one: a name, with a dot before it or not; no scheme, no
/// port, no address.
fn is_uri_base(base: &[u8]) -> bool {
    let Ok(base) = std::str::from_utf8(base) else {
        return false;
    };
    is_host_name(base.strip_prefix('.').unwrap_or(base))
}

/// The host of a URI, if it is a name.
fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.split_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return None,
        None => host,
    };
    is_host_name(host).then_some(host)
}

/// Labels of the characters that SPIFFE and DNS have in names; no IPv4 address.
/// Empty labels, a final dot among them, would be a second spelling of a name.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.bytes().all(known)
    };
    host.split('.').all(is_label) && host.parse::<Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_uris() {
        for (uri, host) in [
            ("spiffe://f.test/web", Some("f.test")),
            ("spiffe://f.test", Some("f.test")),
            ("https://u:p@F.test:443/x?y#z", Some("F.test")),
            ("https://my_td?q", Some("my_td")),
            ("https://evil.test\\@f.test/", Some("evil.test")),
            ("urn:uuid:1", None),
            ("spiffe:///web", None),
            ("spiffe://10.0.0.1/web", None),
            ("https://[::1]:80/", None),
            ("https://f.test:x/", None),
            ("spiffe://f.test./web", None),
            ("spiffe://a..b/web", None),
            ("spiffe://f%2etest/web", None),
        ] {
            assert_eq!(uri_host(uri), host, "{uri}");
        }
    }

    #[test]
    fn a_host_is_itself_and_a_domain_is_all_below_it() {
        for (host, base, expected) in [
            ("f.test", "f.test", true),
            ("F.Test", "f.tesT", true),
            ("web.f.test", "f.test", false),
            ("xf.test", "f.test", false),
            ("web.f.test", ".f.test", true),
            ("a.b.f.test", ".f.test", true),
            ("f.test", ".f.test", false),
            ("xf.test", ".f.test", false),
        ] {
            assert_eq!(is_uri_host_under(host, base), expected, "{host} {base}");
        }
    }

    #[test]
    fn dns_names_lie_under_a_name_and_its_parents() {
        for (name, base, expected) in [
            ("f.test", "f.test", Some(true)),
            ("web.F.test", "f.test", Some(true)),
            ("xf.test", "f.test", Some(false)),
            ("f.test", ".f.test", Some(false)),
            ("web.f.test", ".f.test", Some(true)),
            ("f.test", "", Some(true)),
            ("*.f.test", "f.test", None),
            ("f.test", "*.test", None),
        ] {
            assert_eq!(is_dns_name_under(name, base), expected, "{name} {base}");
        }
    }

    #[test]
    fn only_names_are_bases() {
        for (base, expected) in [
            ("f.test", true),
            (".f.test", true),
            ("my_td", true),
            ("", false),
            (".", false),
            ("..f.test", false),
            ("spiffe://f.test", false),
            ("f.test/web", false),
            ("f.test:443", false),
            ("10.0.0.1", false),
            ("*.f.test", false),
        ] {
            assert_eq!(is_uri_base(base.as_bytes()), expected, "{base}");
        }
    }
}
